"""Responses outside the conversation: beside it, without a trace in it."""

from typing import Any

import pytest

from omni.config import OmniConfig, load
from omni.types import Prompt
from tests.protocol.desk import Desk, kinds

WORDS = " ".join(f"word{n}" for n in range(30))


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def message(text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content, **fields}


def aside(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    wish = {"conversation": "none", "output_modalities": ["text"], "input": [*items], **fields}
    return {"type": "response.create", "response": wish}


def wait(desk: Desk, seconds: float) -> list[dict[str, Any]]:
    before = len(desk.said)
    desk.talk.quiet(seconds)
    desk.update()
    return desk.said[before:]


def done(desk: Desk) -> list[dict[str, Any]]:
    return [e["response"] for e in desk.said if e["type"] == "response.done"]


def prompts(desk: Desk) -> list[Prompt]:
    return [c for c in desk.talk.sent if isinstance(c, Prompt) and c.max_tokens]


def test_a_response_beside_the_conversation_leaves_no_trace_in_it(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask(1.0)
    metadata = {"topic": "mood"}
    wish = aside(message("Classify this."), instructions="One word.", metadata=metadata)
    desk.send(wish)
    said = wait(desk, 1)
    response = done(desk)[-1]
    assert response["conversation_id"] is None
    assert response["metadata"] == metadata
    assert response["output"][0]["content"][0]["text"] == "You said Classify this.."
    assert [m.text for m in prompts(desk)[-1].messages] == ["One word.", "Classify this."]
    names = kinds([e for e in desk.said if e.get("response_id") == response["id"]])
    assert names == [
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert not [e for e in said if e["type"].startswith("conversation.item")]
    desk.ask(1.0)
    assert all("Classify" not in m.text for m in prompts(desk)[-1].messages)


def test_items_may_be_referred_to(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send({"type": "conversation.item.create", "item": message("Red.", id="a")})
    desk.send({"type": "conversation.item.create", "item": message("Blue.", id="b")})
    desk.send(aside({"type": "item_reference", "id": "a"}, message("Why?")))
    wait(desk, 1)
    assert [m.text for m in prompts(desk)[-1].messages[1:]] == ["Red.", "Why?"]
    (error,) = desk.send(aside(message("Hm."), {"type": "item_reference", "id": "nobody"}))
    assert error["error"]["param"] == "response.input.1.id"


def test_without_input_it_sees_the_conversation(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send({"type": "conversation.item.create", "item": message("Red.")})
    wish = {"conversation": "none", "output_modalities": ["text"], "instructions": "Sum up."}
    desk.send({"type": "response.create", "response": wish})
    wait(desk, 1)
    assert [m.text for m in prompts(desk)[-1].messages] == ["Sum up.", "Red."]


def test_it_is_made_while_the_conversation_goes_on() -> None:
    desk = Desk(load("stub", [f"brain.stub.reply={WORDS}"]))
    desk.ask(1.0, wait_s=1)  # a reply of eleven seconds is being spoken
    desk.send(aside(message("Meanwhile?")))
    wait(desk, 1)
    assert [r["status"] for r in done(desk)] == ["completed"]
    assert done(desk)[0]["conversation_id"] is None
    wait(desk, 15)
    assert [r["status"] for r in done(desk)] == ["completed", "completed"]
    assert done(desk)[1]["output"][0]["content"][0]["transcript"] == WORDS


class Slow(Desk):
    """The core writes a word every 20 ms."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__(config)
        self.talk.stages["think"].has_work = lambda: False  # type: ignore[method-assign]
        hear = self.talk.hear

        def hear_and_write(frame: Any) -> None:
            hear(frame)
            self.talk._route(self.talk.stages["think"].step([]))
            self.talk._pump()

        self.talk.hear = hear_and_write  # type: ignore[method-assign]


def test_the_conversation_goes_first_and_what_was_written_is_not_lost() -> None:
    desk = Slow(load("stub", [f"brain.stub.reply={WORDS}"]))
    desk.send(aside(message("Long?")))
    wait(desk, 0.2)
    written = "".join(e["delta"] for e in desk.said if e["type"] == "response.output_text.delta")
    assert WORDS.startswith(written)
    assert 0 < len(written) < len(WORDS)
    desk.send({"type": "conversation.item.create", "item": message("Now!")})
    desk.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
    wait(desk, 3)
    first, second = done(desk)
    assert first["conversation_id"] is not None
    assert second["conversation_id"] is None
    for response in (first, second):
        assert response["status"] == "completed"
        assert response["output"][0]["content"][0]["text"] == WORDS
    assert written in [p.prefix for p in prompts(desk)]  # it went on from its last word


def test_interrupting_the_conversation_does_not_lose_it() -> None:
    desk = Slow(load("stub", [f"brain.stub.reply={WORDS}"]))
    desk.send({"type": "conversation.item.create", "item": message("Now!")})
    desk.send({"type": "response.create"})
    desk.send(aside(message("Long?")))
    wait(desk, 0.3)
    desk.send({"type": "response.cancel"})
    wait(desk, 3)
    statuses = {r["conversation_id"] is None: r["status"] for r in done(desk)}
    assert statuses == {True: "completed", False: "cancelled"}


def test_it_is_cancelled_by_its_id_alone() -> None:
    desk = Slow(load("stub", [f"brain.stub.reply={WORDS}"]))
    desk.send(aside(message("One?")), aside(message("Two?")))
    wait(desk, 0.1)
    ids = [e["response"]["id"] for e in desk.said if e["type"] == "response.created"]
    (error,) = desk.send({"type": "response.cancel"})
    assert error["error"]["code"] == "response_cancel_not_active"
    desk.send({"type": "response.cancel", "response_id": ids[0]})
    wait(desk, 3)
    assert [(r["id"], r["status"]) for r in done(desk)] == [
        (ids[0], "cancelled"),
        (ids[1], "completed"),
    ]
    assert done(desk)[1]["output"][0]["content"][0]["text"] == WORDS


def test_one_that_is_spoken_waits_for_silence() -> None:
    words = " ".join(f"word{n}" for n in range(10))
    desk = Desk(load("stub", [f"brain.stub.reply={words}"]))
    desk.ask(1.0, wait_s=1)
    desk.send(aside(message("Say it."), output_modalities=["audio"]))
    wait(desk, 12)
    first, second = done(desk)
    assert first["conversation_id"] is not None
    assert second["conversation_id"] is None
    assert second["output"][0]["content"][0]["transcript"] == words
    audio = [e for e in desk.said if e["type"] == "response.output_audio.delta"]
    order = [e["response_id"] for e in audio]
    assert order == sorted(order, key=[first["id"], second["id"]].index)


def test_the_user_interrupts_what_is_spoken_beside_the_conversation() -> None:
    desk = Desk(load("stub", [f"brain.stub.reply={WORDS}"]))
    desk.send(aside(message("Say it."), output_modalities=["audio"]))
    wait(desk, 1)
    desk.ask(1.0, wait_s=0.1)
    assert done(desk)[0]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


def test_a_lost_core_fails_it_in_time(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.talk.held.add("think")
    desk.send(aside(message("Hm?")))
    wait(desk, config.deadlines.first_token_s + 1)
    assert done(desk)[0]["status"] == "failed"
    assert done(desk)[0]["status_details"]["error"]["code"] == "stage_timeout"
    desk.talk.held.clear()
    desk.ask(1.0)
    assert done(desk)[-1]["status"] == "completed"


def test_a_reply_of_the_conversation_may_have_its_own_context(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send({"type": "conversation.item.create", "item": message("Red.")})
    desk.send(
        {
            "type": "response.create",
            "response": {"output_modalities": ["text"], "input": [message("Blue.")]},
        }
    )
    wait(desk, 1)
    assert [m.text for m in prompts(desk)[-1].messages[1:]] == ["Blue."]
    assert desk.last("conversation.item.done")["item"]["role"] == "assistant"
