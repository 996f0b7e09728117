"""Whether one more session would still be answered in time, by what units have taken lately.

Hides the forecast: who came since a unit was timed is taken to cost what each other did. Law: an
empty server takes whoever comes, and no session is added once units take longer than the limit.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from omni.clock import Clock
from omni.config import BrainConfig

SPAN_MS: Final = 15_000  # older figures are of another load
ENOUGH: Final = 5  # figures below which there is nothing to go by
UNTIMED: Final = 4  # sessions taken before that


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    at_ms: float
    took_ms: float
    num_sessions: int


def limit_ms(brain: BrainConfig) -> int:
    """Of a unit; 0 for brains whose work is not cut into timed units."""
    is_timed = brain.kind == "minicpm-o" and brain.duplex.mode == "full"
    return brain.duplex.admit_below_ms if is_timed else 0


class Headroom:
    """Args:
    limit_ms: of the 95th percentile, from when a unit was due to when its answer was out; 0 is
        none.
    """

    def __init__(self, limit_ms: int, clock: Clock) -> None:
        self._limit_ms = limit_ms
        self._clock = clock
        self._timed: deque[_Timed] = deque()

    def note(self, took_ms: float, num_sessions: int) -> None:
        """A unit was answered, while so many sessions were open."""
        self._timed.append(_Timed(self._clock.now_ms(), took_ms, num_sessions))
        self._forget()

    def refusal(self, num_sessions: int) -> str:
        """Why a session would be one too many beside these; nothing if it would not."""
        self._forget()
        if not self._limit_ms or not num_sessions:
            return ""
        if len(self._timed) < ENOUGH:
            return "" if num_sessions < UNTIMED else "no unit was timed yet"
        # Those who are here now and were not when it was timed will cost as much again.
        expected = sorted(
            timed.took_ms * (num_sessions + 1) / (timed.num_sessions + 1) for timed in self._timed
        )
        p95_ms = expected[math.ceil(0.95 * len(expected)) - 1]
        if p95_ms <= self._limit_ms:
            return ""
        return f"a unit would take {p95_ms:.0f} ms (p95), more than {self._limit_ms}"

    def _forget(self) -> None:
        while self._timed and self._clock.now_ms() - self._timed[0].at_ms > SPAN_MS:
            self._timed.popleft()
