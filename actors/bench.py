"""What carrying chunks costs: the local pipeline, Ray with sockets, and a Ray call per chunk.

The brain is the stub without delays, so that all that is measured is carriage. Prefer the CPU
column and the order of the rows to the milliseconds of a busy machine.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import numpy as np
import psutil
import ray

from actors.cluster import Cluster
from actors.pipeline import RayPipeline
from omni.chat import Message
from omni.config import OmniConfig, load
from omni.pipeline import LocalPipeline, Pipeline, Sink
from omni.stages.build import build_stage, stage_names
from omni.types import (
    DESTINATIONS,
    Activity,
    AudioChunk,
    Chunk,
    Prompt,
    Speech,
    SpeechOptions,
    StageHealth,
    StageName,
)

FRAME_S: Final = 0.02
FRAME_SAMPLES: Final = 320
FRAMES_PER_TURN: Final = 25
Figures = dict[str, float]


async def measure(seconds: float = 10, num_sessions: int = 1) -> dict[str, Figures]:
    """Figures of each way, by its name: `hop` is sound to the VAD and its answer back, `turn` a
    prompt through think and speak to the last sound; `cores` is CPU per session, idle deducted."""
    config = load("stub", ["brain.stub.reply=fine"])
    ways: dict[str, Pipeline] = {
        "local": LocalPipeline([build_stage(config, name) for name in stage_names(config)]),
        "ray, sockets": RayPipeline(config),
        "ray, a call per chunk": CallPipeline(config),
    }
    return {name: await _measure(way, seconds, num_sessions) for name, way in ways.items()}


async def _measure(pipeline: Pipeline, seconds: float, num_sessions: int) -> Figures:
    await pipeline.start()
    try:
        users = [_User(pipeline, f"session-{index}") for index in range(num_sessions)]
        for user in users:
            await pipeline.open(user.session_id, user.hear)
        await asyncio.gather(*(user.talk(1) for user in users))  # connections, caches
        for user in users:
            user.hops_s.clear()
            user.turns_s.clear()
        idle_s = await _cpu_s(lambda: asyncio.sleep(seconds))
        busy_s = await _cpu_s(lambda: asyncio.gather(*(user.talk(seconds) for user in users)))
        hops_s = [hop_s for user in users for hop_s in user.hops_s]
        turns_s = [turn_s for user in users for turn_s in user.turns_s]
    finally:
        await pipeline.stop()
    return {
        "hop_p50_ms": _percentile_ms(hops_s, 50),
        "hop_p99_ms": _percentile_ms(hops_s, 99),
        "turn_p50_ms": _percentile_ms(turns_s, 50),
        "turn_p99_ms": _percentile_ms(turns_s, 99),
        "cores": round((busy_s - idle_s) / seconds / num_sessions, 3),
        "idle_cores": round(idle_s / seconds, 3),
    }


class _User:
    """Talks at 50 frames a second and asks something twice a second."""

    def __init__(self, pipeline: Pipeline, session_id: str) -> None:
        self.session_id = session_id
        self.hops_s: list[float] = []
        self.turns_s: list[float] = []
        self._pipeline = pipeline
        self._num_frames = 0
        self._sent_at: dict[int, float] = {}
        self._asked_at: dict[str, float] = {}

    async def talk(self, seconds: float) -> None:
        started = time.perf_counter()
        for index in range(int(seconds / FRAME_S)):
            self._send_frame()
            if index % FRAMES_PER_TURN == 0:
                self._ask(f"reply-{self._num_frames}")
            await asyncio.sleep(max(0, started + (index + 1) * FRAME_S - time.perf_counter()))

    def hear(self, chunk: Chunk) -> None:
        now = time.perf_counter()
        if isinstance(chunk, Activity):
            self.hops_s.append(now - self._sent_at[-(-chunk.end_sample // FRAME_SAMPLES)])
        elif isinstance(chunk, Speech) and chunk.is_last:
            self.turns_s.append(now - self._asked_at[chunk.response_id])

    def _send_frame(self) -> None:
        samples = np.zeros(FRAME_SAMPLES, np.float32)
        start_sample = self._num_frames * FRAME_SAMPLES
        self._num_frames += 1
        self._sent_at[self._num_frames] = time.perf_counter()
        self._pipeline.send(AudioChunk(self.session_id, 0, 0, start_sample, samples))

    def _ask(self, response_id: str) -> None:
        messages = (Message("user", "hello"),)
        voice = SpeechOptions("any")
        self._asked_at[response_id] = time.perf_counter()
        self._pipeline.send(Prompt(self.session_id, 0, 0, response_id, messages, 8, 0.0, voice))


class _CalledStage:
    """A stage stepped by Ray calls: what it puts out comes back, or is handed on by a call."""

    def __init__(self, config: OmniConfig, name: StageName) -> None:
        self._stage = build_stage(config, name)
        self._peers: dict[str, Any] = {}

    async def meet(self, peers: dict[str, Any]) -> None:
        self._peers = peers

    async def push(self, chunk: Chunk) -> list[Chunk]:
        chunks = self._stage.step([chunk])
        while self._stage.has_work():
            chunks += self._stage.step([])
        for sent in tuple(chunks):
            for receiver in DESTINATIONS[type(sent)]:
                if receiver in self._peers:
                    chunks += await self._peers[receiver].push.remote(sent)
        return chunks


class CallPipeline:
    """The way not taken, as far as it must go to be measured."""

    def __init__(self, config: OmniConfig) -> None:
        self._config = config
        self._actors: dict[str, Any] = {}
        self._sinks: dict[str, Sink] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._cluster = await Cluster.join(None)
        actor = ray.remote(_CalledStage).options(num_cpus=0)
        names = stage_names(self._config)
        self._actors = {name: actor.remote(self._config, name) for name in names}
        await asyncio.gather(*(a.meet.remote(self._actors) for a in self._actors.values()))

    async def stop(self) -> None:
        await asyncio.gather(*self._calls)
        await self._cluster.leave()

    async def open(self, session_id: str, sink: Sink) -> None:
        self._sinks[session_id] = sink

    async def close(self, session_id: str) -> None:
        del self._sinks[session_id]

    def send(self, chunk: Chunk) -> None:
        for receiver in DESTINATIONS[type(chunk)]:
            call = asyncio.create_task(self._push(self._actors[receiver], chunk))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def health(self) -> tuple[StageHealth, ...]:
        return ()

    async def _push(self, actor: Any, chunk: Chunk) -> None:
        for answer in await actor.push.remote(chunk):
            if "gateway" in DESTINATIONS[type(answer)]:
                self._sinks[answer.session_id](answer)


async def _cpu_s(run: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds that this process and all below it spend on `run`."""
    before_s = _spent_s()
    await run()
    return _spent_s() - before_s


def _spent_s() -> float:
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def _percentile_ms(values_s: list[float], percentile: int) -> float:
    return round(float(np.percentile(values_s, percentile)) * 1000, 2)


def main() -> None:
    for name, figures in asyncio.run(measure()).items():
        print(name, *(f"{key} {value:g}" for key, value in figures.items()), sep="  ")


if __name__ == "__main__":
    main()
