"""The voice around a fake one: clauses, words and their times, and what the writer is told."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.dialog.clauses import ClauseSplitter
from omni.stages.speak import SLOW_START, URGENT_CLAUSES, SpeakStage
from omni.types import (
    Chunk,
    Fence,
    Rest,
    Samples,
    Say,
    Speech,
    SpeechOptions,
    Token,
)

VOICE = SpeechOptions("af_heart")


def drain(stage: SpeakStage, *chunks: Chunk) -> list[Chunk]:
    out = stage.step(chunks)
    while stage.has_work():
        out += stage.step([])
    return out


class FakeWord(NamedTuple):
    text: str
    start_ms: int
    end_ms: int


class FakeUtterance(NamedTuple):
    samples: Samples
    words: tuple[FakeWord, ...]


class FakeVoice:
    """100 ms a word."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.speeds: list[float] = []

    def synthesise(self, text: str, voice: str, speed: float) -> FakeUtterance:
        self.said.append(text)
        self.speeds.append(speed)
        words = text.split()
        times = tuple(FakeWord(w, 100 * i, 100 * i + 100) for i, w in enumerate(words))
        return FakeUtterance(np.zeros(2400 * len(words), np.float32), times)


def speaking() -> tuple[SpeakStage, FakeVoice]:
    voice = FakeVoice()
    stage = SpeakStage(lambda: voice, lambda: ClauseSplitter(4, 14))
    stage.load()
    return stage, voice


def tokens(text: str, cuts: Sequence[int] = (), session_id: str = "s") -> list[Chunk]:
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    parts = [text[a:b] for a, b in pairwise(bounds)] or [""]
    return [
        Token(
            session_id,
            0,
            0,
            "r",
            i,
            part,
            VOICE,
            "stop" if i == len(parts) - 1 else None,
        )
        for i, part in enumerate(parts)
    ]


TEXTS = [
    "Sure, I can help. It is 3.14, or about 22/7; **nice**, isn't it?",
    "Hello!",
    "🙂",
    "",
    "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen.",
]


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 100), max_size=20))
def test_the_speech_of_a_reply_is_the_reply(text: str, cuts: list[int]) -> None:
    stage, _ = speaking()
    pieces = [chunk for chunk in drain(stage, *tokens(text, cuts)) if isinstance(chunk, Speech)]
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    for piece in pieces:
        length_ms = len(piece.samples) * 1000 // 24000
        if piece.words:
            assert [word.text for word in piece.words] == piece.text.split()
        starts = [word.start_ms for word in piece.words]
        assert starts == sorted(starts)
        assert all(0 <= word.start_ms <= word.end_ms <= length_ms for word in piece.words)


def test_the_first_clause_is_spoken_while_the_rest_is_written() -> None:
    stage, voice = speaking()
    parts = tokens("Sure, I can help you with that today.", range(100))
    for part in parts[:20]:
        drain(stage, part)
    assert voice.said
    assert len(voice.said[0].split()) <= 4


def test_a_reply_begins_slowly_while_more_of_it_is_to_come() -> None:
    stage, voice = speaking()
    drain(stage, *tokens("One, two. Three, four. Five, six. Seven, eight."))
    assert voice.speeds == [SLOW_START, SLOW_START, 1, 1]
    stage, voice = speaking()
    drain(stage, *tokens("Hello there."))
    assert voice.speeds == [1]


def test_the_session_that_has_heard_least_comes_first() -> None:
    stage, _ = speaking()
    long = "One, two. Three, four. Five, six. Seven, eight."
    first = stage.step(tokens(long)) + stage.step([])
    assert isinstance(first[1], Speech)
    out = stage.step(tokens("Hello there.", session_id="t")) + stage.step([])
    assert {chunk.session_id for chunk in out} == {"t"}
    assert any(isinstance(chunk, Speech) for chunk in out)


def test_the_writer_is_told_while_a_clause_is_waited_for() -> None:
    stage, _ = speaking()
    out = drain(stage, *tokens("One, two. Three, four. Five, six. Seven, eight."))
    told = [c.is_begun if isinstance(c, Rest) else "speech" for c in out]
    assert told == [*([True, "speech", False] * URGENT_CLAUSES), "speech"]


def test_a_fence_drops_what_was_not_spoken_yet() -> None:
    stage, _ = speaking()
    stage.step(tokens("One, two. Three, four. Five, six."))
    assert drain(stage, Fence("s", 1, 0)) == []


def test_what_is_owed_is_said_and_then_the_reply_goes_on() -> None:
    stage, voice = speaking()
    out = drain(stage, Say("s", 1, 0, "r", "So I said", VOICE, False))
    out += drain(stage, *tokens(" that."))
    assert "".join(c.text for c in out if isinstance(c, Speech)) == "So I said that."
    assert voice.said


@pytest.mark.parametrize(
    ("text", "ends_ms"),
    [("2 cats", [100, 200]), ("$5.20 please", [500, 600]), ("Dr. Who", [100, 200]), ("ok", [100])],
)
def test_written_words_get_the_times_of_spoken_ones(text: str, ends_ms: list[int]) -> None:
    stage, voice = speaking()
    (piece,) = [c for c in drain(stage, *tokens(text)) if isinstance(c, Speech)]
    assert [word.text for word in piece.words] == text.split()
    assert [word.end_ms for word in piece.words] == ends_ms, voice.said
