"""How many responses, and tokens of them, a session may still have made this minute.

Law: what a client is told of its limits is what is held to; the minute moves with the clock.
"""

from collections import deque
from typing import Final

from omni.clock import Clock
from omni.config import ServerConfig
from omni.events import Limit, Usage

RATE_LIMITED: Final = "rate_limit_exceeded"
WINDOW_MS: Final = 60_000


class Allowance:
    """Args:
    clock: of the minute.
    config: how many there are.
    """

    def __init__(self, clock: Clock, config: ServerConfig) -> None:
        self._clock = clock
        self._num_requests = config.max_responses_per_min
        self._num_tokens = config.max_tokens_per_min
        self._spent: deque[tuple[float, int]] = deque()  # responses of the last minute: at ms, cost

    def spend(self, usage: Usage) -> None:
        """A response was made."""
        self._spent.append((self._clock.now_ms(), usage.input_tokens + usage.output_tokens))

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What there is, and what is left of it."""
        now_ms = self._clock.now_ms()
        while self._spent and now_ms - self._spent[0][0] >= WINDOW_MS:
            self._spent.popleft()
        waits_ms = self._spent[-1][0] + WINDOW_MS - now_ms if self._spent else 0.0
        resets_s = round(waits_ms / 1000, 3)
        requests = max(0, self._num_requests - len(self._spent))
        tokens = max(0, self._num_tokens - sum(cost for _, cost in self._spent))
        return (
            Limit("requests", self._num_requests, requests, resets_s),
            Limit("tokens", self._num_tokens, tokens, resets_s),
        )

    @property
    def refusal(self) -> str | None:
        """Why no response can be made now, if so."""
        spent = next((limit for limit in self.limits if not limit.remaining), None)
        if spent is None:
            return None
        waits_s = (self._spent[0][0] + WINDOW_MS - self._clock.now_ms()) / 1000
        return (
            f"Rate limit reached: {spent.limit} {spent.name} a minute and session. "
            f"Please try again in {waits_s:.1f} s."
        )
