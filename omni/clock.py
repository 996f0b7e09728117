"""Where time comes from. Conversation logic is handed a `Clock`; only `SystemClock` reads the wall.

Media time is counted in samples elsewhere; a clock serves deadlines and latency figures.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> float:
        """Milliseconds since an arbitrary origin; never goes back."""


class SystemClock:
    def now_ms(self) -> float:
        return time.monotonic() * 1000


def unix_time_s() -> float:
    """Seconds since 1970, for the few times that a client is told."""
    return time.time()


class ManualClock:
    """A clock that moves when told to, for tests on virtual time."""

    def __init__(self, start_ms: float = 0.0) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> float:
        return self._now_ms

    def advance(self, by_ms: float) -> None:
        self._now_ms += by_ms
