"""The ledger: nothing lost, nothing twice, never too far ahead, cut to the word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.media.playout import FRAME_SAMPLES, RATE_HZ, Playout
from omni.types import Speech, Word

WORD_SAMPLES = RATE_HZ // 10


def piece(words: list[str], *, is_last: bool = False, value: float = 0.5) -> Speech:
    """A piece in which each word lasts 100 ms."""
    samples = np.full(len(words) * WORD_SAMPLES, value, np.float32)
    times = tuple(Word(word, 100 * i, 100 * i + 100) for i, word in enumerate(words))
    text = "".join(f"{word} " for word in words)
    return Speech("s", 0, 0, "r", 0, samples, text, times, is_last)


def test_lead_is_kept() -> None:
    playout = Playout(lead_ms=200)
    playout.push(piece(["word"] * 20, is_last=True))
    for now_ms in range(0, 1000, 20):
        playout.release(1000 + now_ms)
        assert playout.released_samples == min(
            playout.generated_samples, (200 + now_ms) * RATE_HZ // 1000
        )
        assert playout.played_samples(1000 + now_ms) == now_ms * RATE_HZ // 1000


def test_a_stall_is_not_made_up_for_by_a_burst() -> None:
    playout = Playout(lead_ms=200)
    playout.push(piece(["one"] * 3))
    for now_ms in range(0, 2000, 20):
        playout.release(now_ms)
    assert playout.played_samples(2000) == playout.released_samples
    playout.push(piece(["two"] * 20, is_last=True))
    before = playout.released_samples
    playout.release(2000)
    ahead_ms = (playout.released_samples - before) * 1000 / RATE_HZ
    assert ahead_ms == pytest.approx(200, abs=21)


@pytest.mark.parametrize("stall_ms", [60, 140, 200])
def test_where_stalls_are_made_up_for_they_are_not_heard(stall_ms: int) -> None:
    playout = Playout(lead_ms=20, late_ms=200)
    playout.push(piece(["word"] * 20, is_last=True))
    num_frames = [len(playout.release(now_ms)) for now_ms in (0, 20, 40, 40 + stall_ms)]
    assert num_frames == [1, 1, 1, stall_ms // 20]
    assert playout.played_samples(40 + stall_ms) == (40 + stall_ms) * RATE_HZ // 1000


def test_what_was_not_there_in_time_is_not_made_up_for() -> None:
    playout = Playout(lead_ms=20, late_ms=200)
    playout.push(piece(["one"]))
    for now_ms in range(0, 220, 20):
        playout.release(now_ms)
    playout.push(piece(["two"] * 9, is_last=True))
    assert len(playout.release(220)) == 1
    playout.hold()
    assert len(playout.release(240)) == 1  # in which it fades
    playout.release(260)
    playout.restore()
    assert len(playout.release(400)) == 1


def test_the_end_is_known() -> None:
    playout = Playout(lead_ms=5000)
    playout.push(piece(["one"]))
    assert not playout.is_drained
    playout.push(Speech("s", 0, 0, "r", 1, np.zeros(7, np.float32), "!", (), True))
    frames = playout.release(0)
    assert [len(frame) for frame in frames] == [FRAME_SAMPLES] * 5 + [7]
    assert playout.is_drained
    assert not frames[0].flags.writeable


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.lists(st.integers(0, 90), max_size=40),
    st.integers(40, 400),
)
def test_nothing_is_lost_and_the_cut_is_at_the_last_whole_word(
    sizes: list[int], waits_ms: list[int], lead_ms: int
) -> None:
    words = [f"w{index}" for index in range(sum(sizes))]
    playout = Playout(lead_ms)
    numbers = iter(words)
    pieces = [[next(numbers) for _ in range(size)] for size in sizes]
    for index, part in enumerate(pieces):
        playout.push(piece(part, is_last=index == len(pieces) - 1))
    now_ms, out = 0.0, []
    for wait_ms in waits_ms:
        now_ms += wait_ms
        out += playout.release(now_ms)
        played = playout.played_samples(now_ms)
        assert playout.released_samples - played <= lead_ms * RATE_HZ / 1000 + FRAME_SAMPLES
        heard = playout.text_until(played).split()
        assert heard == words[: played // WORD_SAMPLES]
    while not playout.is_drained:
        now_ms += 20
        out += playout.release(now_ms)
    assert sum(len(frame) for frame in out) == playout.generated_samples
    assert playout.text_until(playout.generated_samples).split() == words


@given(st.lists(st.sampled_from(["duck", "hold", "restore", ""]), max_size=60))
def test_lowered_held_and_restored_nothing_is_lost_or_said_twice(acts: list[str]) -> None:
    ramp = np.linspace(0.1, 1, 40 * FRAME_SAMPLES, dtype=np.float32)
    playout = Playout(lead_ms=100)
    playout.push(Speech("s", 0, 0, "r", 0, ramp, "word", (), True))
    now_ms, out = 0.0, []
    for act in acts:
        match act:
            case "duck":
                playout.duck(0.25, 40)
            case "hold":
                playout.hold()
            case "restore":
                playout.restore()
        out += playout.release(now_ms)
        now_ms += 20
    playout.restore()
    while not playout.is_drained:
        out += playout.release(now_ms)
        now_ms += 20
    sound = np.concatenate(out)
    assert len(sound) == len(ramp)
    assert np.all(sound <= ramp + 1e-6)
    steps = np.abs(np.diff(sound / ramp))
    assert steps.max() <= 1.01 / (
        FRAME_SAMPLES - 1
    )  # every change of level takes a frame: no click


def test_a_held_reply_is_silent_within_a_frame() -> None:
    playout = Playout(lead_ms=20)
    playout.push(piece(["word"] * 20, is_last=True))
    playout.release(0)
    playout.hold()
    (frame,) = playout.release(20)
    assert frame[-1] == 0
    assert not playout.release(1000)
    assert playout.played_samples(1000) == playout.released_samples


@pytest.mark.parametrize(
    ("num_words", "next_ms", "begins_ms"), [(7, None, 200), (9, None, 0), (7, 60, 60)]
)
def test_a_short_first_piece_waits_for_what_it_lacks_or_for_the_next(
    num_words: int, next_ms: int | None, begins_ms: int
) -> None:
    playout = Playout(lead_ms=20, cushion_ms=900)
    playout.push(piece(["one"] * num_words), 1000.0)
    begun_ms = []
    for now_ms in range(0, 400, 20):
        if now_ms == next_ms:
            playout.push(piece(["two"] * 9), 1000.0 + now_ms)
        if playout.release(1000.0 + now_ms):
            begun_ms.append(now_ms)
    assert begun_ms[0] == begins_ms


def test_a_reply_that_is_all_there_waits_for_nothing() -> None:
    playout = Playout(lead_ms=20, cushion_ms=900)
    playout.push(piece(["yes"], is_last=True), 1000.0)
    assert playout.release(1000.0)
