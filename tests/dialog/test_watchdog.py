"""No state lasts for ever: whatever stage falls silent, whenever, the conversation goes on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.config import load
from omni.events import (
    PlayoutStarted,
    ResponseAudio,
    ResponseDone,
    ResponseStarted,
    TranscriptDone,
    TranscriptFailed,
)
from omni.types import StageName
from tests.dialog.talk import Talk

REPLY = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen."
LIMITS = {
    "turn.max_turn_s": 6,
    "turn.overlap.warm_up_ms": 0,
    "deadlines.recognise_s": 3,
    "deadlines.first_token_s": 3,
    "deadlines.next_token_s": 3,
    "deadlines.first_speech_s": 3,
    "deadlines.next_speech_s": 3,
}
ALL_LIMITS_S = 6 + 5 * 3 + 5  # one after the other, and the apology
SILENT: list[StageName] = ["vad", "hear", "think", "speak"]


def conversation() -> Talk:
    limits = [f"{name}={value}" for name, value in LIMITS.items()]
    return Talk(load("stub", [f"brain.stub.reply='{REPLY}'", *limits]))


def answered() -> Talk:
    talk = conversation()
    talk.speak(1.0, "count for me please")
    talk.quiet(1.4)
    assert talk.of(PlayoutStarted)
    return talk


def loudness(talk: Talk) -> float:
    return float(np.sqrt(np.mean(talk.of(ResponseAudio)[-2].samples ** 2)))


def has_recovered(talk: Talk) -> bool:
    """A question is answered as if nothing had happened."""
    num_done = len(talk.of(ResponseDone))
    talk.speak(1.0, "and now once more please")
    talk.quiet(8.0)
    done = talk.of(ResponseDone)[num_done:]
    is_answered = [one.status for one in done] == ["completed"]
    return is_answered and talk.of(TranscriptDone)[-1].transcript == "and now once more please"


def test_a_turn_whose_words_never_come_is_given_up() -> None:
    talk = conversation()
    talk.held.add("hear")
    talk.speak(1.0, "lost")
    talk.quiet(0.3 + 3 + 1)
    assert talk.of(TranscriptFailed)
    talk.held.clear()
    assert has_recovered(talk)


def test_a_turn_whose_end_is_never_noticed_is_closed() -> None:
    talk = conversation()
    talk.speak(1.0, "what is that")
    talk.held.add("vad")
    talk.quiet(6.0)
    assert [event.transcript for event in talk.of(TranscriptDone)] == ["what is that"]


@pytest.mark.parametrize("seconds", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("stages", [{"hear"}, {"vad"}, {"hear", "vad"}])
def test_our_voice_is_not_low_or_held_for_ever(stages: set[StageName], seconds: float) -> None:
    talk = answered()
    loud = loudness(talk)
    talk.speak(0.06)  # it is lowered
    talk.held |= stages
    talk.speak(seconds, "hm")
    talk.quiet(10.0)
    if talk.of(ResponseDone)[0].status == "completed":
        assert loudness(talk) == pytest.approx(loud, rel=0.05)
    talk.held.clear()
    talk.quiet(6.0)
    assert has_recovered(talk)


@pytest.mark.parametrize("stage", ["think", "speak"])
def test_a_reply_that_never_comes_ends_in_words_or_at_once(stage: StageName) -> None:
    talk = conversation()
    talk.held.add(stage)
    talk.speak(1.0, "what is that")
    talk.quiet(8.0)
    assert [done.status for done in talk.of(ResponseDone)] == ["failed"]
    talk.held.clear()
    assert has_recovered(talk)


def test_a_voice_that_falls_silent_in_the_middle_ends_the_reply() -> None:
    talk = conversation()
    talk.speak_ms = 100
    talk.speak(1.0, "what is that")
    while not talk.of(PlayoutStarted):
        talk.quiet(0.02)
    talk.held |= {"speak", "think"}
    talk.quiet(16.0)
    assert len(talk.of(ResponseDone)) == 1
    talk.held.clear()
    assert has_recovered(talk)


@settings(max_examples=12, deadline=None)
@given(
    st.sets(st.sampled_from(SILENT), min_size=1, max_size=3),
    st.integers(0, 200),
    st.sampled_from([0.0, 120.0, 400.0]),
)
def test_it_goes_on_after_any_silence_of_any_stage(
    stages: set[StageName], at_frame: int, hear_ms: float
) -> None:
    """A question, its answer, and an interruption, in which the stages fall silent somewhere."""
    talk, frame = conversation(), 0
    talk.hear_ms = hear_ms
    script = [(1.0, "what is that"), (1.2, None), (0.5, "mm-hm"), (0.6, None), (0.7, "stop that")]
    for seconds, said in script:
        for _ in range(round(seconds * 50)):
            if frame == at_frame:
                talk.held |= stages
            frame += 1
            talk.speak(0.02, said) if said else talk.quiet(0.02)
    talk.quiet(ALL_LIMITS_S)
    assert len(talk.of(ResponseDone)) == len(talk.of(ResponseStarted))
    talk.held.clear()
    talk.quiet(1.0)
    assert has_recovered(talk)
