"""The laws of one hop: only friends, in order, bounded, and the fence comes first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from actors.link import WINDOW, Address, Link, Listener, Stream, dial, keep_connected
from actors.wire import SCHEMA, Hello, encode
from omni.errors import StageError, StageLost
from omni.types import AudioChunk, Chunk, Fence, Heard, PictureChunk, Prompt

QUEUE_FRAMES = 100  # 2 s


def hello(token: str = "right", schema: int = SCHEMA) -> Hello:
    return Hello("gateway", schema, token)


def audio(index: int, session_id: str = "a") -> AudioChunk:
    return AudioChunk(session_id, 0, 0, index * 320, np.zeros(320, np.float32))


def prompt(epoch: int, response_id: str) -> Prompt:
    return Prompt("a", epoch, 0, response_id, (), 8, 0.0, None)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


class Receiver:
    """An actor's end: it consumes what it receives only when it is told to."""

    def __init__(self, path: Path) -> None:
        self.address = Address("here", str(path))
        self.received: list[Chunk] = []
        self.link = Link(self.received.append)
        self.listener = Listener(hello(), self.greet)

    async def greet(self, sender: str, stream: Stream) -> None:
        await self.link.run(stream)

    async def consume(self, count: int) -> None:
        """Consume until `count` chunks have come in all."""
        while len(self.received) < count:
            self.link.consumed()
            await asyncio.sleep(0.005)


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    receiver = Receiver(tmp_path / "socket")
    await receiver.listener.listen(Path(receiver.address.path), None)
    yield receiver
    await receiver.listener.close()


@contextlib.asynccontextmanager
async def linked(receiver: Receiver) -> AsyncIterator[Link]:
    link = Link(lambda _: None)
    task = asyncio.create_task(keep_connected(link, receiver.address, hello(), "here"))
    yield link
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("me", [hello(token="wrong"), hello(token=""), hello(schema=SCHEMA ^ 1)])
async def test_strangers_are_refused(receiver: Receiver, me: Hello) -> None:
    with pytest.raises(StageLost):
        await dial(receiver.address, me, "here")
    assert receiver.received == []


async def test_a_chunk_before_the_hello_is_refused(receiver: Receiver) -> None:
    reader, writer = await asyncio.open_unix_connection(receiver.address.path)
    writer.write(encode(audio(0)) + encode(hello()))
    assert await reader.read() == b""
    writer.close()
    assert receiver.received == []


async def test_a_stranger_who_listens_learns_nothing_but_is_left(tmp_path: Path) -> None:
    stranger = Listener(hello(), lambda *_: asyncio.sleep(0))
    await stranger.listen(tmp_path / "socket", None)
    with pytest.raises(StageLost):
        await dial(Address("here", str(tmp_path / "socket")), hello("other"), "here")
    await stranger.close()


async def test_other_nodes_are_reached_by_tcp(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "socket")
    port = await receiver.listener.listen(tmp_path / "socket", "127.0.0.1")
    stream = await dial(Address("there", "/nowhere", "127.0.0.1", port), hello(), "here")
    stream.writer.write(encode(audio(0)))
    await until(lambda: len(receiver.received) == 1)
    stream.writer.close()
    await receiver.listener.close()


async def test_chunks_keep_their_order_however_many(receiver: Receiver) -> None:
    async with linked(receiver) as link:
        for index in range(1000):
            link.offer(prompt(0, str(index)))
        await receiver.consume(1000)
    ids = [chunk.response_id for chunk in receiver.received if isinstance(chunk, Prompt)]
    assert ids == [str(index) for index in range(1000)]


async def test_a_receiver_that_consumes_nothing_bounds_the_sender(receiver: Receiver) -> None:
    async with linked(receiver) as link:
        for index in range(10 * QUEUE_FRAMES):
            link.offer(audio(index, "a"))
            link.offer(audio(index, "b"))
            await asyncio.sleep(0)
        await until(lambda: len(receiver.received) == WINDOW.num_frames)
        assert link.num_queued == 2 * QUEUE_FRAMES
        await receiver.consume(WINDOW.num_frames + 2 * QUEUE_FRAMES)
    last = [chunk.start_sample for chunk in receiver.received if isinstance(chunk, AudioChunk)]
    assert last[-1] == (10 * QUEUE_FRAMES - 1) * 320  # the newest sound is what was kept


async def test_large_frames_use_up_the_window_by_their_bytes(receiver: Receiver) -> None:
    async with linked(receiver) as link:
        for index in range(8):
            link.offer(PictureChunk(f"session-{index}", 0, 0, "p", bytes(3 << 20), 0))
        await until(lambda: len(receiver.received) == 3)
        assert link.num_queued == 5
        await receiver.consume(8)


async def test_more_than_can_be_kept_is_an_error_not_a_leak() -> None:
    link = Link(lambda _: None)
    offer = (link.offer(prompt(0, str(index))) for index in range(10_000))
    with pytest.raises(StageError, match="not keeping up"):
        list(offer)


async def test_a_fence_overtakes_and_voids_what_waits(receiver: Receiver) -> None:
    async with linked(receiver) as link:
        for index in range(2 * WINDOW.num_frames):
            link.offer(prompt(0, str(index)))
        await until(lambda: len(receiver.received) == WINDOW.num_frames)
        heard = Heard("a", 0, 0, "t", 0, "words", "", "en", is_final=True)
        link.offer(heard)
        link.offer(Fence("a", 1, 0))
        link.offer(prompt(1, "new"))
        await until(lambda: isinstance(receiver.received[-1], Fence))  # without any credit
        await receiver.consume(WINDOW.num_frames + 3)
    after = receiver.received[WINDOW.num_frames + 1 :]
    assert [type(chunk) for chunk in after] == [Heard, Prompt]  # what was heard is never stale
    assert isinstance(after[1], Prompt)
    assert after[1].response_id == "new"


async def test_a_fence_is_only_for_its_session(receiver: Receiver) -> None:
    link = Link(lambda _: None)
    link.offer(prompt(0, "a's"))
    link.offer(Fence("b", 1, 0))
    assert link.num_queued == 1


async def test_what_waits_survives_a_broken_connection(receiver: Receiver, tmp_path: Path) -> None:
    async with linked(receiver) as link:
        link.offer(prompt(0, "first"))
        await until(lambda: len(receiver.received) == 1)
        await receiver.listener.close()
        for index in range(2 * QUEUE_FRAMES):
            link.offer(audio(index))
        link.offer(prompt(0, "second"))
        receiver.listener = Listener(hello(), receiver.greet)
        receiver.received.clear()
        await receiver.listener.listen(Path(receiver.address.path), None)
        while not any(isinstance(chunk, Prompt) for chunk in receiver.received):
            await receiver.consume(len(receiver.received) + 1)
    assert link.num_queued == 0
