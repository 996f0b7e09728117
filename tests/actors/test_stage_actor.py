"""An actor without Ray: it routes, bounds what waits, and forgets what is void."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from actors.link import WINDOW, Address, Link, dial
from actors.stage_actor import Site, StageActor
from actors.wire import SCHEMA, Hello
from omni.config import load
from omni.stages.stub import StubStage
from omni.types import AudioChunk, Chunk, Fence, Speech, SpeechOptions, StageName, Token

VOICE = SpeechOptions("any")


class StuckStage(StubStage):
    """Answers nothing, and is stuck in its step until it is let go."""

    name: StageName = "vad"

    def __init__(self) -> None:
        super().__init__(0)
        self.may_go_on = threading.Event()
        self.received: list[Chunk] = []

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        self.received += chunks
        self.may_go_on.wait()
        return []


class Repeater(StubStage):
    """Passes tokens on."""

    name: StageName = "think"

    def answer(self, chunk: Chunk) -> list[Chunk]:
        return [chunk]


class Speaker(StubStage):
    """A token's text is its sound."""

    name: StageName = "speak"

    def answer(self, chunk: Chunk) -> list[Chunk]:
        if not isinstance(chunk, Token):
            return []
        return [
            Speech(chunk.session_id, chunk.epoch, 0, "r", 0, np.zeros(1, np.float32), chunk.text)
        ]


class Gateway:
    """The gateway's end of the link to one actor."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.received: asyncio.Queue[Chunk] = asyncio.Queue()
        self.link = Link(self.received.put_nowait)

    async def __aenter__(self) -> "Gateway":
        stream = await dial(self.address, Hello("gateway", SCHEMA, "token"), "here")
        self._task = asyncio.create_task(self.link.run(stream))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Actors:
    """Actors in this process, each with its socket in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._actors: list[StageActor] = []

    async def start(self, stage: StubStage) -> tuple[StageActor, Address]:
        actor = StageActor(stage.name, load("stub"), lambda *_: stage)  # type: ignore[attr-defined]
        path = self._folder / f"{len(self._actors)}"
        address = await actor.start(Site("here", str(path), None, "token"))
        await actor.open("a", 0)
        self._actors.append(actor)
        return actor, address

    async def stop(self) -> None:
        for actor in self._actors:
            await actor.drain()


@pytest.fixture
async def actors(tmp_path: Path) -> AsyncIterator[Actors]:
    actors = Actors(tmp_path)
    yield actors
    await actors.stop()


async def until_epoch(gateway: Gateway, epoch: int) -> None:
    while (await gateway.received.get()).epoch < epoch:
        pass


def token(text: str, epoch: int = 0) -> Token:
    return Token("a", epoch, 0, "r", 0, text, VOICE)


async def test_a_stuck_model_bounds_what_waits_and_health_still_answers(actors: Actors) -> None:
    stage = StuckStage()
    actor, address = await actors.start(stage)
    async with Gateway(address) as gateway:
        for index in range(1000):
            gateway.link.offer(AudioChunk("a", 0, 0, index * 320, np.zeros(320, np.float32)))
            await asyncio.sleep(0)
        while (await actor.health()).queued + len(stage.received) < WINDOW.num_frames:
            await asyncio.sleep(0.005)
        assert (await actor.health()).queued < 2 * WINDOW.num_frames
        assert gateway.link.num_queued == 100  # the last 2 s
        stage.may_go_on.set()
        while gateway.link.num_queued or (await actor.health()).queued:
            await asyncio.sleep(0.005)
    newest = stage.received[-1]
    assert isinstance(newest, AudioChunk)
    assert newest.start_sample == 999 * 320


async def test_stages_feed_each_other_and_find_one_that_moved(actors: Actors) -> None:
    thinker, think_at = await actors.start(Repeater(0))
    first, speak_at = await actors.start(Speaker(0))
    await thinker.meet({"speak": speak_at})
    async with Gateway(think_at) as to_think, Gateway(speak_at) as to_speak:
        to_think.link.offer(token("one"))
        speech = await to_speak.received.get()
        assert isinstance(speech, Speech)
        assert speech.text == "one"
        await first.drain()
        to_think.link.offer(token("void"))
        to_think.link.offer(Fence("a", 1, 0))
        to_think.link.offer(token("two", epoch=1))
        await until_epoch(to_think, 1)
    _, moved_to = await actors.start(Speaker(0))
    await thinker.meet({"speak": moved_to})
    async with Gateway(moved_to) as to_speak:
        speech = await to_speak.received.get()
        assert isinstance(speech, Speech)
        assert speech.text == "two"
