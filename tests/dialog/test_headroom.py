"""Who is let in, by what units took: on a clock that jumps."""

import pytest

from omni.clock import ManualClock
from omni.config import load
from omni.dialog.headroom import ENOUGH, SPAN_MS, UNTIMED, Headroom, limit_ms


class Server:
    """Sessions whose units take what `cost_ms` says for so many of them."""

    def __init__(self, cost_ms: list[float], limit_ms: int = 800) -> None:
        self.clock = ManualClock()
        self.headroom = Headroom(limit_ms, self.clock)
        self.cost_ms = cost_ms
        self.num_sessions = 0

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1000)
            for _ in range(self.num_sessions):
                self.headroom.note(self.cost_ms[self.num_sessions], self.num_sessions)

    def comes(self) -> str:
        """Somebody knocks; they stay if they are let in."""
        refusal = self.headroom.refusal(self.num_sessions)
        self.num_sessions += not refusal
        return refusal


def test_sessions_are_added_until_units_take_too_long() -> None:
    server = Server([0, 200, 300, 420, 560, 700, 850, 1000])
    for _ in range(12):
        server.comes()
        server.run(10)
    assert server.num_sessions == 6  # the sixth makes it 850 ms, and is the last


def test_a_refusal_says_what_was_measured() -> None:
    server = Server([0, 850])
    server.comes()
    server.run(10)
    assert server.comes() == "a unit would take 850 ms (p95), more than 800"


def test_who_came_since_is_counted_before_it_is_measured() -> None:
    server = Server([0, 100, 200, 300, 400])
    while server.num_sessions < 4:
        server.comes()
    server.run(20)
    for _ in range(10):  # all at once: each is taken to cost what each of the four did
        server.comes()
    assert server.num_sessions == 10  # 400 ms * 10 / 5 is 800; with one more it would be 880


def test_p95_not_the_mean_and_not_the_worst() -> None:
    server = Server([0, 100])
    server.comes()
    server.run(5)
    for slow, is_refused in ((1, False), (2, True)):
        server.clock.advance(SPAN_MS + 1)
        for index in range(20):
            server.headroom.note(2000 if index < slow else 100, 1)
        assert bool(server.headroom.refusal(1)) == is_refused


def test_an_empty_server_takes_whoever_comes() -> None:
    server = Server([0, 5000])
    server.comes()
    server.run(10)
    assert server.comes()
    server.num_sessions = 0
    assert not server.comes()


def test_old_figures_are_of_another_load() -> None:
    server = Server([0, 5000])
    server.comes()
    server.run(10)
    assert server.comes()
    server.clock.advance(SPAN_MS + 1)
    assert not server.comes()


def test_before_units_are_timed_a_few_are_taken() -> None:
    server = Server([0] + [0.0] * 20)
    for _ in range(10):
        server.comes()
    assert server.num_sessions == UNTIMED
    assert "no unit was timed yet" in server.comes()
    for _ in range(ENOUGH):
        server.headroom.note(50, UNTIMED)
    assert not server.comes()


def test_no_limit_lets_everybody_in() -> None:
    server = Server([0] + [5000.0] * 20, limit_ms=0)
    for _ in range(10):
        server.comes()
        server.run(3)
    assert server.num_sessions == 10


@pytest.mark.parametrize(
    ("profile", "expected_ms"),
    [("minicpm-o", 800), ("minicpm-o-half", 0), ("embedded", 0), ("stub", 0)],
)
def test_only_a_brain_whose_units_are_timed_is_limited_by_them(
    profile: str, expected_ms: int
) -> None:
    assert limit_ms(load(profile).brain) == expected_ms
