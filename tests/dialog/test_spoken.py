"""What is said aloud has no digits, marks or emoji, and reads as a person would."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.dialog.spoken import KEPT, spoken, word_ends

PIECES = st.sampled_from(
    [
        "**bold**",
        "`code`",
        "# Title\n",
        "- item\n",
        "1. first\n",
        "|a|b|\n",
        "|--|--|\n",
        "```x\n1\n```",
        "[link](http://a.b/c1)",
        "$5.20",
        "€3",
        "50%",
        "3.14",
        "1,000",
        "21st",
        "7:30 pm",
        "2024-05-06",
        "May 5, 2024",
        "1990s",
        "10-20",
        "+1 555-123-4567",
        "20 °C",
        "5 km/h",
        "Dr. Lee",
        "etc.",
        "e.g.",
        "&",
        "a/b",
        "x@y.org",
        "www.a.com",
        "😀",
        "1️⃣",
        "👍🏽",
        "½",
        "٣",
        "①",
        "C#",
        "_",
        "*",
        "~",
        "the",
        "word,",
        "end.",
        "St.",
        "(",
        ")",
        '"',
        "-",
        "x^2",
        "3x4",
        "B12",
        "<b>",
        "<",
        "²",
        "1/2",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.tuples(PIECES, st.sampled_from([" ", "", "\n"]))).map(
        lambda pairs: "".join(piece + gap for piece, gap in pairs)
    ),
)
LANGUAGES = st.sampled_from(["en", "es", "fr", "it", "pt", "de"])


@given(TEXTS, LANGUAGES)
def test_nothing_is_left_that_cannot_be_said(text, language):
    said = spoken(text, language)
    for c in said:
        assert c == " " or c in KEPT or unicodedata.category(c)[0] in "LM", repr(c)
    assert said == " ".join(said.split())


@given(TEXTS, LANGUAGES)
def test_what_is_speakable_stays_as_it_is(text, language):
    said = spoken(text, language)
    assert spoken(said, language) == said


@given(TEXTS, LANGUAGES)
def test_every_written_word_knows_how_much_has_been_said_at_its_end(text, language):
    ends = word_ends(text, language)
    assert len(ends) == len(text.split())
    assert list(ends) == sorted(ends)
    if ends:
        assert ends[-1] == len(spoken(text, language).split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It costs $5.20.", "It costs five dollars and twenty cents."),
        ("$1 or £0.01 or ¥100", "one dollar or zero pounds and one penny or one hundred yen"),
        ("$3.5 million", "three point five million dollars"),
        ("1,234 people", "one thousand two hundred thirty-four people"),
        ("pi is 3.14", "pi is three point one four"),
        ("-5 degrees", "minus five degrees"),
        ("the 21st and the 2nd", "the twenty-first and the second"),
        ("at 7:30 pm or 12:00 or 9:05", "at seven thirty PM or twelve o'clock or nine oh five"),
        ("at 10 a.m. sharp", "at ten AM sharp"),
        ("on 2024-05-06", "on May sixth, twenty twenty-four"),
        ("March 5, 1905", "March fifth, nineteen oh five"),
        ("the 5th of Dec. 2008", "the December fifth two thousand eight"),
        ("in 1900 and the 1980s", "in nineteen hundred and the nineteen eighties"),
        ("10-20% of 16GB", "ten to twenty percent of sixteen gigabytes"),
        ("20 °C at 5 km/h", "twenty degrees Celsius at five kilometers per hour"),
        ("call 555-1234", "call five five five, one two three four"),
        ("room 007", "room zero zero seven"),
        ("1/2 cup, 3/4 full", "one half cup, three quarters full"),
        ("version 3.11.2 of B12", "version three point eleven point two of B twelve"),
        ("A & B + C = D", "A and B plus C equals D"),
        ("Dr. Smith, e.g., on Main St.", "Doctor Smith, for example, on Main Street"),
        ("see https://www.example.com/a?b=1.", "see example dot com."),
        ("mail bob.smith@example.org", "mail bob dot smith at example dot org"),
        ("**Bold**, *soft*, `x`, ~~no~~", "Bold, soft, x, no"),
        ("## Title\n- one\n- two", "Title. one. two"),
        ("[the page](http://x.y/z) ![cat](c.png)", "the page cat"),
        ("Look:\n```py\nprint(1)\n```\nDone", "Look: Done"),
        ("| a | b |\n|---|---|\n| c | 2 |", "a, b. c, two."),
        ("Nice 😀👍🏽 work 1️⃣!", "Nice work!"),
        ("NASA and the USB port", "NASA and the USB port"),
        ("It isn't well-known — really…", "It isn't well-known — really…"),
    ],
)
def test_english_reads_as_a_person_would(text, said):
    assert spoken(text, "en") == said


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("es", "21 y 5,20 €", "veintiuno y cinco coma dos cero euros"),
        ("fr", "80 & 50%", "quatre-vingts et cinquante pour cent"),
        ("it", "1.234", "milleduecentotrentaquattro"),
        ("pt", "22", "vinte e dois"),
    ],
)
def test_other_languages_read_their_own_numbers(language, text, said):
    assert spoken(text, language) == said


def test_a_number_is_one_written_word_and_several_spoken():
    assert word_ends("It costs $5.20 today", "en") == (1, 2, 7, 8)
    assert word_ends("**Yes** 😀 really", "en") == (1, 1, 2)
