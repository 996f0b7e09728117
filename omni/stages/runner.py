"""Runs one stage: its inbox, its worker thread, and the fence that keeps stale chunks out.

The same runner serves both runtimes, so a stage cannot tell whether it stands in an actor. Model
work happens on the one worker thread; the event loop answers at once whatever the model does.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from omni.channel import Channel, Closed, Limit
from omni.stages.base import InstantStage, Stage
from omni.stages.priority import give_way
from omni.types import (
    REPLY_CHUNKS,
    Activity,
    AudioChunk,
    Chunk,
    Fence,
    PictureChunk,
    Recognise,
    Speech,
    StageHealth,
    StageReport,
)
from omni.units import UnitSound

log = logging.getLogger(__name__)

FRAME_MS = 20
MAX_ASKED_PICTURES = 4  # somebody waits for each
Result = TypeVar("Result")


class StageRunner:
    """Args:
    stage: what to run.
    emit: called on the event loop with every fresh chunk the stage puts out.
    queue_ms: sound per session that may wait in the inbox before the oldest goes.
    on_taken: called on the event loop whenever a step has emptied the inbox.
    """

    def __init__(
        self,
        stage: Stage,
        emit: Callable[[Chunk], None],
        queue_ms: int = 2000,
        on_taken: Callable[[], None] = lambda: None,
    ) -> None:
        self.stage = stage
        self._emit = emit
        self._on_taken = on_taken
        self._inbox: Channel[Chunk] = Channel(limit_of=inbox_limits(queue_ms))
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=stage.name)
        self._epochs: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._steps = 0
        self._busy_s = 0.0
        self._media_s = 0.0

    async def start(self) -> None:
        """Load the model, then begin to serve."""
        await self._on_worker(give_way, self.stage.name)
        await self._on_worker(self.stage.load)
        self._task = asyncio.create_task(self._serve(), name=f"stage-{self.stage.name}")

    async def stop(self) -> None:
        """Finish the step in hand and end."""
        self._inbox.close()
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        self._worker.shutdown(wait=True, cancel_futures=True)

    async def open(self, session_id: str, epoch: int = 0) -> None:
        """Raises SessionCapacity if the stage has no room."""
        await self._on_worker(self.stage.open, session_id)
        self._epochs[session_id] = epoch

    async def close(self, session_id: str) -> None:
        self._epochs.pop(session_id, None)
        await self._on_worker(self.stage.close, session_id)

    def push(self, chunk: Chunk) -> None:
        """Put a chunk into the inbox unless it is stale or its session is not open."""
        epoch = self._epochs.get(chunk.session_id)
        if epoch is None:
            return
        if chunk.epoch > epoch:
            self._epochs[chunk.session_id] = chunk.epoch
            if not isinstance(chunk, Fence):
                self._inbox.offer(Fence(chunk.session_id, chunk.epoch, chunk.unit_index))
        elif isinstance(chunk, Fence) or self._is_stale(chunk):
            return
        self._inbox.offer(chunk)

    def health(self) -> StageHealth:
        return StageHealth(
            self.stage.name,
            is_ready=self._task is not None and not self._task.done(),
            pid=os.getpid(),
            queued=len(self._inbox),
            dropped=self._inbox.num_dropped,
            steps=self._steps,
            busy_s=round(self._busy_s, 4),
            media_s=round(self._media_s, 4),
        )

    async def _serve(self) -> None:
        while True:
            if not self.stage.has_work():
                try:
                    await self._inbox.wait()
                except Closed:
                    return
            chunks = [c for c in self._inbox.take() if not self._is_stale(c)]
            self._on_taken()
            for chunk in await self._stepped(chunks):
                if not self._is_stale(chunk):
                    self._emit(chunk)

    async def _stepped(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        if isinstance(self.stage, InstantStage):
            return self._step(chunks)
        return await self._on_worker(self._step, chunks)

    async def _on_worker(self, call: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *args)

    def _step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        started = time.perf_counter()
        try:
            out = self.stage.step(chunks)
        except Exception as error:
            log.exception("stage step failed", extra={"stage": self.stage.name})
            out = [self._report(c, error) for c in {c.session_id: c for c in chunks}.values()]
        self._steps += 1
        self._busy_s += time.perf_counter() - started
        self._media_s += sum(_media_s(chunk) for chunk in (*chunks, *out))
        return out

    def _report(self, chunk: Chunk, error: Exception) -> StageReport:
        return StageReport(
            chunk.session_id,
            chunk.epoch,
            chunk.unit_index,
            self.stage.name,
            "failed",
            type(error).__name__,
        )

    def _is_stale(self, chunk: Chunk) -> bool:
        epoch = self._epochs.get(chunk.session_id)
        return epoch is None or (isinstance(chunk, REPLY_CHUNKS) and chunk.epoch < epoch)


def inbox_limits(queue_ms: int) -> Callable[[Chunk], Limit | None]:
    """What may be dropped from a full queue of chunks, in an inbox or on the way to one."""
    max_frames = queue_ms // FRAME_MS

    def limit_of(chunk: Chunk) -> Limit | None:
        match chunk:
            case AudioChunk():
                return Limit((AudioChunk, chunk.session_id), max_frames)
            case PictureChunk():
                kept = MAX_ASKED_PICTURES if chunk.is_asked else 1
                return Limit((PictureChunk, chunk.session_id, chunk.is_asked), kept)
            case Activity():
                return Limit((Activity, chunk.session_id), max_frames)
            case _:
                return None

    return limit_of


def _media_s(chunk: Chunk) -> float:
    match chunk:
        case AudioChunk() | Recognise(is_final=True) | UnitSound():
            return len(chunk.samples) / 16000
        case Speech():
            return len(chunk.samples) / 24000
        case _:
            return 0.0
