"""Scripted conversations on virtual time, with the stub brain."""

from dataclasses import replace

import pytest

from omni.config import OmniConfig, load
from omni.dialog.answering import ResponseRequest
from omni.errors import ProtocolError
from omni.events import (
    InputCommitted,
    Item,
    ItemDone,
    Part,
    PlayoutCleared,
    PlayoutStarted,
    PlayoutStopped,
    ResponseAudio,
    ResponseDone,
    ResponseStarted,
    ResponseText,
    SpeechStarted,
    SpeechStopped,
    TranscriptDone,
    TranscriptFailed,
)
from omni.types import Prompt, Recognise, StageReport
from tests.dialog.talk import Talk


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def test_a_turn_is_answered_in_the_order_of_the_protocol(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(1.0)
    talk.quiet(3.0)
    order = [
        "SpeechStarted",
        "SpeechStopped",
        "InputCommitted",
        "ItemAdded",
        "TranscriptDelta",
        "TranscriptDone",
        "ItemDone",
        "ResponseStarted",
        "ItemAdded",
        "PlayoutStarted",
        "ResponseAudio",
        "ResponseText",
    ]
    assert talk.kinds()[: len(order)] == order
    assert talk.kinds()[-3:] == ["ItemDone", "ResponseDone", "PlayoutStopped"]
    assert talk.of(TranscriptDone)[0].transcript == "10 tenths"
    done = talk.of(ResponseDone)[0]
    assert (done.status, done.item.text) == ("completed", "You said 10 tenths.")
    assert "".join(event.delta for event in talk.of(ResponseText)) == done.item.text


def test_the_answer_is_ready_when_the_turn_is_surely_over(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(1.0)
    talk.quiet(3.0)
    stopped = talk.times_ms[[type(e) for e in talk.events].index(SpeechStopped)]
    started = talk.times_ms[[type(e) for e in talk.events].index(PlayoutStarted)]
    assert started == stopped  # thinking went on during the silence
    assert stopped - 1000 <= config.turn.silence_duration_ms + 40


@pytest.mark.parametrize("lead_ms", [20, 160])
def test_sound_is_released_at_the_pace_it_is_heard(lead_ms: int) -> None:
    config = load("stub", [f"audio.lead_ms={lead_ms}"])
    talk = Talk(config)
    talk.speak(1.0)
    talk.quiet(3.0)
    released_ms = 0.0
    start = None
    for event, now_ms in zip(talk.events, talk.times_ms, strict=True):
        if isinstance(event, ResponseAudio):
            start = now_ms if start is None else start
            released_ms += len(event.samples) / 24
            assert released_ms <= now_ms - start + config.audio.lead_ms + 20
    assert released_ms == len("You said 10 tenths.") * 60


def test_a_short_pause_does_not_end_the_turn(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(0.6)
    talk.quiet(0.3)  # a likely end: an answer is prepared, and thrown away for free
    talk.speak(0.6)
    talk.quiet(3.0)
    assert len(talk.of(InputCommitted)) == len(talk.of(ResponseStarted)) == 1
    assert talk.of(TranscriptDone)[0].transcript == "12 tenths"
    assert not talk.of(PlayoutCleared)
    assert [p.epoch for p in talk.sent if isinstance(p, Prompt) and p.max_tokens] == [0, 1]


def test_a_noise_makes_no_turn(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.stages["hear"].answer = lambda chunk: [  # type: ignore[attr-defined]
        replace(heard, text="") for heard in type(talk.stages["hear"]).answer(
            talk.stages["hear"], chunk)  # type: ignore[attr-defined]
    ]  # fmt: skip
    talk.speak(0.5)
    talk.quiet(2.0)
    assert talk.kinds() == ["SpeechStarted", "SpeechStopped", "InputCleared"]


def test_talking_over_it_stops_it_and_cuts_the_history_to_what_was_heard() -> None:
    talk = Talk(load("stub", ["turn.overlap.warm_up_ms=0"]))
    talk.speak(1.0)
    talk.quiet(1.1)  # the reply takes 1.14 s from about 0.5 s on
    talk.speak(1.0)
    done = talk.of(ResponseDone)[0]
    assert (done.status, done.reason) == ("cancelled", "turn_detected")
    assert done.item.status == "incomplete"
    assert "You said 10 tenths.".startswith(done.item.text)
    assert 0 < len(done.item.text) < len("You said 10 tenths.")
    assert len(talk.of(PlayoutCleared)) == 1
    after = talk.events[talk.events.index(talk.of(PlayoutCleared)[0]) :]
    assert not [event for event in after if isinstance(event, ResponseAudio)]
    talk.quiet(0.7)
    prompt = [c for c in talk.sent if isinstance(c, Prompt) and c.max_tokens][-1]
    assert prompt.messages[-2].text == done.item.text  # the model is told only what was heard
    assert prompt.messages[-1].text == talk.of(TranscriptDone)[1].transcript


def test_push_to_talk(config: OmniConfig) -> None:
    talk = Talk(config, lambda options: replace(options, turn_detection=None))
    with pytest.raises(ProtocolError) as error:
        talk.do(lambda session: session.commit())
    assert error.value.code == "input_audio_buffer_commit_empty"
    talk.speak(0.7)
    talk.quiet(1.0)
    assert talk.kinds() == []
    talk.do(lambda session: session.commit())
    told = ["InputCommitted", "ItemAdded", "TranscriptDelta", "TranscriptDone", "ItemDone"]
    assert talk.kinds() == told
    talk.do(lambda session: session.respond(ResponseRequest()))
    talk.quiet(2.0)
    assert talk.of(ResponseDone)[0].item.text == "You said 7 tenths."


def test_written_words_are_answered_in_writing_when_asked_to(config: OmniConfig) -> None:
    talk = Talk(config, lambda options: replace(options, modality="text"))
    item = Item("", "message", "user", parts=(Part("input_text", "hello"),))
    talk.do(lambda session: session.add_item(item))
    talk.do(lambda session: session.respond(ResponseRequest()))
    assert [event.delta for event in talk.of(ResponseText)] == ["You", " said", " hello."]
    assert talk.of(ResponseDone)[0].status == "completed"
    assert not talk.of(ResponseAudio)
    talk.do(lambda session: session.respond(ResponseRequest(max_output_tokens=2)))
    assert talk.of(ResponseDone)[1].status == "incomplete"


def test_one_reply_at_a_time(config: OmniConfig) -> None:
    talk = Talk(config)
    item = Item("", "message", "user", parts=(Part("input_text", "hello"),))
    talk.do(lambda session: session.add_item(item))
    talk.do(lambda session: session.respond(ResponseRequest()))
    with pytest.raises(ProtocolError) as error:
        talk.do(lambda session: session.respond(ResponseRequest()))
    assert error.value.code == "conversation_already_has_active_response"
    talk.do(lambda session: session.cancel())
    assert talk.of(ResponseDone)[0].reason == "client_cancelled"
    with pytest.raises(ProtocolError) as error:
        talk.do(lambda session: session.cancel())
    assert error.value.code == "response_cancel_not_active"
    assert str(error.value).startswith("Cancellation failed")


@pytest.mark.parametrize("stage", ["think", "speak"])
def test_no_reply_waits_for_ever(config: OmniConfig, stage: str) -> None:
    talk = Talk(config)
    talk.held.add(stage)  # type: ignore[arg-type]
    talk.speak(1.0)
    talk.quiet(60)
    done = talk.of(ResponseDone)[0]
    assert (done.status, done.error_code) == ("failed", "stage_timeout")
    if stage == "think":  # the voice works, so it is said aloud
        assert done.item.text == config.deadlines.apology
    talk.held.clear()
    talk.speak(1.0)
    talk.quiet(3.0)
    assert talk.of(ResponseDone)[-1].status == "completed"


def test_no_recognition_waits_for_ever(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.held.add("hear")
    talk.speak(1.0)
    talk.quiet(30)
    assert talk.of(TranscriptFailed)[0].code == "stage_timeout"
    talk.held.clear()
    talk.speak(1.0)
    talk.quiet(3.0)
    assert talk.of(ResponseDone)[-1].status == "completed"


def test_an_endless_turn_is_closed(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(config.turn.max_turn_s + 1)
    assert talk.of(InputCommitted)


@pytest.mark.parametrize("stage", ["think", "speak"])
def test_a_reply_goes_on_after_its_worker_died(config: OmniConfig, stage: str) -> None:
    talk = Talk(config)
    talk.speak(1.0)
    talk.quiet(0.46)
    talk.held.add(stage)  # type: ignore[arg-type]
    talk.quiet(0.5)
    talk.deliver(StageReport("s", 0, 0, stage, "lost"))  # type: ignore[arg-type]
    talk.quiet(1.0)
    talk.held.clear()
    talk.deliver(StageReport("s", 0, 0, stage, "restored"))  # type: ignore[arg-type]
    talk.quiet(3.0)
    done = talk.of(ResponseDone)[0]
    assert (done.status, done.item.text) == ("completed", "You said 10 tenths.")
    assert "".join(event.delta for event in talk.of(ResponseText)) == done.item.text
    released = sum(len(event.samples) for event in talk.of(ResponseAudio))
    assert released == 24 * 60 * len(done.item.text)  # nothing twice, nothing lost


def test_a_turn_is_recognised_after_the_ear_died(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(1.0)
    talk.held.add("hear")
    talk.quiet(2.0)
    talk.held.clear()
    talk.deliver(StageReport("s", 0, 0, "hear", "restored"))
    talk.quiet(2.0)
    assert talk.of(TranscriptDone)[0].transcript == "10 tenths"
    assert talk.of(ResponseDone)


def test_only_the_last_words_are_left_to_recognise_at_the_end(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(3.5)
    talk.quiet(1.0)
    requests = [c for c in talk.sent if isinstance(c, Recognise)]
    assert [request.is_final for request in requests] == [False, False, False, True]


def test_items_of_the_client(config: OmniConfig) -> None:
    talk = Talk(config)
    item = Item("mine", "message", "user", parts=(Part("input_text", "hello"),))
    talk.do(lambda session: session.add_item(item))
    first = Item("first", "message", "system", parts=(Part("input_text", "be kind"),))
    talk.do(lambda session: session.add_item(first, "root"))
    assert talk.of(ItemDone)[1].previous_item_id is None
    talk.do(lambda session: session.delete_item("mine"))
    with pytest.raises(ProtocolError):
        talk.do(lambda session: session.retrieve_item("mine"))
    with pytest.raises(ProtocolError):
        talk.do(lambda session: session.add_item(first))


def test_playout_stops_when_the_last_sample_can_have_been_heard(config: OmniConfig) -> None:
    talk = Talk(config)
    talk.speak(1.0)
    talk.quiet(4.0)
    index = [type(event) for event in talk.events].index
    heard_ms = talk.times_ms[index(PlayoutStopped)] - talk.times_ms[index(PlayoutStarted)]
    assert heard_ms == pytest.approx(len("You said 10 tenths.") * 60, abs=20)
    assert talk.of(SpeechStarted)[0].audio_start_ms == 0
