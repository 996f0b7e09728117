"""Conversation items as the messages of a prompt.

Hides what a chat template demands of calls: they follow the words they were made with, and each is
answered. Laws: every call is followed by one tool message, which says so if the tool still runs; an
answer without its call is not shown; what the user said before and after a reply that was hardly
begun is one message.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from omni.chat import Message, ToolCall
from omni.events import Item

CALLS: Final = ("function_call", "mcp_call", "mcp_approval_request")
OUTPUTS: Final = ("function_call_output", "mcp_output")
BARELY_WORDS: Final = 2  # whoever heard no more of a reply was still speaking himself
UNANSWERED: Final = "still running; the answer comes later"


def messages_of(items: Sequence[Item], marker: str, asides: Mapping[str, str]) -> list[Message]:
    """The prompt's messages, oldest first.

    Args:
        marker: follows words that were cut off.
        asides: by item, what the model is told beside it.
    """
    out: list[Message] = []
    asked = {item.item_id for item in items if item.kind == "mcp_approval_request"}
    called: set[str] = set()  # by now
    open_calls: list[str] = []  # made last, and not answered yet
    for item in _whole(items, asides):
        if item.kind == "mcp_call" and item.mcp and item.mcp.approval_id in asked:
            continue  # the request for leave stands for it
        if item.kind in CALLS:
            call = made_call(
                item.call_id or item.item_id, item.tool_name or "", item.arguments or ""
            )
            called.add(call.call_id)
            _append_call(out, call)
            if item.kind == "mcp_call" and item.call_id is None:  # a client's own, with its answer
                out.append(Message("tool", item.output or "", call_id=call.call_id))
            else:
                open_calls.append(call.call_id)
            continue
        if item.kind in OUTPUTS:
            if item.call_id not in called:
                continue
            if item.call_id in open_calls:
                open_calls.remove(item.call_id)
            out.append(Message("tool", item.output or "", call_id=item.call_id))
            continue
        message = _words(item, marker, asides.get(item.item_id, ""))
        if message is not None:
            _leave_open(out, open_calls)
            out.append(message)
    _leave_open(out, open_calls)
    return out


def size_of(message: Message) -> int:
    """Characters of a message."""
    return len(message.text) + sum(len(c.name) + len(c.arguments) + 40 for c in message.calls)


def _whole(items: Sequence[Item], asides: Mapping[str, str]) -> list[Item]:
    """The same items, with sentences of the user's that a reply cut in two made whole."""
    out: list[Item] = []
    for item in items:
        if len(out) > 1 and _goes_on(out[-2], out[-1], item):
            before = out[-2]
            text = " ".join(filter(None, (before.text, asides.get(before.item_id), item.text)))
            out[-2:] = [replace(item, parts=(replace(item.parts[0], text=text),))]
        else:
            out.append(item)
    return out


def _goes_on(before: Item, reply: Item, item: Item) -> bool:
    """Whether an item is the rest of what the user was saying before a reply."""
    was_cut_off = reply.role == "assistant" and reply.status == "incomplete"
    is_spoken = all(one.parts and one.parts[0].kind == "input_audio" for one in (before, item))
    is_said = bool(before.text and item.text)
    return was_cut_off and is_spoken and is_said and len(reply.text.split()) <= BARELY_WORDS


def _append_call(out: list[Message], call: ToolCall) -> None:
    if out and out[-1].role == "assistant":
        out[-1] = replace(out[-1], calls=(*out[-1].calls, call))
    else:
        out.append(Message("assistant", "", (call,)))


def _leave_open(out: list[Message], open_calls: list[str]) -> None:
    """The conversation goes on while tools run."""
    out.extend(Message("tool", UNANSWERED, call_id=call_id) for call_id in open_calls)
    open_calls.clear()


def made_call(call_id: str, name: str, arguments: str) -> ToolCall:
    """A call as the model made it. A client's own may hold anything: templates want an object."""
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        arguments = json.dumps({"input": arguments} if arguments else {})
    return ToolCall(call_id, name, arguments)


def _words(item: Item, marker: str, aside: str) -> Message | None:
    if item.kind != "message":
        return None
    was_cut_off = item.role == "assistant" and item.status == "incomplete"
    text = item.text + marker if was_cut_off and item.text else item.text
    text = f"{text} {aside}" if aside and text else text or aside
    return Message(item.role or "user", text) if text else None
