"""What came of every event of a call, and the figures over one call or over several.

A long measurement is several short ones: outcomes add up. A rate of fewer than ten events is None.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

YIELD_S: Final = 2.0  # an interruption is heeded within
MIN_EVENTS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """One entry for each event. `yields_s`: from an interruption to silence. `spills_s`: speech
    after its end. `responses_s`: from a question to its answer, None without one. `pause_sounds`:
    whether we began to speak in a pause; `take_overs`: and spoke on (`panel.TAKE_OVER_S`). The
    next three: whether such a sound was left alone. `replies`: whether it played without a hole.
    `unheard_words`: None if nobody listened."""

    yields_s: tuple[float, ...] = ()
    spills_s: tuple[float, ...] = ()
    responses_s: tuple[float | None, ...] = ()
    pause_sounds: tuple[bool, ...] = ()
    take_overs: tuple[bool, ...] = ()
    backchannels: tuple[bool, ...] = ()
    tics: tuple[bool, ...] = ()
    side_talk: tuple[bool, ...] = ()
    replies: tuple[bool, ...] = ()
    unheard_words: int | None = None

    def plus(self, other: "Outcomes") -> "Outcomes":
        """Both calls as one."""
        *names, _ = (field.name for field in dataclasses.fields(self))
        joined = {name: (*getattr(self, name), *getattr(other, name)) for name in names}
        unheard = [n for n in (self.unheard_words, other.unheard_words) if n is not None]
        return Outcomes(**joined, unheard_words=sum(unheard) if unheard else None)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def figures(self) -> dict[str, Any]:
        """Every figure by its name, and the counts of the events behind them."""
        answered = [seconds for seconds in self.responses_s if seconds is not None]
        return {
            "R_Y": _rate([seconds <= YIELD_S for seconds in self.yields_s]),
            "R_R": _rate([seconds is not None for seconds in self.responses_s]),
            **_percentiles("L_R", answered),
            **_percentiles("L_Y", [s for s in self.yields_s if s <= YIELD_S]),
            "S_BC": _rate(self.backchannels),
            "S_VT": _rate(self.tics),
            "S_ND": _rate(self.side_talk),
            "pause_take_over": _rate(self.take_overs),
            "pause_sound": _rate(self.pause_sounds),
            "spill_s": round(float(np.mean(self.spills_s)), 3) if self.spills_s else None,
            "unheard_words": self.unheard_words,
            "continuity_ok": _rate(self.replies),
            "counts": {
                "interruptions": len(self.yields_s),
                "responses": len(self.responses_s),
                "backchannels": len(self.backchannels),
                "tics": len(self.tics),
                "side_talk": len(self.side_talk),
                "pauses": len(self.take_overs),
                "replies": len(self.replies),
            },
        }


def outcomes_from(found: dict[str, Any]) -> Outcomes:
    """The inverse of `as_dict`, from JSON. Raises TypeError for anything else."""
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Outcomes(**known)


def _rate(outcomes: Sequence[bool]) -> float | None:
    return round(sum(outcomes) / len(outcomes), 3) if len(outcomes) >= MIN_EVENTS else None


def _percentiles(name: str, values_s: Sequence[float]) -> dict[str, float | None]:
    if len(values_s) < MIN_EVENTS:
        return {f"{name}_p50_ms": None, f"{name}_p95_ms": None}
    p50, p95 = np.percentile(values_s, [50, 95])
    return {f"{name}_p50_ms": round(1000 * float(p50)), f"{name}_p95_ms": round(1000 * float(p95))}
