"""The rules for a sound over our speech, one by one."""

from dataclasses import replace

import pytest

from omni.config import load
from omni.dialog.lexicon import read
from omni.dialog.overlap import Evidence, Verdict, is_echo, judge

AUDIBLE = Evidence(
    read("", "en"),
    1000,
    is_over=False,
    is_quiet=False,
    is_over_us=True,
    is_going_on=False,
    is_own=False,
)
CONFIG = load("stub").turn.overlap


def verdict(text: str, **changes: bool | float) -> Verdict:
    evidence = replace(AUDIBLE, remark=read(text, "en"), **changes)  # type: ignore[arg-type]
    return judge(evidence, CONFIG)


@pytest.mark.parametrize("text", ["Stop.", "Wait!", "No.", "What's that?", "I meant the red one"])
@pytest.mark.parametrize("is_over", [True, False])
def test_what_always_interrupts(text: str, is_over: bool) -> None:
    assert verdict(text, is_over=is_over) == "interrupt"


@pytest.mark.parametrize("text", ["Mm-hm.", "Yeah, right.", "Haha", ""])
def test_what_never_interrupts(text: str) -> None:
    assert verdict(text) == "tolerate"
    assert verdict(text, is_over=True) == "dismiss"


def test_no_words_yet_means_nothing_yet() -> None:
    assert verdict("", heard_ms=300) == "undecided"
    assert verdict("", heard_ms=700) == "undecided"  # "wait a moment"
    assert verdict("Oh, why", heard_ms=300) == "undecided"  # "I see", as it turns out
    assert verdict("Why?", heard_ms=300, is_over=True) == "interrupt"
    assert verdict("", heard_ms=300, is_over=True) == "dismiss"


def test_one_word_is_waited_for_to_end() -> None:
    assert verdict("Louder") == "undecided"
    assert verdict("Louder", is_over=True) == "interrupt"


def test_a_murmur_that_was_taken_for_words_is_still_a_murmur() -> None:
    assert verdict("ma'am", heard_ms=400) == "undecided"
    assert verdict("ma'am", heard_ms=400, is_over=True) == "dismiss"
    assert verdict("You'll find.", heard_ms=450, is_over=True) == "dismiss"
    assert verdict("Stop.", heard_ms=400) == "interrupt"
    assert verdict("Tea.", heard_ms=400, is_over=True, is_over_us=False) == "interrupt"


def test_quiet_talk_is_not_for_us_unless_it_is_a_plea_to_stop() -> None:
    assert verdict("Did you feed the cat?", is_quiet=True) == "tolerate"
    assert verdict("Did you feed the cat?", is_quiet=True, is_over=True) == "dismiss"
    assert verdict("Stop, stop.", is_quiet=True) == "interrupt"
    assert verdict("No I think we have to go home", is_quiet=True) == "tolerate"


def test_assent_is_an_answer_when_we_have_finished() -> None:
    assert verdict("Yes.", is_over=True, is_over_us=False) == "interrupt"
    assert verdict("", is_over=True, is_over_us=False) == "dismiss"


def test_assent_may_be_the_first_word_of_a_sentence_taken_up_again() -> None:
    assert verdict("Good", is_going_on=True) == "undecided"  # "good books for my daughter"
    assert verdict("Good", is_going_on=True, is_over=True) == "dismiss"


def test_our_own_words_are_nobodys_wish() -> None:
    assert verdict("What is the capital of France?", is_own=True) == "tolerate"


def test_an_echo_is_what_we_said_in_that_order() -> None:
    said = "The capital of France is Paris, and it lies on the Seine."
    assert is_echo("capital of France is Paris", said)
    assert is_echo("of France his Paris and it", said)  # one word misheard
    assert not is_echo("Paris?", said)
    assert not is_echo("what is the capital of Spain", said)
    assert not is_echo("", said)
