"""The user makes sounds over our speech: scripted conversations on virtual time."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni.config import OmniConfig, load
from omni.dialog.messages import BARELY_WORDS
from omni.events import (
    Failed,
    PlayoutCleared,
    PlayoutStarted,
    PlayoutStopped,
    ResponseAudio,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    TranscriptDone,
)
from omni.media.echo import EchoGuard
from omni.media.echo_canceller import EchoCanceller
from omni.types import Prompt, Recognise, Rest, Samples
from tests.dialog.talk import Talk

REPLY = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen."
CHAR_SAMPLES = 24 * 60
RATE_HZ = 24000


def config(*overrides: str) -> OmniConfig:
    quick = "turn.overlap.warm_up_ms=0"
    return load("stub", [f"brain.stub.reply='{REPLY}'", quick, *overrides])


def answered(*overrides: str, hear_ms: float = 0.0) -> Talk:
    """A user who has asked something and hears the beginning of a reply of 4.9 s."""
    talk = Talk(config(*overrides))
    talk.hear_ms = hear_ms
    talk.speak(1.0, "count for me please")
    talk.quiet(1.6)
    assert talk.of(PlayoutStarted)
    return talk


def levels(talk: Talk, since_ms: float) -> list[tuple[float, float]]:
    """(time, loudness) of each frame of sound released since then."""
    return [
        (at_ms, float(np.sqrt(np.mean(event.samples**2))))
        for event, at_ms in zip(talk.events, talk.times_ms, strict=True)
        if isinstance(event, ResponseAudio) and at_ms >= since_ms
    ]


def played_samples(talk: Talk) -> int:
    """What a player that plays what comes as it comes has played when first told to stop."""
    end_ms, played = 0.0, 0
    for event, at_ms in zip(talk.events, talk.times_ms, strict=True):
        if isinstance(event, ResponseAudio):
            end_ms = max(end_ms, at_ms) + len(event.samples) * 1000 / RATE_HZ
            played += len(event.samples)
        elif isinstance(event, PlayoutCleared):
            return played - int(max(0.0, end_ms - at_ms) * RATE_HZ / 1000)
    return played


def silences(talk: Talk) -> list[float]:
    """How long such a player had nothing to play, in ms, each time before it went on."""
    end_ms, out = None, []
    for event, at_ms in zip(talk.events, talk.times_ms, strict=True):
        if isinstance(event, ResponseAudio):
            if end_ms is not None and at_ms > end_ms + 1:
                out.append(at_ms - end_ms)
            end_ms = max(end_ms or 0.0, at_ms) + len(event.samples) * 1000 / RATE_HZ
    return out


def words_within(num_samples: int) -> str:
    """The words of the reply that sound wholly within its first samples: 60 ms a character."""
    ends = [i for i in range(len(REPLY) + 1) if i == len(REPLY) or REPLY[i] == " "]
    return REPLY[: max((end for end in ends if end * CHAR_SAMPLES <= num_samples), default=0)]


@pytest.mark.parametrize("words", ["Mm-hm.", "Yeah, right.", "", "Ha ha ha"])
@pytest.mark.parametrize("hear_ms", [0.0, 180.0])
def test_what_is_no_wish_to_speak_does_not_stop_the_reply(words: str, hear_ms: float) -> None:
    talk = answered(hear_ms=hear_ms)
    talk.speak(0.5, words)
    talk.quiet(6.0)
    (done,) = talk.of(ResponseDone)
    assert (done.status, done.item.text) == ("completed", REPLY)
    assert len(talk.of(TranscriptDone)) == len(talk.of(SpeechStarted)) == 1  # the question alone
    assert sum(len(e.samples) for e in talk.of(ResponseAudio)) == len(REPLY) * CHAR_SAMPLES
    assert not talk.of(PlayoutCleared)


@pytest.mark.parametrize("words", ["Stop", "Wait", "What about ten?", "I said something else"])
def test_what_is_a_wish_to_speak_stops_it_and_becomes_a_turn(words: str) -> None:
    talk = answered(hear_ms=180)
    talk.speak(0.8, words)
    talk.quiet(2.0)
    done = talk.of(ResponseDone)[0]
    assert (done.status, done.reason) == ("cancelled", "turn_detected")
    assert done.item.text == words_within(played_samples(talk))
    assert [event.transcript for event in talk.of(TranscriptDone)][1] == words
    assert len(talk.of(ResponseStarted)) == 2


def test_our_voice_is_lowered_at_once_then_held_and_then_goes_on() -> None:
    talk = answered(hear_ms=300)
    talk.quiet(1.5)
    began_ms = talk.clock.now_ms()
    loud = levels(talk, 0)[-1][1]
    talk.speak(0.45, "mhm")
    talk.quiet(3.0)
    after = levels(talk, began_ms)
    lowered_ms = next(at for at, level in after if level < 0.5 * loud) - began_ms
    assert lowered_ms <= 32 + 32 + 160  # the lead that was out already, and no more
    (silence_ms,) = silences(talk)
    assert silence_ms <= 450
    assert after[-2][1] == pytest.approx(loud, rel=0.1)


def test_after_more_than_a_murmur_we_wait_for_the_words() -> None:
    talk = answered(hear_ms=900)
    talk.quiet(1.5)
    began_ms = talk.clock.now_ms()
    talk.speak(0.9, "hold on a second")
    talk.quiet(1.5)
    kinds = [type(event) for event in talk.events]
    cut_ms = talk.times_ms[kinds.index(PlayoutCleared)] - began_ms
    heard_ms = [at_ms - began_ms for at_ms, _ in levels(talk, began_ms)]
    assert cut_ms > 1000  # the words came late,
    assert not [at_ms for at_ms in heard_ms if 500 < at_ms < cut_ms]  # and nothing was said before


def test_the_writer_rests_while_it_is_found_out_what_a_sound_is() -> None:
    talk = answered(hear_ms=300)
    before = len(talk.sent)
    talk.speak(0.45, "mhm")
    talk.quiet(3.0)
    told = [chunk for chunk in talk.sent[before:] if isinstance(chunk, Recognise | Rest)]
    assert isinstance(told[0], Rest)
    assert any(isinstance(chunk, Recognise) for chunk in told)
    assert [chunk.is_begun for chunk in told if isinstance(chunk, Rest)] == [True, False]


def test_little_is_released_while_it_is_not_known_what_the_sound_is() -> None:
    talk = answered()
    talk.held.add("hear")
    began_ms = talk.clock.now_ms()
    talk.speak(1.0)
    limits = config().turn.overlap
    last_ms = levels(talk, began_ms)[-1][0] - began_ms
    assert last_ms <= limits.hold_after_ms + 64


def test_whoever_goes_on_as_we_begin_is_not_spoken_over_until_his_words_are_known() -> None:
    talk = answered(hear_ms=400)
    began_ms = talk.clock.now_ms()
    talk.speak(0.3, "")
    talk.quiet(0.1)  # he may pause again
    last_ms = levels(talk, began_ms)[-1][0] - began_ms
    assert last_ms < config().turn.overlap.hold_after_ms
    talk.quiet(6.0)
    assert talk.of(ResponseDone)[0].status == "completed"


def test_the_loud_one_goes_on_when_it_cannot_be_found_out() -> None:
    talk = answered()
    talk.held.add("hear")
    talk.speak(4.0)
    assert talk.of(ResponseDone)[0].reason == "turn_detected"
    talk = answered()
    talk.held.add("hear")
    talk.speak(0.5)
    talk.quiet(9.0)
    assert talk.of(ResponseDone)[0].status == "completed"


def test_talk_far_below_the_users_usual_level_is_not_for_us() -> None:
    talk = answered()
    talk.speak(1.5, "did you feed the cat", level=0.02)
    talk.quiet(6.0)
    assert talk.of(ResponseDone)[0].status == "completed"
    assert len(talk.of(TranscriptDone)) == 1


def test_a_sound_whose_words_never_came_is_no_part_of_the_next_turn() -> None:
    talk = answered()
    talk.held.add("hear")
    talk.speak(0.9, level=0.02)
    talk.quiet(2.0)
    talk.held.clear()
    talk.speak(0.9, "stop that please")
    talk.quiet(1.0)
    assert not talk.of(Failed)
    assert talk.of(TranscriptDone)[1].duration_s < 1.5


def test_who_speaks_from_further_away_is_understood_in_the_end() -> None:
    talk = answered()
    talk.quiet(6.0)
    heard = []
    for _ in range(4):
        talk.speak(1.0, "did you feed the cat", level=0.02)
        talk.quiet(6.0)
        heard.append(len(talk.of(TranscriptDone)) - 1)
    assert heard[0] == 0
    assert heard[-1] > 0


def test_assent_that_turns_into_more_interrupts() -> None:
    talk = answered()
    talk.speak(0.4, "yeah")
    talk.speak(0.6, "yeah but what about the rest")
    assert talk.of(ResponseDone)[0].reason == "turn_detected"


def hear_ourselves(talk: Talk, delay_ms: int, level_db: float) -> None:
    """Play the whole reply into a microphone that hears it that much later and fainter."""
    gain = 10 ** (level_db / 20)
    line = [np.zeros(320, np.float32)] * (delay_ms // 20)
    num_known = len(talk.of(ResponseAudio))
    for _ in range(400):
        released = talk.of(ResponseAudio)[num_known:]
        num_known += len(released)
        for event in released:
            at = np.arange(0, len(event.samples), 1.5)
            heard = np.interp(at, np.arange(len(event.samples)), event.samples)
            line.append(np.asarray(gain * heard, np.float32))
        talk.hear(line.pop(0) if line else np.zeros(320, np.float32))


@pytest.mark.parametrize("delay_ms", [0, 60, 300])
@pytest.mark.parametrize("level_db", [-10, 0])
def test_our_own_voice_in_the_microphone_does_not_stop_us(delay_ms: int, level_db: int) -> None:
    talk = Talk(config())
    talk.speak(1.0)
    hear_ourselves(talk, delay_ms, level_db)  # from its very beginning
    assert [done.status for done in talk.of(ResponseDone)] == ["completed"]
    assert not silences(talk)


@pytest.mark.parametrize("delay_ms", [60, 300])
def test_without_the_echo_guard_it_would(delay_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EchoGuard, "likeness", lambda *_: 0.0)
    talk = answered()
    talk.quiet(0.5)
    talk.ear.words = None
    hear_ourselves(talk, delay_ms, 0)
    assert silences(talk) or talk.of(ResponseDone)[0].status == "cancelled"


@pytest.mark.parametrize("delay_ms", [60, 300])
def test_what_the_canceller_leaves_is_what_is_heard(
    delay_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Samples] = []
    monkeypatch.setattr(EchoGuard, "likeness", lambda *_: 0.0)
    monkeypatch.setattr(EchoCanceller, "play", lambda _, samples, __: played.append(samples))
    monkeypatch.setattr(EchoCanceller, "clean", lambda _, heard, __: heard * (not played))
    talk = answered("audio.cancel_echo=true")
    talk.ear.words = None
    hear_ourselves(talk, delay_ms, 0)
    assert [done.status for done in talk.of(ResponseDone)] == ["completed"]
    assert not silences(talk)
    released = [event.samples for event in talk.of(ResponseAudio)]
    np.testing.assert_array_equal(np.concatenate(played), np.concatenate(released))


def test_a_voice_alone_does_not_hold_us_while_echo_cancellers_adapt() -> None:
    talk = answered("turn.overlap.warm_up_ms=3000")
    talk.held.add("hear")
    talk.speak(1.0)
    assert not silences(talk)


def test_our_own_words_coming_back_make_no_turn() -> None:
    talk = answered()
    talk.speak(0.8, "two three four")
    while not talk.of(PlayoutStopped):
        talk.quiet(0.02)
    assert [event.status for event in talk.of(ResponseDone)] == ["completed"]
    talk.speak(0.6, "twelve thirteen fourteen")  # the room's echo, a moment after the end
    talk.quiet(1.0)
    assert len(talk.of(TranscriptDone)) == 1


def test_a_marker_tells_the_model_that_it_was_cut_off() -> None:
    talk = answered("turn.overlap.marker=' [cut off]'")
    talk.speak(0.8, "stop that please")
    talk.quiet(1.0)
    prompt = [c for c in talk.sent if isinstance(c, Prompt) and c.max_tokens][-1]
    done = talk.of(ResponseDone)[0]
    assert prompt.messages[-2].text == f"{done.item.text} [cut off]"


def test_a_turn_whose_words_come_late_is_kept_open_until_they_do() -> None:
    talk = Talk(config())
    talk.hear_ms = 700
    talk.speak(1.0, "tell me about the")
    talk.quiet(1.2)
    assert not talk.of(TranscriptDone)
    talk.speak(0.5, "tell me about the moon")
    talk.quiet(1.4)
    assert [event.transcript for event in talk.of(TranscriptDone)] == ["tell me about the moon"]


def test_words_that_ask_for_more_keep_the_turn_open() -> None:
    talk = Talk(config())
    talk.speak(1.0, "tell me about the")
    talk.quiet(1.4)
    assert not talk.of(TranscriptDone)
    talk.speak(0.5, "tell me about the moon")
    talk.quiet(0.7)
    assert [event.transcript for event in talk.of(TranscriptDone)] == ["tell me about the moon"]


Act = Callable[[Talk], None]
ACTS: dict[str, Act] = {
    "wait": lambda talk: talk.quiet(0.14),
    "assent": lambda talk: talk.speak(0.42, "mm-hm"),
    "noise": lambda talk: talk.speak(0.3, ""),
    "cough": lambda talk: talk.speak(0.08, ""),
    "pause": lambda talk: talk.quiet(0.36),
}


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(ACTS)), max_size=6),
    st.integers(0, 40),
    st.sampled_from([0.0, 120.0, 300.0]),
)
@example(["assent", "assent", "assent", "assent", "pause"], 5, 300.0)
def test_the_history_is_what_was_played_to_the_word(
    acts: list[str], wait_frames: int, hear_ms: float
) -> None:
    """Whatever false interruptions came before, and wherever the cut falls."""
    talk = Talk(config())
    talk.hear_ms = hear_ms
    talk.speak(1.0, "count for me please")
    talk.quiet(0.9)
    for act in acts:
        ACTS[act](talk)
        talk.quiet(0.3)
    talk.quiet(wait_frames * 0.02)
    talk.speak(0.9, "stop now please")
    done = talk.of(ResponseDone)[0]
    if done.status == "completed":  # it had all been said
        assert done.item.text == REPLY
        return
    assert done.item.text == words_within(played_samples(talk))
    assert REPLY.startswith(done.item.text)
    talk.quiet(1.4)
    prompt = [c for c in talk.sent if isinstance(c, Prompt) and c.max_tokens][-1]
    spoken = [message.text for message in prompt.messages if message.role == "assistant"]
    replies = [done.item.text for done in talk.of(ResponseDone)]  # assent may have begun a second
    assert spoken == [text for text in replies if len(text.split()) > BARELY_WORDS]
