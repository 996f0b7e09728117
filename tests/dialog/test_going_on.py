"""A user who pauses, is answered, and goes on: nothing he said is lost, and one reply ends it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.config import load
from omni.events import InputCommitted, PlayoutStarted, ResponseDone, TranscriptDone
from omni.types import Chunk, Prompt, Recognise
from tests.dialog.talk import FRAME, ScriptedHear, Talk

REPLY = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen."
WORD_FRAMES = 12  # 240 ms
SOUND = np.resize([1.0, -1.0], FRAME)  # nothing like our own voice
STEP = 0.0005
LEVELS = 0.08 + STEP * np.arange(60)  # each word has a loudness of its own, to be known by


class WordHear(ScriptedHear):
    """Hears the words that are in the sound, each if at least half of it is."""

    def answer(self, chunk: Chunk) -> list[Chunk]:
        if isinstance(chunk, Recognise):
            samples = np.abs(chunk.samples[::160])
            loud = samples[samples > LEVELS[0] / 2]  # two of each frame
            heard = np.flatnonzero(
                np.bincount(np.rint((loud - LEVELS[0]) / STEP).astype(int)) >= WORD_FRAMES
            )
            self.words = " ".join(f"w{index}" for index in heard)
        return super().answer(chunk)


def conversation(hear_ms: float, speak_ms: float, *overrides: str) -> Talk:
    talk = Talk(load("stub", [f"brain.stub.reply='{REPLY}'", *overrides]))
    talk.stages["hear"] = talk.ear = WordHear(0)
    talk.hear_ms, talk.speak_ms = hear_ms, speak_ms
    return talk


def say(talk: Talk, first: int, num_words: int) -> None:
    for index in range(first, first + num_words):
        for _ in range(WORD_FRAMES):
            talk.hear(np.asarray(LEVELS[index] * SOUND, np.float32))


def words(num_words: int) -> str:
    return " ".join(f"w{index}" for index in range(num_words))


def transcripts(talk: Talk) -> str:
    return " ".join(event.transcript for event in talk.of(TranscriptDone))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(15, 80)), min_size=1, max_size=6),
    st.sampled_from([0.0, 120.0, 300.0, 900.0]),
    st.sampled_from([0.0, 300.0, 800.0]),
)
def test_whoever_goes_on_after_a_pause_is_heard_whole(
    clauses: list[tuple[int, int]], hear_ms: float, speak_ms: float
) -> None:
    """Pauses of 0.3 to 1.6 s, into which a reply may fall."""
    talk, said = conversation(hear_ms, speak_ms), 0
    for num_words, pause_frames in clauses:
        say(talk, said, num_words)
        said += num_words
        talk.quiet(pause_frames * 0.02)
    talk.quiet(12.0)
    assert transcripts(talk) == words(said)
    *cut_off, last = talk.of(ResponseDone)
    assert last.status == "completed"
    assert {done.status for done in cut_off} <= {"cancelled"}
    assert len(cut_off) <= len(talk.of(InputCommitted)) - 1


def test_a_pause_before_anything_can_be_heard_of_the_reply_is_part_of_the_turn() -> None:
    talk = conversation(120, 700)
    say(talk, 0, 4)
    talk.quiet(0.7)
    say(talk, 4, 4)
    talk.quiet(12.0)
    assert [event.transcript for event in talk.of(TranscriptDone)] == [words(8)]
    assert len(talk.of(ResponseDone)) == 1


def test_a_turn_ends_without_its_reply_when_that_takes_too_long() -> None:
    talk = conversation(120, 3000)
    say(talk, 0, 4)
    talk.quiet(1.1)
    assert transcripts(talk) == words(4)


def test_the_model_sees_one_message_where_the_reply_was_hardly_heard() -> None:
    talk = conversation(120, 0)
    say(talk, 0, 4)
    talk.quiet(0.6)
    assert talk.of(PlayoutStarted)
    say(talk, 4, 4)
    talk.quiet(12.0)
    prompt = [c for c in talk.sent if isinstance(c, Prompt) and c.max_tokens][-1]
    assert [(m.role, m.text) for m in prompt.messages[1:]] == [("user", words(8))]
    assert [event.transcript for event in talk.of(TranscriptDone)] == [words(4), "w4 w5 w6 w7"]


@pytest.mark.parametrize("hear_ms", [0.0, 700.0, 2500.0])
def test_a_monologue_longer_than_a_turn_may_be_is_heard_whole(hear_ms: float) -> None:
    talk = conversation(hear_ms, 0, "turn.max_turn_s=5", "brain.hear.partial_every_ms=0")
    say(talk, 0, 50)
    talk.quiet(9.0)
    heard = transcripts(talk).split()
    assert list(dict.fromkeys(heard)) == words(50).split()
    assert len(heard) <= 50 + 2  # a word that was cut in two may be heard twice
    assert talk.of(ResponseDone)[-1].status == "completed"
