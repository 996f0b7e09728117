"""A reply that may call tools, as the core writes it: its words, its calls, and a second attempt.

Law: what is told of a reply is words or calls that can be made; a call that cannot is shown to the
model, once, with what is wrong, or begun for it if it is no call at all; nothing is called twice to
answer one question, or while its answer is awaited.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from omni.chat import Message, Tool
from omni.dialog.messages import UNANSWERED
from omni.dialog.tool_text import ToolText
from omni.dialog.tools import OPENING, UNREADABLE, Call, Fault, Toolbox
from omni.models.core import FinishReason
from omni.types import Prompt

REPEATED: Final = Fault("This was called already.")


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What a step of writing brought. `is_pause`: the words are over, a call is being written."""

    text: str = ""
    is_pause: bool = False
    calls: tuple[Call, ...] = ()
    is_over: bool = False


class ToolWriting:
    """Args:
    prompt: what the reply answers; its prefix may have begun a call.
    """

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.fault: Fault | None = None  # why the last attempt's call cannot be made
        self._toolbox = Toolbox(prompt.tools)
        self._text = ToolText()
        self._has_words = bool(self._text.feed(prompt.prefix))
        # Whoever must call may have to call again.
        must_call = prompt.prefix.startswith(OPENING.rstrip())
        self._called = set() if must_call else _called(prompt.messages)
        self._num_read = 0
        self._num_called = 0
        self._is_corrected = False
        self._is_resuming = False  # the words of a second attempt are still to come

    def read(self, delta: str, finish: FinishReason | None) -> News:
        """The core wrote some more, or the last of it."""
        was_calling = self._text.is_calling
        words = self._text.feed(delta)
        num_whole = len(self._text.calls)
        if finish:
            words += self._text.finish()
        # A call that was cut off for its length is none.
        whole = self._text.calls[:num_whole] if finish == "length" else self._text.calls
        calls = self._calls(whole)
        if finish == "stop" and self._text.is_calling and not self._text.calls:
            self.fault = UNREADABLE  # an empty pair of tags
        if words and not self._has_words:
            words = words.lstrip()
        elif words and self._is_resuming:
            words = f" {words.lstrip()}"
        self._is_resuming = self._is_resuming and not words
        self._has_words = self._has_words or bool(words)
        is_pause = self._text.is_calling and not was_calling and self._has_words
        return News(words, is_pause, calls, bool(finish) or self._text.is_over)

    def corrected(self) -> Prompt | None:
        """The prompt for another attempt, if this one's call was wrong and was the first."""
        if self.fault is None or self._is_corrected:
            return None
        fault, wrong = self.fault, self._text.calls[-1:]
        self.fault, self._is_corrected = None, True
        if fault is REPEATED and self._has_words:
            return None
        self._text, self._num_read, self._is_resuming = ToolText(), 0, True
        if fault is REPEATED:  # and would be written again
            return replace(self.prompt, tools=(), prefix="")
        if fault.is_unreadable:  # it wants to call, and is shown how a call begins
            self._text.feed(OPENING)
            return replace(self.prompt, prefix=OPENING)
        error = Message("tool", f"Error: {fault.message}")
        messages = (*self.prompt.messages, Message("assistant", wrong[0]), error)
        return replace(self.prompt, messages=messages, prefix="")

    def _calls(self, written: list[str]) -> tuple[Call, ...]:
        """The calls that were completed since; the first that cannot be made is the fault."""
        calls = []
        for text in written[self._num_read :]:
            match self._toolbox.read(text):
                case Call() as call if key := _key(_name(call.tool), call.arguments):
                    if key not in self._called:
                        self._called.add(key)
                        calls.append(call)
                    elif not self._num_called and not calls:
                        self.fault = self.fault or REPEATED
                case Fault() as fault if not self._num_called and not calls:
                    self.fault = self.fault or fault
        self._num_read = len(written)
        self._num_called += len(calls)
        if calls:
            self.fault = None
        return tuple(calls)


def _called(messages: Sequence[Message]) -> set[tuple[str, str]]:
    """What was called to answer the newest question, and whatever is not answered yet."""
    asked = max((at for at, m in enumerate(messages) if m.role == "user"), default=-1)
    waiting = {m.call_id for m in messages if m.role == "tool" and m.text == UNANSWERED}
    return {
        _key(call.name, call.arguments)
        for at, message in enumerate(messages)
        for call in message.calls
        if at > asked or call.call_id in waiting
    }


def _key(name: str, arguments: str) -> tuple[str, str]:
    """The same for the same call, however its arguments are written."""
    return name, json.dumps(json.loads(arguments), sort_keys=True)


def _name(tool: Tool) -> str:
    """As the history has it."""
    return tool.remote_name if tool.server else tool.name
