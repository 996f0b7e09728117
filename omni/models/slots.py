"""Which session owns which context of a runtime, and what is known to be cached there.

Hides how contexts are found for sessions. Law: a freed context keeps its tokens, since the next
session's prompt begins like the last one's; they are only ever re-used where they are equal.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from omni.errors import SessionCapacity

COPY_GAIN_TOKENS = 16  # copying a context costs about as much as computing a few tokens


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


@dataclass(slots=True, eq=False)
class Slot:
    """A context; `cached` are the token ids whose keys and values it surely holds."""

    index: int
    session_id: str | None = None
    cached: Sequence[int] = ()

    def match(self, ids: Sequence[int]) -> int:
        """How many of the ids need not be computed here."""
        return common_prefix(self.cached, ids)


class SlotTable:
    def __init__(self, num_slots: int) -> None:
        self._slots = [Slot(index) for index in range(num_slots)]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def find(self, session_id: str) -> Slot | None:
        return next((slot for slot in self._slots if slot.session_id == session_id), None)

    def claim(self, session_id: str, ids: Sequence[int]) -> Slot:
        """The session's slot; a new session gets the free one that suits the ids best.

        Raises:
            SessionCapacity: every slot has a session.
        """
        slot = self.find(session_id)
        if slot:
            return slot
        free = [slot for slot in self._slots if slot.session_id is None]
        if not free:
            raise SessionCapacity(f"all {len(self._slots)} model contexts are in use")
        slot = max(free, key=lambda s: s.match(ids))
        slot.session_id = session_id
        return slot

    def free(self, session_id: str) -> None:
        slot = self.find(session_id)
        if slot:
            slot.session_id = None


def worth_copying(slot: Slot, ids: Sequence[int], others: Iterable[Slot]) -> Slot | None:
    """The slot to copy from before `slot` computes the ids, if another holds clearly more."""
    source = max(others, key=lambda s: s.match(ids), default=slot)
    return source if source.match(ids) >= slot.match(ids) + COPY_GAIN_TOKENS else None
