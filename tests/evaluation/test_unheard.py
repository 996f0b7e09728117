"""What counts as never heard, for histories and readings that are known."""

import pytest

from omni.evaluation.unheard import num_unheard

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
