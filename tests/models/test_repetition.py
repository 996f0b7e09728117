"""What a reply loses for going in circles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.models.repetition import ALLOWED_TOKENS, BASE, LAST_TOKENS, is_breaker, penalties

COLON = 99


def lost(tokens, multiplier=0.8):
    return penalties(tokens, multiplier, lambda token: token == COLON)


def test_a_longer_repetition_loses_more():
    assert lost([1, 2, 3, 4, 1, 2]) == {3: 0.8}
    assert lost([1, 2, 3, 4, 1, 2, 3]) == {4: pytest.approx(0.8 * BASE)}


def test_one_token_may_come_again():
    assert lost([1, 2, 3, 1]) == {}


def test_of_several_places_the_longest_match_counts():
    assert lost([1, 2, 3, 5, 2, 3, 1, 2, 3]) == {5: pytest.approx(0.8 * BASE), 1: 0.8}


def test_structure_is_not_repetition():
    assert lost([COLON, 1, 2, 3, COLON, 1]) == {}
    assert lost([7, COLON, 1, 2, 7, COLON, 1, 2, 7, COLON]) == {}
    assert [text for text in ('"', '":', "\n\n", " **", " word", "word.") if is_breaker(text)] == [
        '"', '":', "\n\n", " **"
    ]  # fmt: skip


@given(st.lists(st.integers(0, 4), max_size=100))
def test_what_is_lost_would_have_repeated_something(tokens):
    for token, penalty in lost(tokens).items():
        assert penalty >= 0.8
        recent = tokens[-LAST_TOKENS:]
        again = [*tokens[-ALLOWED_TOKENS:], token]
        assert any(recent[i : i + len(again)] == again for i in range(len(recent)))
