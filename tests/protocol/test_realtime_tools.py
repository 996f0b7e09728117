"""Function calls as a Realtime client meets them, on virtual time."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from omni.config import OmniConfig, load
from omni.stages.think import ThinkStage
from omni.types import Prompt
from tests.protocol.desk import Desk, kinds
from tests.stages.writer import Messages, Writer

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Current weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CALLING = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "conversation.item.done",
]
MESSAGE = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
MESSAGE_ENDS = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
]
DONE = ["response.done", "rate_limits.updated"]
DELTAS = {"response.output_audio.delta", "response.output_audio_transcript.delta"}


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def answer(chat: Messages, prefix: str) -> str:
    """Looks, then tells."""
    if any(message["role"] == "tool" for message in chat):
        return "It is sunny."
    return f"Let me look.\n{CALL}"


def desk_with(
    config: OmniConfig, script: Callable[[Messages, str], str], **session: Any
) -> tuple[Desk, Writer]:
    """A desk whose core writes by the script, with a tool."""
    desk, writer = Desk(config), Writer(script)
    think = ThinkStage(lambda: writer)
    think.load()
    think.open("s")
    desk.talk.stages["think"] = think
    desk.send(update(tools=[WEATHER], **session))
    return desk, writer


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def asked(desk: Desk, seconds: float = 6.0, **response: Any) -> list[dict[str, Any]]:
    """What a typed question leads to."""
    before = len(desk.said)
    part = {"type": "input_text", "text": "What's the weather in Paris?"}
    item = {"type": "message", "role": "user", "content": [part]}
    desk.send({"type": "conversation.item.create", "item": item})
    desk.send({"type": "response.create", "response": response})
    wait(desk, seconds)
    return desk.said[before + 2 :]


def wait(desk: Desk, seconds: float) -> None:
    desk.talk.quiet(seconds)
    desk.update()


def output(call_id: str, text: str = "sunny") -> dict[str, Any]:
    item = {"type": "function_call_output", "call_id": call_id, "output": text}
    return {"type": "conversation.item.create", "item": item}


def names(events: list[dict[str, Any]]) -> list[str]:
    return [name for name in kinds(events) if name not in DELTAS]


def transcript(desk: Desk) -> str:
    return str(desk.last("response.output_audio_transcript.done")["transcript"])


def test_the_order_of_a_call(config: OmniConfig) -> None:
    desk, _ = desk_with(config, lambda *_: CALL)
    said = asked(desk)
    assert names(said) == ["response.created", *CALLING, *DONE]
    added = desk.last("response.output_item.added")["item"]
    done = desk.last("response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("get_weather", '{"city": "Paris"}')
    assert (added["call_id"], added["name"]) == (done["call_id"], "get_weather")
    assert (added["arguments"], added["status"]) == ("", "in_progress")
    assert desk.last("response.function_call_arguments.delta")["delta"] == done["arguments"]
    (item,) = desk.last("response.done")["response"]["output"]
    assert item == desk.last("response.output_item.done")["item"]
    assert (item["type"], item["status"], item["id"]) == (
        "function_call", "completed", added["id"],
    )  # fmt: skip
    assert "sound" not in json.dumps(said)


def test_words_before_a_call_are_spoken_while_it_is_made(config: OmniConfig) -> None:
    desk, _ = desk_with(config, answer)
    said = asked(desk)
    assert names(said) == ["response.created", *MESSAGE, *CALLING, *MESSAGE_ENDS, *DONE]
    assert transcript(desk) == "Let me look."
    message, call = desk.last("response.done")["response"]["output"]
    assert (message["type"], call["type"]) == ("message", "function_call")
    places = {
        e["item_id"]: e["output_index"] for e in said if "output_index" in e and "item_id" in e
    }
    assert places == {message["id"]: 0, call["id"]: 1}
    assert "tool_call" not in json.dumps(said)


def test_several_calls_in_one_response(config: OmniConfig) -> None:
    desk, _ = desk_with(config, lambda *_: f"{CALL}\n{CALL.replace('Paris', 'Rome')}")
    assert names(asked(desk)) == ["response.created", *CALLING, *CALLING, *DONE]
    calls = desk.last("response.done")["response"]["output"]
    assert [json.loads(call["arguments"])["city"] for call in calls] == ["Paris", "Rome"]
    assert len({call["call_id"] for call in calls}) == 2


def test_the_answer_of_a_tool_goes_on_the_conversation(config: OmniConfig) -> None:
    desk, writer = desk_with(config, answer)
    asked(desk)
    call_id = desk.last("response.function_call_arguments.done")["call_id"]
    told = desk.send(output(call_id))
    assert names(told) == ["conversation.item.added", "conversation.item.done"]
    desk.send({"type": "response.create"})
    wait(desk, 3)
    assert transcript(desk) == "It is sunny."
    roles = [message["role"] for message in writer.chats[-1]]
    assert roles == ["system", "user", "assistant", "tool", "system"]
    called = writer.chats[-1][2]
    assert called["content"] == "Let me look."
    assert called["tool_calls"][0]["function"]["name"] == "get_weather"


def test_an_answer_that_comes_while_we_speak_is_told_afterwards(config: OmniConfig) -> None:
    desk, _ = desk_with(config, answer)
    asked(desk, 0.1)
    assert "response.done" not in kinds(desk.said)
    call_id = desk.last("response.function_call_arguments.done")["call_id"]
    desk.send(output(call_id), {"type": "response.create"})
    wait(desk, 6)
    assert "error" not in kinds(desk.said)
    made = [e["type"] for e in desk.said if e["type"] in ("response.created", "response.done")]
    assert made == ["response.created", "response.done"] * 2
    assert transcript(desk) == "It is sunny."


def test_the_conversation_goes_on_while_a_tool_runs(config: OmniConfig) -> None:
    def script(chat: Messages, prefix: str) -> str:
        said = [message["content"] for message in chat if message["role"] in ("user", "tool")]
        if said[-1] == "sunny":
            return "It is sunny."
        return CALL if "weather" in said[-1] else "I am here."

    desk, writer = desk_with(config, script)
    asked(desk)
    call_id = desk.last("response.function_call_arguments.done")["call_id"]
    desk.ask(1.0)
    assert transcript(desk) == "I am here."
    pending = writer.chats[-1][-2]
    assert (pending["role"], pending["tool_call_id"]) == ("tool", call_id)
    assert "still running" in pending["content"]
    desk.send(output(call_id), {"type": "response.create"})
    wait(desk, 3)
    assert transcript(desk) == "It is sunny."


def test_an_interrupted_reply_keeps_its_call(config: OmniConfig) -> None:
    words = " ".join(["and then some more"] * 20)
    desk, writer = desk_with(config, lambda chat, _: f"{words}\n{CALL}")
    asked(desk, 1.0)
    desk.talk.speak(1.0, "Stop.")
    desk.update()
    response = desk.last("response.done")["response"]
    assert response["status"] == "cancelled"
    message, call = response["output"]
    assert (message["status"], call["status"]) == ("incomplete", "completed")
    desk.send(output(call["call_id"]), {"type": "response.create"})
    called = next(message for message in writer.chats[-1] if "tool_calls" in message)
    assert 0 < len(called["content"]) < len(words)


def test_a_speculative_call_is_told_only_when_the_turn_is_over(config: OmniConfig) -> None:
    desk, _ = desk_with(config, lambda *_: CALL)
    desk.talk.speak(1.0, "What's the weather?")
    desk.talk.quiet(0.2)
    desk.update()
    assert any(isinstance(chunk, Prompt) and chunk.max_tokens for chunk in desk.talk.sent)
    assert "response.function_call_arguments.done" not in kinds(desk.said)
    wait(desk, 3)
    assert names(desk.said)[-len(CALLING) - 2 :] == [*CALLING, *DONE]


def test_the_choice_of_tools(config: OmniConfig) -> None:
    def script(chat: Messages, prefix: str) -> str:
        return '"city": "Rome"}}' if prefix else "No idea."

    desk, writer = desk_with(config, script)
    asked(desk, tool_choice="none")
    assert (writer.tools[-1], writer.prefixes[-1]) == ([], "")
    asked(desk, tool_choice="required")
    assert desk.last("response.function_call_arguments.done")["arguments"] == '{"city": "Rome"}'
    other = {**WEATHER, "name": "other"}
    asked(desk, tools=[other], tool_choice={"type": "function", "name": "other"})
    assert desk.last("response.function_call_arguments.done")["name"] == "other"
    asked(desk)
    assert transcript(desk) == "No idea."
    told = desk.send(update(tool_choice="none"))[0]["session"]
    assert (told["tools"][0]["name"], told["tool_choice"]) == ("get_weather", "none")
    asked(desk)
    assert writer.tools[-1] == []


def test_the_prefix_with_tools_is_computed_before_anybody_asks(config: OmniConfig) -> None:
    desk, _ = desk_with(config, answer)
    warm_up = [c for c in desk.talk.sent if isinstance(c, Prompt) and not c.max_tokens][-1]
    assert [tool.name for tool in warm_up.tools] == ["get_weather"]


def test_a_call_that_cannot_be_made_fails_the_response_with_a_reason(config: OmniConfig) -> None:
    desk, _ = desk_with(config, lambda *_: '<tool_call>{"name": "nothing"}</tool_call>')
    asked(desk)
    response = desk.last("response.done")["response"]
    assert response["status"] == "failed"
    assert "could not be called" in response["status_details"]["error"]["message"]
    assert "tool_call" not in transcript(desk)


def test_items_of_calls_can_be_fetched_and_deleted(config: OmniConfig) -> None:
    desk, writer = desk_with(config, answer)
    asked(desk)
    call = desk.last("response.done")["response"]["output"][1]
    desk.send(output(call["call_id"]))
    (told,) = desk.send({"type": "conversation.item.retrieve", "item_id": call["id"]})
    assert told["item"] == call
    desk.send({"type": "conversation.item.delete", "item_id": call["id"]})
    asked(desk)
    assert not [m for m in writer.chats[-1] if m["role"] == "tool" or "tool_calls" in m]


def test_a_client_may_replay_calls_however_odd(config: OmniConfig) -> None:
    desk, writer = desk_with(config, answer)
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "not JSON"}
    desk.send({"type": "conversation.item.create", "item": item}, output("c"), output("unknown"))
    asked(desk)
    called, told = writer.chats[-1][1:3]
    arguments = called["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"input": "not JSON"}
    assert told["content"] == "sunny"
    assert [m["role"] for m in writer.chats[-1]].count("tool") == 1
