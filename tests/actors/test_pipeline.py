"""The Ray runtime does what the local one does, and outlives its stages."""

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from actors.pipeline import RayPipeline
from actors.wire import encode
from omni.chat import Message
from omni.config import OmniConfig, load
from omni.errors import AssetError, SessionError, StageError, StageLost, StageTimeout
from omni.pipeline import LocalPipeline, Pipeline
from omni.stages.base import Stage
from omni.stages.build import build_stage, stage_names
from omni.types import (
    Activity,
    AudioChunk,
    Chunk,
    Fence,
    Heard,
    JudgeTurn,
    PictureChunk,
    Prompt,
    Recognise,
    Say,
    Seen,
    Speech,
    SpeechOptions,
    StageName,
    StageReport,
    TurnHint,
)

pytestmark = [pytest.mark.ray, pytest.mark.asyncio(loop_scope="module")]

VOICE = SpeechOptions("any")


def config(*overrides: str) -> OmniConfig:
    return load("stub", ["brain.stub.token_ms=2", *overrides])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pipeline() -> AsyncIterator[RayPipeline]:
    """Also the Ray that the other pipelines of this module join."""
    pipeline = RayPipeline(config())
    await pipeline.start()
    yield pipeline
    await pipeline.stop()


class Listener:
    """A session's sink that can be waited on."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self._changed = asyncio.Event()

    def __call__(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self._changed.set()

    async def until(self, condition: Callable[[list[Chunk]], bool]) -> None:
        while not condition(self.chunks):
            self._changed.clear()
            await self._changed.wait()

    async def until_spoken(self, response_id: str) -> None:
        await self.until(
            lambda chunks: any(
                isinstance(c, Speech) and c.response_id == response_id and c.is_last for c in chunks
            )
        )

    async def until_reported(self, stage: StageName, state: str) -> None:
        await self.until(lambda chunks: (stage, state) in reports(chunks))


def reports(chunks: list[Chunk]) -> list[tuple[str, str]]:
    return [(c.stage, c.state) for c in chunks if isinstance(c, StageReport)]


def prompt(session_id: str, epoch: int, text: str, response_id: str) -> Prompt:
    messages = (Message("user", text),)
    return Prompt(session_id, epoch, 0, response_id, messages, 1000, 0.0, VOICE)


def spoken(chunks: list[Chunk], response_id: str) -> str:
    return "".join(c.text for c in chunks if isinstance(c, Speech) and c.response_id == response_id)


async def conversation(pipeline: Pipeline) -> dict[type[Chunk], list[bytes]]:
    """One of everything; what comes out, in the order of each kind."""
    listener = Listener()
    await pipeline.open("a", listener)
    sound = np.sin(np.arange(16000, dtype=np.float32) / 20)
    for index, frame in enumerate(sound.reshape(50, 320)):
        pipeline.send(AudioChunk("a", 0, 0, index * 320, frame))
    pipeline.send(JudgeTurn("a", 0, 0, "turn", sound, 16000))
    pipeline.send(Recognise("a", 0, 0, "turn", sound[:8000], 8000, False))
    pipeline.send(Recognise("a", 0, 0, "turn", sound, 16000, True))
    pipeline.send(PictureChunk("a", 0, 0, "picture", b"jpeg", 20))
    expected = {Activity: 31, TurnHint: 1, Heard: 2, Seen: 1}
    await listener.until(
        lambda chunks: sum(map(expected.__contains__, map(type, chunks))) == sum(expected.values())
    )
    pipeline.send(prompt("a", 0, "hello", "first"))
    await listener.until_spoken("first")
    pipeline.send(Fence("a", 1, 0))
    pipeline.send(prompt("a", 0, "too late", "stale"))
    pipeline.send(prompt("a", 1, "again", "second"))
    await listener.until_spoken("second")
    pipeline.send(Say("a", 1, 0, "third", "sorry", VOICE, True))
    await listener.until_spoken("third")
    await pipeline.close("a")
    by_kind = defaultdict(list)
    for chunk in listener.chunks:
        by_kind[type(chunk)].append(encode(chunk))
    return dict(by_kind)


async def test_the_same_conversation_gives_the_same_chunks_on_both_runtimes(
    pipeline: RayPipeline,
) -> None:
    local = LocalPipeline([build_stage(config(), name) for name in stage_names(config())])
    await local.start()
    expected = await conversation(local)
    await local.stop()
    assert await conversation(pipeline) == expected


async def test_nothing_of_an_older_epoch_comes_out_after_a_fence(pipeline: RayPipeline) -> None:
    listener = Listener()
    await pipeline.open("a", listener)
    for epoch in range(5):
        pipeline.send(Fence("a", epoch, 0))
        num_before = len(listener.chunks)
        pipeline.send(prompt("a", epoch, "word " * 100, f"reply-{epoch}"))
        await listener.until(lambda chunks: sum(isinstance(c, Speech) for c in chunks) >= 3)
        assert {chunk.epoch for chunk in listener.chunks[num_before:]} == {epoch}
        if epoch < 4:
            listener.chunks.clear()
    await listener.until_spoken("reply-4")
    assert {chunk.epoch for chunk in listener.chunks} == {4}
    await pipeline.close("a")


async def test_sessions_do_not_mix(pipeline: RayPipeline) -> None:
    listeners = {name: Listener() for name in "abc"}
    for name, listener in listeners.items():
        await pipeline.open(name, listener)
    for name in listeners:
        pipeline.send(prompt(name, 0, f"words of {name}", f"reply-{name}"))
    for name, listener in listeners.items():
        await listener.until_spoken(f"reply-{name}")
        assert {chunk.session_id for chunk in listener.chunks} == {name}
        assert spoken(listener.chunks, f"reply-{name}") == f"You said words of {name}."
        await pipeline.close(name)


async def test_a_closed_session_hears_nothing_more(pipeline: RayPipeline) -> None:
    gone, present = Listener(), Listener()
    await pipeline.open("gone", gone)
    await pipeline.open("present", present)
    with pytest.raises(SessionError):
        await pipeline.open("present", present)
    pipeline.send(prompt("gone", 0, "word " * 50, "long"))
    await pipeline.close("gone")
    num_chunks = len(gone.chunks)
    pipeline.send(prompt("present", 0, "word " * 60, "reply"))
    await present.until_spoken("reply")
    assert len(gone.chunks) == num_chunks
    await pipeline.close("present")


@pytest.mark.parametrize("stage", ["think", "speak"])
async def test_a_killed_stage_comes_back_and_sessions_go_on(
    pipeline: RayPipeline, stage: StageName
) -> None:
    listener = Listener()
    await pipeline.open("a", listener)
    pipeline.send(Fence("a", 3, 0))
    pipeline.send(prompt("a", 3, "word " * 200, "long"))
    await listener.until(lambda chunks: any(isinstance(c, Speech) for c in chunks))
    before = {h.stage: h for h in await pipeline.health()}
    os.kill(before[stage].pid, signal.SIGKILL)
    await listener.until_reported(stage, "lost")
    pipeline.send(prompt("a", 3, "asked meanwhile", "kept"))
    pipeline.send(Fence("a", 4, 0))
    pipeline.send(prompt("a", 4, "asked meanwhile", "fresh"))
    await pipeline.open("b", listener)
    await listener.until_reported(stage, "restored")
    await listener.until_spoken("fresh")
    assert spoken(listener.chunks, "fresh") == "You said asked meanwhile."
    assert spoken(listener.chunks, "kept") == ""  # made stale while it waited
    pipeline.send(prompt("b", 0, "opened meanwhile", "b"))
    await listener.until_spoken("b")
    after = {h.stage: h for h in await pipeline.health()}
    assert after[stage].restarts == before[stage].restarts + 1
    assert after[stage].pid != before[stage].pid
    assert all(health.is_ready for health in after.values())
    await pipeline.close("a")
    await pipeline.close("b")


async def test_a_spare_takes_over_without_loading(pipeline: RayPipeline, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def build(config: OmniConfig, name: StageName) -> Stage:
        if name == "speak":
            Path(folder, str(os.getpid())).touch()
        return build_stage(config, name)

    async def die(times: int) -> int:
        """Kill the stage; the process that stands for it then."""
        (speak,) = (h for h in await doubled.health() if h.stage == "speak")
        os.kill(speak.pid, signal.SIGKILL)
        restored = ("speak", "restored")
        await listener.until(lambda chunks: reports(chunks).count(restored) == times)
        return next(h.pid for h in await doubled.health() if h.stage == "speak")

    doubled = RayPipeline(config("runtime.spares=[speak]"), build)
    await doubled.start()
    listener = Listener()
    await doubled.open("a", listener)
    loaded = [int(mark.name) for mark in tmp_path.iterdir()]
    assert len(loaded) == 2
    assert await die(1) in loaded
    assert await die(2) not in loaded  # before there was another spare
    doubled.send(prompt("a", 0, "hello", "reply"))
    await listener.until_spoken("reply")
    await doubled.stop()


async def test_a_stage_that_dies_too_often_is_given_up(pipeline: RayPipeline) -> None:
    fragile = RayPipeline(config("runtime.max_restarts=0"))
    await fragile.start()
    listener = Listener()
    await fragile.open("a", listener)
    pids = {health.stage: health.pid for health in await fragile.health()}
    os.kill(pids["speak"], signal.SIGKILL)
    await listener.until_reported("speak", "failed")
    assert reports(listener.chunks) == [("speak", "lost"), ("speak", "failed")]
    assert {h.stage for h in await fragile.health() if not h.is_ready} == {"speak"}
    with pytest.raises(StageLost, match="speak"):
        await fragile.open("b", listener)
    await fragile.stop()


async def test_a_stage_that_cannot_load_is_named_with_its_cause(pipeline: RayPipeline) -> None:
    def build(config: OmniConfig, name: StageName) -> Stage:
        if name == "hear":
            raise AssetError("whisper.bin is missing")
        return build_stage(config, name)

    with pytest.raises(StageError, match=r"hear: .*whisper\.bin is missing"):
        await RayPipeline(config(), build).start()


async def test_a_stage_that_never_loads_times_out(pipeline: RayPipeline) -> None:
    def build(config: OmniConfig, name: StageName) -> Stage:
        import time

        time.sleep(3600)
        return build_stage(config, name)

    with pytest.raises(StageTimeout, match=r"(vad|hear|see|think|speak): not ready within 2 s"):
        await RayPipeline(config("runtime.start_timeout_s=2"), build).start()
