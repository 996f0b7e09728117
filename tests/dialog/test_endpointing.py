"""Beginnings, pauses and ends, from probabilities alone."""

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.config import load
from omni.dialog.endpointing import Boundary, Ending, Endpointer
from omni.dialog.options import default_options

DETECTION = default_options(load("stub")).turn_detection
assert DETECTION is not None
WINDOW = 512
MIN_SPEECH_MS = 160
PAUSE_MS = 128


def follow(endpointer: Endpointer, probabilities: Iterable[float]) -> list[Boundary]:
    boundaries = []
    for index, probability in enumerate(probabilities, 1):
        boundary = endpointer.feed(index * WINDOW, probability, MIN_SPEECH_MS)
        if boundary:
            boundaries.append(boundary)
    return boundaries


def windows(seconds: float) -> int:
    return round(seconds * 16000 / WINDOW)


def test_a_turn() -> None:
    heard = follow(Endpointer(DETECTION, PAUSE_MS), [0.0] * 10 + [0.9] * 30 + [0.0] * 40)
    assert [(b.kind, b.at_sample // WINDOW) for b in heard] == [
        ("began", 10),
        ("paused", 40),
        ("ended", 40),
    ]


def test_a_click_is_no_beginning() -> None:
    assert not follow(Endpointer(DETECTION, PAUSE_MS), [0.0, 0.9, 0.9, 0.9] * 20 + [0.0] * 40)


def test_a_pause_inside_a_sentence_is_taken_back() -> None:
    heard = follow(
        Endpointer(DETECTION, PAUSE_MS), [0.9] * 20 + [0.0] * 8 + [0.9] * 20 + [0.0] * 40
    )
    assert [b.kind for b in heard] == ["began", "paused", "resumed", "paused", "ended"]


def test_a_click_in_a_pause_does_not_take_it_back() -> None:
    heard = follow(Endpointer(DETECTION, PAUSE_MS), [0.9] * 20 + [0.0] * 6 + [0.9] + [0.0] * 40)
    assert [b.kind for b in heard] == ["began", "paused", "ended"]


@pytest.mark.parametrize(
    ("hints", "waited_ms"),
    [
        ((), 480),
        (("finished",), 480),
        (("doubtful",), 880),
        (("doubtful", "finished"), 880),
        (("unfinished", "doubtful"), 1600),
    ],
)
def test_the_greatest_doubt_lengthens_the_pause(hints: tuple[Ending, ...], waited_ms: int) -> None:
    endpointer = Endpointer(DETECTION, PAUSE_MS)
    endpointer.doubtful_ms = 880
    follow(endpointer, [0.9] * 20)
    silence = 0
    while endpointer.state != "quiet":
        silence += 1
        boundary = endpointer.feed((20 + silence) * WINDOW, 0.0, MIN_SPEECH_MS)
        if boundary and boundary.kind == "paused":
            for hint in hints:
                endpointer.hint(hint, boundary.at_sample)
    assert silence == math.ceil(waited_ms * 16 / WINDOW)


def test_a_doubt_that_comes_late_says_nothing_of_the_next_pause() -> None:
    endpointer, at = Endpointer(DETECTION, PAUSE_MS), 0

    def step(probability: float, num_windows: int) -> list[Boundary | None]:
        nonlocal at
        at += num_windows
        span = range(at - num_windows + 1, at + 1)
        return [endpointer.feed(n * WINDOW, probability, MIN_SPEECH_MS) for n in span]

    step(0.9, 20)
    step(0.0, 6)
    first_pause = at * WINDOW
    step(0.9, 20)
    endpointer.hint("unfinished", first_pause)  # while the user speaks on
    step(0.0, 5)
    endpointer.hint("unfinished", first_pause)  # and in the next pause
    ends = step(0.0, windows(DETECTION.silence_duration_ms / 1000) - 5)
    assert [end.kind for end in ends if end] == ["ended"]
    endpointer.hint("unfinished", at * WINDOW)  # and after the end
    step(0.9, 20)
    ends = step(0.0, windows(DETECTION.silence_duration_ms / 1000))
    assert [end.kind for end in ends if end] == ["paused", "ended"]


def test_whoever_wants_silence_alone_to_decide_gets_it() -> None:
    detection = replace(DETECTION, silence_duration_ms=320, max_silence_ms=320)
    endpointer = Endpointer(detection, PAUSE_MS)
    endpointer.doubtful_ms = endpointer.unready_ms = 1000
    follow(endpointer, [0.9] * 20 + [0.0] * windows(PAUSE_MS / 1000))
    assert endpointer.state == "paused"
    endpointer.hint("unfinished", 20 * WINDOW)
    position = 20 + windows(PAUSE_MS / 1000)
    ends = [endpointer.feed((position + n) * WINDOW, 0.0, MIN_SPEECH_MS) for n in range(1, 9)]
    assert [end.kind for end in ends if end] == ["ended"]
    assert ends[10 - windows(PAUSE_MS / 1000) - 1] is not None


def test_speech_goes_on_a_little_below_the_threshold_that_began_it() -> None:
    assert follow(Endpointer(DETECTION, PAUSE_MS), [0.9] + [0.4] * 10)[0].kind == "began"
    assert not follow(Endpointer(DETECTION, PAUSE_MS), [0.4] * 10)


@given(st.lists(st.floats(0, 1), max_size=300), st.floats(0.1, 0.9))
def test_boundaries_alternate_and_never_go_back(
    probabilities: list[float], threshold: float
) -> None:
    endpointer = Endpointer(replace(DETECTION, threshold=threshold), PAUSE_MS)
    allowed = {
        None: {"began"},
        "began": {"paused"},
        "paused": {"resumed", "ended"},
        "resumed": {"paused"},
        "ended": {"began"},
    }
    before: Boundary | None = None
    for boundary in follow(endpointer, probabilities):
        assert boundary.kind in allowed[before.kind if before else None]
        if before and boundary.kind != "ended":
            assert boundary.at_sample >= before.at_sample
        before = boundary


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_the_threshold_can_change_while_it_runs(threshold: float) -> None:
    endpointer = Endpointer(DETECTION, PAUSE_MS)
    endpointer.detection = replace(DETECTION, threshold=threshold)
    assert bool(follow(endpointer, [0.5] * 20)) == (threshold < 0.5)


def test_sound_that_nobody_listened_to_is_no_speech() -> None:
    endpointer = Endpointer(DETECTION, PAUSE_MS)
    assert follow(endpointer, [0.9]) == []
    assert endpointer.feed(30 * 16000, 0.9, MIN_SPEECH_MS) is None


@pytest.mark.parametrize(("max_silence_ms", "waited_ms"), [(1600, 1000), (480, 480)])
def test_a_turn_waits_while_nothing_is_ready_but_not_longer_than_the_client_said(
    max_silence_ms: int, waited_ms: int
) -> None:
    detection = replace(DETECTION, silence_duration_ms=480, max_silence_ms=max_silence_ms)
    num_silent, heard = 0, []
    while not heard or heard[-1].kind != "ended":
        num_silent += 1
        endpointer = Endpointer(detection, PAUSE_MS)
        endpointer.unready_ms = 1000
        heard = follow(endpointer, [0.9] * 20 + [0.0] * num_silent)
    assert num_silent == pytest.approx(waited_ms / 32, abs=1)
