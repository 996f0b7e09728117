"""The one interface behind which the stages run, and the runtime that needs nothing but asyncio.

`LocalPipeline` is the specification: actors.RayPipeline must give the same events for the same
conversation. Routing is the table `types.DESTINATIONS`, for both.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from omni.errors import SessionError
from omni.stages.base import Stage
from omni.stages.runner import StageRunner
from omni.types import DESTINATIONS, Chunk, Receiver, StageHealth

log = logging.getLogger(__name__)

Sink = Callable[[Chunk], None]
"""Receives a session's chunks for the gateway, on the event loop; must not block or raise."""


class Pipeline(Protocol):
    async def start(self) -> None:
        """Load every stage; returns when all are ready. Raises StageError naming one that fails."""

    async def stop(self) -> None: ...

    async def open(self, session_id: str, sink: Sink) -> None:
        """Make room for a session in every stage. Raises SessionCapacity."""

    async def close(self, session_id: str) -> None: ...

    def send(self, chunk: Chunk) -> None:
        """Route a chunk to the stages that `DESTINATIONS` names. Never blocks."""

    async def health(self) -> tuple[StageHealth, ...]: ...


class LocalPipeline:
    """All stages in this process: unit tests, a robot's own board."""

    def __init__(self, stages: Iterable[Stage], queue_ms: int = 2000) -> None:
        self._runners: dict[Receiver, StageRunner] = {
            stage.name: StageRunner(stage, self.send, queue_ms) for stage in stages
        }
        self._sinks: dict[str, Sink] = {}

    async def start(self) -> None:
        await asyncio.gather(*(runner.start() for runner in self._runners.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(runner.stop() for runner in self._runners.values()))

    async def open(self, session_id: str, sink: Sink) -> None:
        if session_id in self._sinks:
            raise SessionError(f"session {session_id} is open already")
        self._sinks[session_id] = sink
        try:
            for runner in self._runners.values():
                await runner.open(session_id)
        except BaseException:
            await self.close(session_id)
            raise

    async def close(self, session_id: str) -> None:
        self._sinks.pop(session_id, None)
        await asyncio.gather(*(runner.close(session_id) for runner in self._runners.values()))

    def send(self, chunk: Chunk) -> None:
        for receiver in DESTINATIONS[type(chunk)]:
            if receiver == "gateway":
                if sink := self._sinks.get(chunk.session_id):
                    sink(chunk)
            elif runner := self._runners.get(receiver):
                runner.push(chunk)

    async def health(self) -> tuple[StageHealth, ...]:
        return tuple(runner.health() for runner in self._runners.values())
