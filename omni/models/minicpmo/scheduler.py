"""Lets sessions share the models' passes: answers wishes of one kind together.

Law: whoever joins, leaves or fails, the others get what they would get alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from omni.errors import StageError
from omni.models.minicpmo.brain import Faculty
from omni.models.minicpmo.wishes import ORDER, Decide, Emit, HearClip, Result, Say, Wish, Work


@dataclass(slots=True, eq=False)
class Job:
    """Work under way: the wish it waits for and what it has given out.

    Once done it has a `result`, or the `error` that ended it.
    """

    work: Work[Any]
    wish: Wish | None = None
    outputs: list[Any] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.wish is None

    def send(self, answer: Any) -> None:
        self._advance(lambda: self.work.send(answer))

    def fail(self, error: Exception) -> None:
        """Raise where the work waits for its answer."""
        self._advance(lambda: self.work.throw(error))

    def _advance(self, resume: Callable[[], Wish | Emit]) -> None:
        self.wish = None
        try:
            wish = resume()
            while isinstance(wish, Emit):
                self.outputs.append(wish.output)
                wish = self.work.send(None)
            self.wish = wish
        except StopIteration as stop:
            self.result = stop.value
        except Exception as error:
            self.error = error


class Scheduler:
    """Serves the work of many sessions; new work may join between any two passes."""

    def __init__(self, brain: Faculty) -> None:
        self.brain = brain
        self.jobs: list[Job] = []

    def submit(self, work: Work[Any]) -> Job:
        job = Job(work)
        job.send(None)
        if not job.is_done:
            self.jobs.append(job)
        return job

    def cancel(self, job: Job) -> None:
        """Break work off where it waits; what it has fed stays fed."""
        if job in self.jobs:
            self.jobs.remove(job)
            job.work.close()
            job.wish = None

    def step(self) -> None:
        """Answer the earliest kind of wish there is, for all who have it.

        Speech and sound come last: until then all who still read or decide can join them.
        """
        if not self.jobs:
            return
        first = min(self.jobs, key=lambda job: ORDER.index(type(job.wish)))
        chosen = [job for job in self.jobs if _alike(job.wish, first.wish)]
        try:
            self._answer(chosen)
        except StageError:
            # No context has changed; who asked for too much is found by asking one by one.
            for job in chosen:
                self._answer_alone(job)
        self.jobs = [job for job in self.jobs if not job.is_done]

    def _answer(self, jobs: Sequence[Job]) -> None:
        wishes = [job.wish for job in jobs if job.wish is not None]
        for job, answer in zip(jobs, self.brain.answer(wishes), strict=True):
            job.send(answer)

    def _answer_alone(self, job: Job) -> None:
        try:
            self._answer([job])
        except StageError as error:
            job.fail(error)


def run(brain: Faculty, work: Work[Result]) -> Result:
    """Do one session's work alone. Raises what the work raises."""
    return run_all(brain, [work])[0]


def run_all(brain: Faculty, works: Sequence[Work[Result]]) -> list[Result]:
    """Do the work of several sessions side by side. Raises the first error of any, at the end."""
    scheduler = Scheduler(brain)
    jobs = [scheduler.submit(work) for work in works]
    while scheduler.jobs:
        scheduler.step()
    for job in jobs:
        if job.error is not None:
            raise job.error
    return [job.result for job in jobs]


def _alike(wish: Wish | None, other: Wish | None) -> bool:
    """May both be answered in one call?"""
    match wish, other:
        case (HearClip(chunk_s=a), HearClip(chunk_s=b)):
            return a == b
        case (Decide(rule=a, ids=i), Decide(rule=b, ids=j)):
            return a is b and i is j
        case (Say(rule=a), Say(rule=b)):
            return a is b
    return type(wish) is type(other)
