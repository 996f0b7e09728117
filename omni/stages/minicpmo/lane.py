"""The work of many sessions on one part of the brain.

Hides whose turn it is. Laws: one session's tasks are done in order, one at a time; all sessions
that wait for the same kind of answer share a pass; what fails, fails its own session.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omni.errors import OmniError
from omni.models.minicpmo.brain import Faculty
from omni.models.minicpmo.scheduler import Job, Scheduler
from omni.models.minicpmo.wishes import Work
from omni.types import Chunk, StageName, StageReport

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Work that a chunk asks for, begun when its turn comes; what it emits is told by `tell`."""

    chunk: Chunk
    work: Callable[[], Work[Any]]
    tell: Callable[[Any], list[Chunk]] = lambda _: []


class Lane:
    def __init__(self, name: StageName, faculty: Faculty) -> None:
        self._name: StageName = name
        self._scheduler = Scheduler(faculty)
        self._waiting: dict[str, deque[Task]] = defaultdict(deque)
        self._running: dict[str, tuple[Task, Job]] = {}

    @property
    def has_work(self) -> bool:
        return bool(self._running) or any(self._waiting.values())

    def add(self, task: Task) -> None:
        self._waiting[task.chunk.session_id].append(task)

    def cancel(self, session_id: str) -> None:
        """Drop a session's tasks; the one under way is broken off where it waits."""
        self._waiting.pop(session_id, None)
        if running := self._running.pop(session_id, None):
            self._scheduler.cancel(running[1])

    def drop(self, session_id: str, kind: type[Chunk]) -> None:
        """Drop the tasks that such chunks asked for; others go on."""
        waiting = self._waiting[session_id]
        self._waiting[session_id] = deque(t for t in waiting if not isinstance(t.chunk, kind))
        running = self._running.get(session_id)
        if running and isinstance(running[0].chunk, kind):
            del self._running[session_id]
            self._scheduler.cancel(running[1])

    def step(self) -> list[Chunk]:
        """One pass for all who can share it; what came of it."""
        out: list[Chunk] = []
        for session_id in [s for s, tasks in self._waiting.items() if tasks]:
            if session_id not in self._running:
                out += self._start(session_id)
        try:
            self._scheduler.step()
        except Exception as error:  # of the models themselves: nobody knows how far they came
            log.exception("a pass failed", extra={"stage": self._name})
            return out + self._fail_all(error)
        for session_id in list(self._running):
            out += self._collect(session_id)
        return out

    def _start(self, session_id: str) -> list[Chunk]:
        task = self._waiting[session_id].popleft()
        self._running[session_id] = (task, self._scheduler.submit(task.work()))
        return self._collect(session_id)

    def _collect(self, session_id: str) -> list[Chunk]:
        """What a session's task has given out by now."""
        task, job = self._running[session_id]
        out = [chunk for output in job.outputs for chunk in task.tell(output)]
        job.outputs.clear()
        if job.is_done:
            del self._running[session_id]
            if job.error is not None:
                out.append(self._failed(task.chunk, job.error))
        return out

    def _fail_all(self, error: Exception) -> list[Chunk]:
        failed = [self._failed(task.chunk, error) for task, _ in self._running.values()]
        for report in failed:
            self.cancel(report.session_id)
        return failed

    def _failed(self, chunk: Chunk, error: BaseException) -> Chunk:
        told = error.message if isinstance(error, OmniError) else type(error).__name__
        log.warning("task failed: %s", told, extra={"session": chunk.session_id})
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        return StageReport(*stamp, self._name, "failed", told)
