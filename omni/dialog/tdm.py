"""Time-division multiplexing: parallel streams, cut into units, laid one after the other.

Within a unit the groups stand in a fixed order: what was seen, what was heard, what was written.
Law: groups come out in the order of their units, each once; what arrives after its unit was closed
joins the next one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from omni.types import Samples

Modality = Literal["vision", "audio", "text"]
ORDER: tuple[Modality, ...] = ("vision", "audio", "text")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One modality's span inside a unit: words for a text brain, embeddings [T, D] for an
    omni-modal one."""

    modality: Modality
    text: str = ""
    embeddings: Samples | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One time slice, ready to be prefilled."""

    unit_index: int
    groups: tuple[Group, ...]


class Multiplexer:
    """One session's streams on their way into one context."""

    def __init__(self) -> None:
        self._open: dict[int, list[Group]] = {}
        self._next = 0  # units before this one are closed

    def add(self, unit_index: int, group: Group) -> None:
        self._open.setdefault(max(unit_index, self._next), []).append(group)

    def close_until(self, unit_index: int) -> Iterable[Unit]:
        """End every unit up to and including this one; yields those that hold something."""
        due = sorted(index for index in self._open if index <= unit_index)
        self._next = max(self._next, unit_index + 1)
        for index in due:
            groups = sorted(self._open.pop(index), key=lambda g: ORDER.index(g.modality))
            yield Unit(index, tuple(groups))
