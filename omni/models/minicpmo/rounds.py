"""How a long half-duplex session forgets: whole rounds, the oldest first, with their answers.

Hides which rows belong to which round. The system prompt is never dropped. `ReleasedRounds` keeps
the released accounting, which forgets the answer's header, counts the answer as if it were written
again, and so drops other rows than it means to: for parity alone.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from omni.models.minicpmo.decoder import Context


@dataclass(frozen=True, slots=True, eq=False)
class RowLimits:
    """Rows above which rounds are dropped, and to which."""

    high: int
    low: int


class Rounds(Protocol):
    """What a session tells of its rows, and what then slides them."""

    def begin(self, context: Context) -> None:
        """A user's turn begins with the next row."""

    def read(self, kind: Literal["system", "user"], num_rows: int) -> None:
        """So many rows were fed."""

    def answered(self, num_ids: int) -> None:
        """The round ended with an answer of so many ids, counted as its text."""

    def slide(self, context: Context, limits: RowLimits) -> None:
        """Drop rounds if there are too many rows."""


@dataclass(eq=False)
class ExactRounds:
    """Rounds by the row each begins at; the one under way is never dropped."""

    starts: list[int] = field(default_factory=list)

    def begin(self, context: Context) -> None:
        self.starts.append(len(context))

    def read(self, kind: Literal["system", "user"], num_rows: int) -> None:
        """Rows are counted by the context itself."""

    def answered(self, num_ids: int) -> None:
        """Rows are counted by the context itself."""

    def slide(self, context: Context, limits: RowLimits) -> None:
        if len(context) <= limits.high:
            return
        while len(self.starts) > 1 and len(context) > limits.low:
            start, stop = self.starts[:2]
            context.drop(start, stop)
            self.starts = [at - (stop - start) for at in self.starts[1:]]


@dataclass(frozen=True, slots=True)
class Entry:
    length: int
    kind: str
    round_index: int


@dataclass(eq=False)
class ReleasedRounds:
    """The released code's history. Round 0 is the system prompt with the first round."""

    entries: list[Entry] = field(default_factory=list)
    round_index: int = 0
    num_dropped: int = 0  # rows
    is_answered: bool = False  # the round under way

    @property
    def system_rows(self) -> int:
        return self.entries[0].length if self.entries else 0

    def begin(self, context: Context) -> None:
        self.round_index += self.is_answered
        self.is_answered = False

    def read(self, kind: Literal["system", "user"], num_rows: int) -> None:
        self.entries.append(Entry(num_rows, kind, self.round_index))

    def answered(self, num_ids: int) -> None:
        self.entries.append(Entry(num_ids, "assistant", self.round_index))
        self.is_answered = True

    def slide(self, context: Context, limits: RowLimits) -> None:
        if len(context) <= limits.high:
            return
        while len(context) > limits.low:
            droppable = [e.round_index for e in self.entries if e.round_index > 0]
            if not droppable:
                return
            oldest = min(droppable)
            length = sum(e.length for e in self.entries if e.round_index == oldest)
            if self.system_rows + length > len(context):
                return
            context.drop(self.system_rows, self.system_rows + length)
            self.entries = [e for e in self.entries if e.round_index != oldest]
            self.num_dropped += length
