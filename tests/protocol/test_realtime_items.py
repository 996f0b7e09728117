"""Conversation items over the wire: made, fetched, deleted, and cut to what was heard."""

from typing import Any

import pytest

from omni.config import OmniConfig, load
from omni.types import Prompt
from tests.protocol.desk import Desk, kinds, pcm

WORDS = " ".join(f"word{n}" for n in range(20))  # the stub says 60 ms a character


@pytest.fixture
def config() -> OmniConfig:
    return load("stub", [f"brain.stub.reply={WORDS}"])


def reply_of(desk: Desk) -> dict[str, Any]:
    item: dict[str, Any] = desk.last("response.output_item.added")["item"]
    return item


def truncate(item_id: str, audio_end_ms: int, content_index: int = 0) -> dict[str, Any]:
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": audio_end_ms,
    }


def words_kept(desk: Desk, item_id: str) -> str:
    (told,) = desk.send({"type": "conversation.item.retrieve", "item_id": item_id})
    transcript: str = told["item"]["content"][0]["transcript"]
    return transcript


def test_a_reply_that_was_all_spoken_is_cut_to_the_words_heard_by_then(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0, wait_s=10)
    item_id = reply_of(desk)["id"]
    assert words_kept(desk, item_id) == WORDS
    end_ms = 60 * len("word0 word1 word2 wo")  # in the middle of a word
    (told,) = desk.send(truncate(item_id, end_ms))
    assert (told["type"], told["audio_end_ms"]) == ("conversation.item.truncated", end_ms)
    assert words_kept(desk, item_id) == "word0 word1 word2"
    desk.ask(1.0, wait_s=10)
    prompts = [c for c in desk.talk.sent if isinstance(c, Prompt) and c.max_tokens]
    assert prompts[-1].messages[-2].text == "word0 word1 word2"


def test_a_cut_never_brings_words_back_and_no_time_is_too_late(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0, wait_s=10)
    item_id = reply_of(desk)["id"]
    desk.send(truncate(item_id, 800))
    once = words_kept(desk, item_id)
    (told,) = desk.send(truncate(item_id, 10**9))
    assert told["audio_end_ms"] < 10_000
    assert words_kept(desk, item_id) == once != ""
    desk.send(truncate(item_id, -5))
    assert words_kept(desk, item_id) == ""


def test_cutting_the_reply_that_is_being_spoken_ends_it(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0, wait_s=2)
    names = kinds(desk.send(truncate(reply_of(desk)["id"], 300)))
    assert names[-3:] == ["response.done", "rate_limits.updated", "conversation.item.truncated"]
    assert desk.last("response.done")["response"]["status"] == "cancelled"
    assert words_kept(desk, reply_of(desk)["id"]) == "word0"[: 300 // 60]


def test_deleting_the_reply_that_is_being_spoken_ends_it(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0, wait_s=2)
    item_id = reply_of(desk)["id"]
    names = kinds(desk.send({"type": "conversation.item.delete", "item_id": item_id}))
    assert names[-3:] == ["response.done", "rate_limits.updated", "conversation.item.deleted"]
    desk.ask(1.0, wait_s=10)
    assert desk.last("response.done")["response"]["status"] == "completed"


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"item_id": "nobody"}, "item_truncate_invalid_item_id", "item_id"),
        ({"item_id": "mine"}, "unsupported_content_type", "item_id"),
        ({"content_index": 1}, "invalid_value", "content_index"),
    ],
)
def test_what_cannot_be_cut(
    config: OmniConfig, change: dict[str, Any], code: str, param: str
) -> None:
    desk = Desk(config)
    content = [{"type": "input_text", "text": "Hello"}]
    item = {"id": "mine", "type": "message", "role": "user", "content": content}
    desk.send({"type": "conversation.item.create", "item": item})
    (told,) = desk.send(truncate("mine", 100) | change)
    assert (told["error"]["code"], told["error"]["param"]) == (code, param)


def test_an_item_goes_where_it_is_put(config: OmniConfig) -> None:
    desk = Desk(config)
    places = [("b", None, None), ("a", "root", None), ("c", "b", "b"), ("d", "a", "a")]
    for item_id, wanted, before in places:
        content = [{"type": "input_text", "text": item_id}]
        item = {"id": item_id, "type": "message", "role": "user", "content": content}
        event = {"type": "conversation.item.create", "previous_item_id": wanted, "item": item}
        added, done = desk.send(event)
        assert added["previous_item_id"] == done["previous_item_id"] == before
        assert added["item"]["id"] == done["item"]["id"] == item_id
    (told,) = desk.send(
        {"type": "conversation.item.create", "previous_item_id": "nobody", "item": item}
    )
    assert told["error"]["param"] in ("previous_item_id", "item.id")


def test_words_that_could_not_be_recognised_are_told_of_without_an_error(
    config: OmniConfig,
) -> None:
    desk = Desk(config)
    desk.talk.held.add("hear")
    said = desk.ask(1.0, wait_s=20)
    assert kinds(said) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.input_audio_transcription.failed",
        "conversation.item.done",
    ]
    failed = desk.last("conversation.item.input_audio_transcription.failed")
    assert failed["error"]["code"] == "stage_timeout"
    desk.talk.held.clear()
    assert "response.done" in kinds(desk.ask(1.0, wait_s=10))


