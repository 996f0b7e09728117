"""Items in order, and the prompt made of them."""

import pytest

from omni.dialog.history import CHARS_PER_TOKEN, History, with_text
from omni.errors import ProtocolError
from omni.events import Item, Part


def message(item_id: str, role: str, text: str) -> Item:
    kind = "output_audio" if role == "assistant" else "input_text"
    return Item(item_id, "message", role, parts=(Part(kind, text),))  # type: ignore[arg-type]


def test_items_go_where_they_are_put() -> None:
    history = History()
    assert history.add(message("b", "user", "two")) is None
    assert history.add(message("d", "user", "four")) == "b"
    assert history.add(message("c", "user", "three"), "b") == "b"
    assert history.add(message("a", "user", "one"), "root") is None
    texts = [m.text for m in history.messages("be kind", 1000)]
    assert texts == ["be kind", "one", "two", "three", "four"]
    history.delete("c")
    assert history.last().item_id == "d"
    assert len(history) == 3


def test_unknown_and_repeated_ids_are_named() -> None:
    history = History()
    history.add(message("a", "user", "one"))
    for call, code in (
        (lambda: history.add(message("a", "user", "again")), "item_create_invalid_item_id"),
        (lambda: history.add(message("b", "user", "x"), "nope"), "item_create_invalid_item_id"),
        (lambda: history.get("nope"), "item_retrieve_invalid_item_id"),
        (lambda: history.delete("nope"), "item_delete_invalid_item_id"),
    ):
        with pytest.raises(ProtocolError) as error:
            call()
        assert error.value.code == code


def test_a_reply_nobody_heard_is_not_in_the_prompt() -> None:
    history = History()
    history.add(message("a", "user", "one"))
    reply = message("b", "assistant", "two three")
    history.add(reply)
    history.replace(with_text(reply, "", "incomplete"))
    assert [m.role for m in history.messages("", 1000)] == ["system", "user"]


def test_the_oldest_give_way_and_the_newest_stays() -> None:
    history = History()
    for index in range(20):
        role = "assistant" if index % 2 else "user"
        history.add(message(str(index), role, f"message {index:02d}" * 3))
    kept = history.messages("hi", 100)
    assert kept[0].text == "hi"
    assert kept[1].role == "user"
    assert kept[-1].text.startswith("message 19")
    assert 2 < len(kept) < 21
    assert sum(len(m.text) for m in kept) <= 100 * CHARS_PER_TOKEN
    huge = message("huge", "user", "x" * 10_000)
    history.add(huge)
    assert [m.text for m in history.messages("hi", 100)] == ["hi", huge.text]


def test_tool_calls_are_messages_too() -> None:
    history = History()
    history.add(Item("c", "function_call", call_id="1", tool_name="time", arguments="{}"))
    history.add(Item("o", "function_call_output", call_id="1", output="noon"))
    call, output = history.messages("", 1000)[1:]
    assert [(c.call_id, c.name, c.arguments) for c in call.calls] == [("1", "time", "{}")]
    assert call.role == "assistant"
    assert (output.role, output.text, output.call_id) == ("tool", "noon", "1")
