"""The bound on what waits for one client."""

import asyncio

import pytest

from omni.serve.outgoing import MAX_AUDIO_MS, MAX_BYTES, Outgoing, Overflow


async def test_messages_leave_in_order() -> None:
    outgoing = Outgoing()
    waiting = asyncio.create_task(outgoing.take())
    await asyncio.sleep(0)
    outgoing.offer("a")
    outgoing.offer("b", 20)
    assert await waiting == "a"
    assert await outgoing.take() == "b"


async def test_sound_is_bounded_by_its_length() -> None:
    outgoing = Outgoing()
    for _ in range(MAX_AUDIO_MS // 20):
        outgoing.offer("sound", 20)
    with pytest.raises(Overflow):
        outgoing.offer("sound", 20)
    outgoing.offer("an event still has room")
    await outgoing.take()
    outgoing.offer("sound", 20)


async def test_everything_is_bounded_by_its_size() -> None:
    outgoing = Outgoing()
    outgoing.offer("x" * MAX_BYTES)
    with pytest.raises(Overflow):
        outgoing.offer("x")
    await outgoing.take()
    outgoing.offer("x")
