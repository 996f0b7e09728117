"""How a long duplex session forgets: whole units, the oldest first, never the system prompt.

Hides which rows of the context belong to which unit. Rules: `basic` keeps the row count between
two marks, `context` keeps a number of units and re-tells the words of those it drops. Both are
MiniCPM-o 4.5's; positions close up behind what is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from omni.models.minicpmo.brain import Mind
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.prompt import text_group


@dataclass(frozen=True, slots=True, eq=False)
class WindowRule:
    """What is kept.

    `patience_rows` is how far a context may grow beyond `high_rows` while a turn is open: sliding
    while the model speaks breaks its speech.
    """

    kind: Literal["off", "basic", "context"] = "off"
    high_rows: int = 4000
    low_rows: int = 3500
    max_units: int = 24
    previous_tokens: int = 500
    marker: str = "\n\nprevious: "
    patience_rows: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """One unit in the context: its rows, and the ids it said."""

    index: int
    num_rows: int
    said: tuple[int, ...]
    is_listen: bool


class Window:
    """Bookkeeping of one session's context.

    Args:
        prefix_rows: of the system prompt, up to where earlier words are re-told.
        suffix: ids of the system prompt after that point.
        unsaid: ids that are never re-told.
    """

    def __init__(
        self,
        rule: WindowRule,
        prefix_rows: int,
        suffix: Sequence[int],
        marker: Sequence[int],
        unsaid: frozenset[int],
    ) -> None:
        self.rule = rule
        self.prefix_rows = prefix_rows
        self.suffix = tuple(suffix)
        self.marker = tuple(marker)
        self.unsaid = unsaid
        self.units: list[UnitRows] = []
        self.previous: tuple[int, ...] = ()
        self.num_dropped = 0
        self.num_slides = 0

    @property
    def told(self) -> tuple[int, ...]:
        """Ids that stand for the units dropped so far."""
        return (*self.marker, *self.previous) if self.previous else ()

    @property
    def system_rows(self) -> int:
        return self.prefix_rows + len(self.told) + len(self.suffix)

    def add(self, unit: UnitRows) -> None:
        self.units.append(unit)

    def slide(self, mind: Mind, context: Context, *, is_turn_open: bool) -> None:
        """Drop what the rule says. Raises StageError if the re-told words do not fit."""
        patience = self.rule.patience_rows if is_turn_open else 0
        if patience and len(context) <= self.rule.high_rows + patience:
            return
        match self.rule.kind:
            case "basic":
                self._slide_basic(context)
            case "context":
                while len(self.units) > self.rule.max_units:
                    self._slide_context(mind, context)

    def _slide_basic(self, context: Context) -> None:
        if len(context) <= self.rule.high_rows:
            return
        kept, rows = list(self.units), len(context)
        while kept and rows > self.rule.low_rows:
            rows -= kept.pop(0).num_rows
        start = self.system_rows
        context.drop(start, start + len(context) - rows)
        self._forget(len(self.units) - len(kept))

    def _slide_context(self, mind: Mind, context: Context) -> None:
        oldest = self.units[0]
        before, stop = self.told, self.system_rows + oldest.num_rows
        said = [i for i in oldest.said if i not in self.unsaid]
        self.previous = (*self.previous, *said)[-self.rule.previous_tokens :]
        if self.told == before:
            context.drop(stop - oldest.num_rows, stop)
        else:
            context.replace(
                self.prefix_rows, stop, mind.embed([text_group(*self.told, *self.suffix)])
            )
        self._forget(1)

    def _forget(self, num_units: int) -> None:
        self.units = self.units[num_units:]
        self.num_dropped += num_units
        self.num_slides += num_units > 0
