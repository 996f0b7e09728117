"""Clauses joined are the input; they end where a speaker would draw breath."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.dialog.clauses import MIN_WORDS, STRETCH_WORDS, ClauseSplitter

WORDS = st.sampled_from(
    [
        "I",
        "can",
        "help,",
        "Dr.",
        "Smith",
        "3.14",
        "e.g.",
        "(yes)",
        "Sure.",
        "New",
        "York",
        "the",
        "```",
        "[a",
        "b](c)",
        "why?",
        "—",
        "5",
        "no.",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(st.tuples(WORDS, st.sampled_from([" ", "  ", "\n", " \n "]))).map(
        lambda pairs: "".join(word + gap for word, gap in pairs)
    ),
)


def split(text: str, sizes: list[int], first: int = 4, later: int = 14) -> list[str]:
    splitter, clauses, start = ClauseSplitter(first, later), [], 0
    for size in sizes:
        clauses += splitter.feed(text[start : start + size])
        start += size
    return clauses + splitter.feed(text[start:]) + splitter.finish()


@given(TEXTS, st.lists(st.integers(0, 9), max_size=30), st.integers(1, 6), st.integers(1, 20))
def test_the_clauses_joined_are_the_input_however_it_came(text, sizes, first, later):
    clauses = split(text, sizes, first, later)
    assert "".join(clauses) == text
    assert all(clauses)
    assert clauses == split(text, [1] * len(text), first, later)


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=60))
def test_without_punctuation_a_clause_has_at_most_its_words(words):
    first, *rest = split(" ".join(words), [], 4, 9) or [""]
    assert len(first.split()) <= 4
    assert all(len(clause.split()) <= 9 for clause in rest[:-1])
    assert all(len(clause.split()) <= 10 for clause in rest[-1:])  # no word is left alone


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Sure, I can help. What would you like?", ["Sure, I can help. ", "What would you like?"]),
        ("Of course, I can do that for you.", ["Of course, ", "I can do that ", "for you."]),
        ("The capital of France is Paris.", ["The capital of France ", "is Paris."]),
        ("Please ask Dr. Smith about it.", ["Please ask Dr. Smith ", "about it."]),
        ("It is about 3.14 or so, I think.", ["It is about 3.14 ", "or so, I think."]),
        ("We all love New York City a lot.", ["We all love New York City ", "a lot."]),
        ("He met J. R. Ewing there.", ["He met J. R. Ewing ", "there."]),
        ("Eat fruit, e.g. apples and some pears.", ["Eat fruit, ", "e.g. apples and some pears."]),
        ("You should go to the doctor today.", ["You should go to the doctor ", "today."]),
        ('He said "stop!" and then he left.', ['He said "stop!" ', "and then he left."]),
        ("One line\nand another one", ["One line\n", "and another one"]),
    ],
)
def test_the_first_clause_ends_early_and_never_inside_a_name_or_number(text, clauses):
    assert split(text, []) == clauses


def test_a_later_clause_does_not_stop_at_every_comma():
    text = "We can. Red, green, blue, and white, as well as some others that I like."
    assert split(text, []) == [
        "We can. ",
        "Red, green, blue, and white, ",
        "as well as some ",
        "others that I like.",
    ]


def test_a_block_of_code_stays_whole():
    text = "Try this:\n```\na = 1. And\nb = 2. Or\n```\nDone."
    assert "```\na = 1. And\nb = 2. Or\n```\n" in split(text, [])


def test_a_clause_is_given_out_once_the_next_word_has_begun():
    splitter = ClauseSplitter(4, 14)
    assert splitter.feed("Of course, ") == []
    assert splitter.feed("I") == ["Of course, "]
    assert splitter.finish() == ["I"]
    assert splitter.finish() == []


def test_names_hold_a_clause_open_only_so_long():
    names = "Anna " * 30
    assert len(split(names, [])[0].split()) == 4 + STRETCH_WORDS
    assert MIN_WORDS <= 4


def test_clauses_grow_so_that_each_can_be_made_while_the_one_before_is_heard():
    splitter = ClauseSplitter(3, 14)
    text = "".join(f"word{'abcdefghijklmnopqrstuvwxyz'[i % 26]}x " for i in range(60))
    lengths = [len(clause.split()) for clause in splitter.feed(text)]
    assert lengths == [3, 4, 5, 7, 10, 14, 14]


def test_the_second_clause_is_ready_in_time_even_where_it_must_run_on():
    splitter = ClauseSplitter(6, 14)
    clauses = splitter.feed(
        "One word after the other here and then ten more of the very same kind."
    )
    clauses += splitter.feed(" So")
    assert clauses[0] == "One word after the other here "
    assert len(clauses[1].split()) <= 8  # 1.4 times six
