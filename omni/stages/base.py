"""What a stage is: streaming and state around a model, without I/O.

A stage is stepped by a runner (omni.stages.runner) from one worker thread, with whatever has
arrived for all its sessions; it blocks on nothing but its model, and sees no stale chunks.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from omni.types import Chunk, StageName


class Stage(Protocol):
    name: StageName

    def load(self) -> None:
        """Load and warm the model. Called once, before anything else, on the worker thread."""

    def open(self, session_id: str) -> None:
        """Room for a session. Raises SessionCapacity if there is none."""

    def close(self, session_id: str) -> None:
        """Forget a session; unknown ones are ignored."""

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Take in what arrived, do one bounded piece of work for every session that waits.

        A `Fence` among the chunks voids that session's older reply work. An exception concerns the
        whole step: trouble with one session is answered with a `StageReport`.
        """

    def has_work(self) -> bool:
        """Whether another step is due even if nothing arrives."""


@runtime_checkable
class InstantStage(Stage, Protocol):
    """A stage whose steps take microseconds: stepped where it stands, without a thread's wake."""

    is_instant: Literal[True]
