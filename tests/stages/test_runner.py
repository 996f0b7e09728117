"""One stage and its inbox: fenced, bounded, and answering while its model works."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from omni.stages.runner import StageRunner
from omni.types import (
    AudioChunk,
    Chunk,
    Fence,
    Prompt,
    Recognise,
    StageName,
    StageReport,
    Token,
)


class Echo:
    """Answers every prompt with a token; can be made to block or to break."""

    name: StageName = "think"

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.may_go.set()
        self.is_at_work = threading.Event()
        self.is_broken = False
        self.seen: list[Chunk] = []
        self.threads: set[int] = set()

    def load(self) -> None:
        self.threads.add(threading.get_ident())

    def open(self, session_id: str) -> None: ...

    def close(self, session_id: str) -> None: ...

    def has_work(self) -> bool:
        return False

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        self.threads.add(threading.get_ident())
        self.is_at_work.set()
        self.may_go.wait()
        self.seen += chunks
        if self.is_broken:
            raise ValueError("broken")
        return [
            Token(c.session_id, c.epoch, c.unit_index, c.response_id, 0, "hi", None)
            for c in chunks
            if isinstance(c, Prompt)
        ]


@asynccontextmanager
async def running(stage: Echo, queue_ms: int = 2000):  # type: ignore[no-untyped-def]
    out: asyncio.Queue[Chunk] = asyncio.Queue()
    runner = StageRunner(stage, out.put_nowait, queue_ms)
    await runner.start()
    await runner.open("s")
    try:
        yield runner, out
    finally:
        stage.may_go.set()
        await runner.stop()


def prompt(epoch: int, response_id: str = "r", session_id: str = "s") -> Prompt:
    return Prompt(session_id, epoch, 0, response_id, (), 8, 0.0, None)


def audio(index: int) -> AudioChunk:
    return AudioChunk("s", 0, 0, index * 320, np.zeros(320, np.float32))


async def test_model_work_never_blocks_the_loop() -> None:
    stage = Echo()
    async with running(stage) as (runner, out):
        stage.may_go.clear()
        runner.push(prompt(0))
        await asyncio.to_thread(stage.is_at_work.wait)
        assert runner.health().is_ready  # answers while the model works
        assert out.empty()
        stage.may_go.set()
        assert isinstance(await out.get(), Token)
    assert len(stage.threads) == 1
    assert threading.get_ident() not in stage.threads


async def test_stale_work_is_dropped_on_entry_and_on_exit() -> None:
    stage = Echo()
    async with running(stage) as (runner, out):
        stage.may_go.clear()
        runner.push(prompt(0, "under way"))
        await asyncio.to_thread(stage.is_at_work.wait)
        runner.push(prompt(0, "queued"))
        runner.push(Fence("s", 1, 0))
        runner.push(prompt(0, "late"))
        runner.push(prompt(1, "fresh"))
        stage.may_go.set()
        token = await out.get()
        assert isinstance(token, Token)
        assert token.response_id == "fresh"
    seen = [c.response_id for c in stage.seen if isinstance(c, Prompt)]
    assert seen == ["under way", "fresh"]
    assert out.empty()


async def test_a_newer_chunk_is_its_own_fence() -> None:
    stage = Echo()
    async with running(stage) as (runner, out):
        runner.push(prompt(3))
        assert isinstance(await out.get(), Token)
        runner.push(prompt(2))
        runner.push(prompt(3))
        assert (await out.get()).epoch == 3
    kinds = [type(c) for c in stage.seen]
    assert kinds == [Fence, Prompt, Prompt]


async def test_what_the_user_said_is_never_stale() -> None:
    stage = Echo()
    async with running(stage) as (runner, _):
        runner.push(Fence("s", 5, 0))
        runner.push(Recognise("s", 0, 0, "t", np.zeros(1, np.float32), 1, True))
        while len(stage.seen) < 2:
            await asyncio.sleep(0.01)
    assert [type(c) for c in stage.seen] == [Fence, Recognise]


async def test_old_sound_gives_way_after_two_seconds() -> None:
    stage = Echo()
    async with running(stage, queue_ms=200) as (runner, _):
        stage.may_go.clear()
        runner.push(prompt(0))
        await asyncio.to_thread(stage.is_at_work.wait)
        for index in range(50):
            runner.push(audio(index))
        assert runner.health().queued == 10
        assert runner.health().dropped == 40
    starts = [c.start_sample for c in stage.seen if isinstance(c, AudioChunk)]
    assert starts == [index * 320 for index in range(40, 50)]


async def test_a_failing_step_is_reported_and_the_stage_goes_on() -> None:
    stage = Echo()
    async with running(stage) as (runner, out):
        stage.is_broken = True
        runner.push(prompt(0))
        report = await out.get()
        assert isinstance(report, StageReport)
        assert (report.state, report.message) == ("failed", "ValueError")
        stage.is_broken = False
        runner.push(prompt(0))
        assert isinstance(await out.get(), Token)


@pytest.mark.parametrize("session_id", ["never opened", "closed"])
async def test_only_open_sessions_are_served(session_id: str) -> None:
    stage = Echo()
    async with running(stage) as (runner, out):
        await runner.open("closed")
        await runner.close("closed")
        runner.push(prompt(0, session_id=session_id))
        runner.push(prompt(0))
        assert (await out.get()).session_id == "s"
    assert len(stage.seen) == 1