def test_a_sound_without_words_is_thrown_away_and_the_client_told_so(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.talk.ear.words = ""
    desk.talk.speak(0.5, "")
    desk.talk.quiet(2)
    desk.update()
    assert kinds(desk.said[1:]) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.cleared",
    ]


def test_a_failed_reply_is_no_error_event(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.talk.held |= {"think", "speak"}
    desk.ask(1.0, wait_s=90)
    response = desk.last("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["message"]
    assert "error" not in kinds(desk.said)


def test_the_deltas_of_a_transcript_are_the_transcript(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0)
    name = "conversation.item.input_audio_transcription"
    deltas = [e["delta"] for e in desk.said if e["type"] == f"{name}.delta"]
    assert "".join(deltas) == desk.last(f"{name}.completed")["transcript"] != ""


def test_a_reply_that_was_cut_off_has_cost_what_was_written(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0, wait_s=2)
    desk.send({"type": "response.cancel"})
    usage = desk.last("response.done")["response"]["usage"]
    assert usage["output_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def spoken(*lengths_s: float, **fields: Any) -> dict[str, Any]:
    content = [{"type": "input_audio", "audio": pcm(length)} for length in lengths_s]
    item = {"type": "message", "role": "user", "content": content, **fields}
    return {"type": "conversation.item.create", "item": item}


def test_sound_in_a_message_is_understood_and_answered() -> None:
    desk = Desk(load("stub"))
    names = kinds(desk.send(spoken(0.7, id="said")))
    assert names == [
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    desk.send({"type": "response.create"})
    desk.talk.quiet(3)
    desk.update()
    reply = desk.last("response.done")["response"]["output"][0]
    assert reply["content"][0]["transcript"] == "You said 7 tenths."
    assert words_kept(desk, "said") == "7 tenths"


def test_a_reply_waits_for_the_words_of_every_part() -> None:
    desk = Desk(load("stub"))
    desk.talk.hear_ms = 400
    desk.send(spoken(0.5, 0.9), {"type": "response.create"})
    assert "response.created" not in kinds(desk.said)
    desk.talk.quiet(4)
    desk.update()
    name = "conversation.item.input_audio_transcription.completed"
    told = [(e["content_index"], e["transcript"]) for e in desk.said if e["type"] == name]
    assert told == [(0, "5 tenths"), (1, "9 tenths")]
    reply = desk.last("response.done")["response"]["output"][0]
    assert reply["content"][0]["transcript"] == "You said 5 tenths 9 tenths."


def test_every_commit_gets_its_words_however_fast_they_follow() -> None:
    desk = Desk(load("stub"))
    desk.talk.hear_ms = 300
    audio = {"input": {"turn_detection": None}}
    desk.send({"type": "session.update", "session": {"type": "realtime", "audio": audio}})
    for length in (0.3, 0.6, 0.9):
        desk.send({"type": "input_audio_buffer.append", "audio": pcm(length)})
        desk.send({"type": "input_audio_buffer.commit"})
    desk.send({"type": "response.create"})
    desk.talk.quiet(5)
    desk.update()
    name = "conversation.item.input_audio_transcription.completed"
    told = [(e["item_id"], e["transcript"]) for e in desk.said if e["type"] == name]
    committed = [e["item_id"] for e in desk.said if e["type"] == "input_audio_buffer.committed"]
    assert [item_id for item_id, _ in told] == committed
    assert [text for _, text in told] == ["3 tenths", "6 tenths", "9 tenths"]
    assert desk.last("response.done")["response"]["status"] == "completed"


def test_a_committed_item_that_is_deleted_is_not_waited_for() -> None:
    desk = Desk(load("stub"))
    desk.talk.held.add("hear")
    audio = {"input": {"turn_detection": None}}
    desk.send({"type": "session.update", "session": {"type": "realtime", "audio": audio}})
    desk.send({"type": "input_audio_buffer.append", "audio": pcm(1.0)})
    desk.send({"type": "input_audio_buffer.commit"})
    item_id = desk.last("input_audio_buffer.committed")["item_id"]
    desk.send({"type": "conversation.item.delete", "item_id": item_id})
    assert desk.said[-1]["type"] == "conversation.item.deleted"
    assert kinds(desk.send({"type": "response.create"}))[0] == "response.created"
    desk.talk.quiet(20)
    desk.update()
    assert not [n for n in kinds(desk.said) if "transcription" in n or n == "error"]


def test_words_that_were_written_down_already_are_taken_as_they_are() -> None:
    desk = Desk(load("stub"))
    event = spoken(0.7, id="said")
    event["item"]["content"][0]["transcript"] = "Good morning."
    assert kinds(desk.send(event)) == ["conversation.item.added", "conversation.item.done"]
    assert words_kept(desk, "said") == "Good morning."
