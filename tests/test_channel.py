"""Bounded, closable, and clear about what goes when it is full."""

import asyncio

import pytest

from omni.channel import Channel, Closed, Limit
from omni.errors import StageError


def by_letter(item: str) -> Limit | None:
    return Limit(item[0], 2) if item[0] in "ab" else None


async def test_the_oldest_under_the_same_limit_goes() -> None:
    channel: Channel[str] = Channel(limit_of=by_letter)
    for item in ("a1", "b1", "x1", "a2", "a3", "b2", "x2", "x3"):
        channel.offer(item)
    assert channel.take() == ["b1", "x1", "a2", "a3", "b2", "x2", "x3"]
    assert channel.num_dropped == 1
    channel.offer("a4")
    channel.offer("a5")
    assert channel.take() == ["a4", "a5"]


async def test_a_stuck_consumer_is_an_error() -> None:
    channel: Channel[str] = Channel(capacity=2)
    channel.offer("x")
    channel.offer("y")
    with pytest.raises(StageError) as error:
        channel.offer("z")
    assert error.value.code == "queue_full"


async def test_waiting_ends_with_an_item_or_with_the_channel() -> None:
    channel: Channel[str] = Channel()
    waiting = asyncio.create_task(channel.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    channel.offer("x")
    await waiting
    channel.close()
    await channel.wait()  # what is there can still be taken
    assert channel.take() == ["x"]
    with pytest.raises(Closed):
        await channel.wait()
    with pytest.raises(Closed):
        channel.offer("y")
