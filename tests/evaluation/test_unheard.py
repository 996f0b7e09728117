"""What counts as never heard, for histories and readings that are known."""

import numpy as np
import pytest

from omni.evaluation.recording import RATE_HZ
from omni.evaluation.unheard import num_unheard, num_unplayed
from omni.types import Samples

TWICE = "Rain is wet. It falls from the clouds. Rain is wet. It falls from the clouds."


@pytest.mark.parametrize(
    ("history", "heard", "expected"),
    [
        ("The capital of France", "The capital of France.", 0),
        ("The capital of France", "the capital", 2),
        ("The capital of France", "The capital of Frans", 0),  # misheard
        ("The capital", "The capital of France", 0),
        ("", "", 0),
        ("One two", "", 2),
    ],
)
def test_words_at_the_end_of_the_history_that_were_not_played(
    history: str, heard: str, expected: int
) -> None:
    assert num_unheard(history, heard) == expected


def test_what_was_said_twice_was_heard_twice() -> None:
    assert num_unheard(TWICE, TWICE) == 0


def test_what_was_to_be_said_twice_and_was_once_is_unheard() -> None:
    once = "Rain is wet. It falls from the clouds."
    assert num_unheard(TWICE + " Take a coat.", once) >= len(once.split())


def test_a_recognisers_loop_does_not_stand_for_words_that_were_not_played() -> None:
    history = "Rain is wet. It falls from the clouds and into the sea."
    assert num_unheard(history, "Rain is wet. It falls it falls it falls it falls it falls.") == 7


def spoken(*lengths_s: float) -> Samples:
    """A sound for each word, with breaks between them."""
    pieces = [np.full(int(length_s * RATE_HZ), 0.1, np.float32) for length_s in lengths_s]
    return np.concatenate([np.pad(piece, (0, RATE_HZ // 5)) for piece in pieces])


def read(sound: Samples) -> str:
    """As a recogniser does that leaves out short last words, and the last of long sounds."""
    breaks = np.flatnonzero(np.diff(np.pad((sound > 0).astype(int), 1)))
    lengths = (breaks[1::2] - breaks[::2]).tolist()
    if lengths and (lengths[-1] < 0.1 * RATE_HZ or len(sound) > 6 * RATE_HZ):
        lengths.pop()
    return " ".join(WORDS[: len(lengths)])


WORDS = ["one", "two", "three", "four"]
ALL = " ".join(WORDS)


def test_what_was_played_is_played() -> None:
    assert num_unplayed(ALL, spoken(0.4, 0.4, 0.4, 0.4), read) == 0
    assert num_unplayed(ALL, spoken(0.4, 0.4, 0.4), read) == 1
    assert num_unplayed(ALL, np.zeros(RATE_HZ, np.float32), read) == 4


def test_a_last_word_that_is_lost_in_much_sound_is_looked_for_again() -> None:
    sound = spoken(1.4, 1.4, 1.4, 1.4)
    assert num_unheard(ALL, read(sound)) == 1
    assert (
        num_unplayed(ALL, sound, lambda part: ALL if len(part) < 3 * RATE_HZ else read(part)) == 0
    )


def test_a_short_last_word_by_itself_is_not_read_and_was_played() -> None:
    sound = spoken(0.4, 0.4, 0.4, 0.08)
    assert num_unheard(ALL, read(sound)) == 1
    assert num_unplayed(ALL, sound, read) == 0
    assert num_unplayed(ALL, spoken(0.4, 0.4, 0.4, 0.02), read) == 1  # that is no word
    assert num_unplayed(ALL, spoken(0.4, 0.4, 0.08), read) == 2
