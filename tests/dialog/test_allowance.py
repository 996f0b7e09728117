"""Rate limits: what is told is what is held to."""

from omni.clock import ManualClock
from omni.config import ServerConfig
from omni.dialog.allowance import Allowance
from omni.events import Usage


def left(allowance: Allowance) -> list[tuple[str, int, float]]:
    return [(limit.name, limit.remaining, limit.resets_s) for limit in allowance.limits]


def test_the_minute_moves_with_the_clock() -> None:
    clock = ManualClock()
    allowance = Allowance(clock, ServerConfig(max_responses_per_min=2, max_tokens_per_min=100))
    assert left(allowance) == [("requests", 2, 0.0), ("tokens", 100, 0.0)]
    allowance.spend(Usage(20, 10, 5))
    clock.advance(20_000)
    assert left(allowance) == [("requests", 1, 40.0), ("tokens", 75, 40.0)]
    allowance.spend(Usage(20, 10, 5))
    assert left(allowance) == [("requests", 0, 60.0), ("tokens", 50, 60.0)]
    assert "2 requests" in (allowance.refusal or "")
    assert "40.0 s" in (allowance.refusal or "")
    clock.advance(40_000)
    assert allowance.refusal is None
    assert left(allowance) == [("requests", 1, 20.0), ("tokens", 75, 20.0)]
    clock.advance(20_000)
    assert left(allowance) == [("requests", 2, 0.0), ("tokens", 100, 0.0)]


def test_tokens_are_counted_too_and_never_below_nothing() -> None:
    allowance = Allowance(ManualClock(), ServerConfig(max_tokens_per_min=10))
    allowance.spend(Usage(20, 0, 5))
    assert left(allowance)[1][:2] == ("tokens", 0)
    assert "10 tokens" in (allowance.refusal or "")
