"""The LLM core of a turn-based brain, for many sessions.

Prefills what the user has surely said while they still speak, so that at the end of the turn only
the last words are left. Law: a reply depends on its prompt alone, never on what was prefilled.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from omni.chat import Message, Tool
from omni.dialog.tdm import Group, Multiplexer
from omni.errors import OmniError, StageError
from omni.models.core import Core, Failure, Request, Step
from omni.stages.tool_writing import ToolWriting
from omni.types import (
    Called,
    Chunk,
    Fence,
    Heard,
    Prompt,
    Rest,
    Seen,
    StageName,
    StageReport,
    Token,
)

log = logging.getLogger(__name__)

# While somebody else is waited for, nothing is written: on few cores the two would hinder each
# other. No longer than this, for that one may have died.
LONGEST_REST_S = 1.2
NAP_S = 0.005


@dataclass(slots=True, eq=False)
class _Context:
    """A session's context: the last prompt's messages, and the turn being spoken."""

    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    mux: Multiplexer = field(default_factory=Multiplexer)
    turn_id: str = ""
    num_stable: int = 0  # characters of the turn that were multiplexed already
    turn_text: str = ""
    prompt: Prompt | None = None  # the reply in the making
    reply: str = ""
    num_tokens: int = 0
    writing: ToolWriting | None = None  # while the reply may call tools


class ThinkStage:
    """Args:
    make_core: loads the model; called on the worker thread.
    """

    name: StageName = "think"

    def __init__(self, make_core: Callable[[], Core]) -> None:
        self._make_core = make_core
        self._contexts: dict[str, _Context] = {}
        self._rests_until: dict[str, float] = {}  # by session, time.monotonic()

    def load(self) -> None:
        self._core = self._make_core()

    def open(self, session_id: str) -> None:
        self._contexts[session_id] = _Context()

    def close(self, session_id: str) -> None:
        self._rests_until.pop(session_id, None)
        if self._contexts.pop(session_id, None):
            self._core.forget(session_id)

    def has_work(self) -> bool:
        return self._core.has_work()

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        out: list[Chunk] = []
        for chunk in chunks:
            try:
                self._accept(self._contexts[chunk.session_id], chunk)
            except OmniError as error:
                log.warning("prompt refused", extra={"session": chunk.session_id})
                self._contexts[chunk.session_id].prompt = None
                out.append(_failed(chunk, error))
        if any(until > time.monotonic() for until in self._rests_until.values()):
            time.sleep(NAP_S)
        elif self._core.has_work():
            for step in self._core.step():
                context = self._contexts[step.session_id]
                if isinstance(step, Failure):
                    out += self._lost(context, step)
                else:
                    out += self._token(context, step)
        return out

    def _accept(self, context: _Context, chunk: Chunk) -> None:
        if isinstance(chunk, Fence | Prompt | Rest):
            self._rests_until.pop(chunk.session_id, None)
        match chunk:
            case Rest(is_begun=True):
                self._rests_until[chunk.session_id] = time.monotonic() + LONGEST_REST_S
            case Fence():
                self._core.cancel(chunk.session_id)
                if context.prompt:  # how much of it was heard is known with the next prompt
                    context.prompt, context.messages = None, ()
            case Prompt():
                context.messages = chunk.messages
                context.reply, context.num_tokens = chunk.prefix, 0
                context.prompt = chunk if chunk.max_tokens else None
                context.tools = chunk.tools
                context.writing = ToolWriting(chunk) if chunk.tools else None
                self._submit(chunk)
            case Heard():
                self._overhear(context, chunk)
            case Seen():
                context.mux.add(chunk.unit_index, Group("vision", chunk.note))
                list(context.mux.close_until(chunk.unit_index - 1))  # nobody spoke in those

    def _overhear(self, context: _Context, heard: Heard) -> None:
        """Prefill the words of the present turn that will not change any more."""
        if heard.turn_id != context.turn_id:
            context.turn_id, context.num_stable, context.turn_text = heard.turn_id, 0, ""
            context.mux = Multiplexer()
        news = heard.stable[context.num_stable :]
        if not news or context.prompt or not context.messages:
            return
        context.num_stable = len(heard.stable)
        context.mux.add(heard.unit_index, Group("audio", news))
        for unit in context.mux.close_until(heard.unit_index):
            context.turn_text += "".join(g.text for g in unit.groups if g.modality == "audio")
        messages = (*context.messages, Message("user", context.turn_text))
        self._submit(
            Prompt(
                heard.session_id,
                heard.epoch,
                heard.unit_index,
                "",
                messages,
                max_tokens=0,
                temperature=0.0,
                speech=None,
                tools=context.tools,
            )
        )

    def _submit(self, prompt: Prompt) -> None:
        messages = [_template(message) for message in prompt.messages]
        ids = self._core.encode_chat(messages, [_signature(tool) for tool in prompt.tools])
        if prompt.prefix:
            ids = ids + self._core.encode(prompt.prefix)
        request = Request(
            prompt.session_id,
            prompt.response_id,
            tuple(ids),
            prompt.max_tokens,
            prompt.temperature,
        )
        self._core.submit(request)

    def _lost(self, context: _Context, failure: Failure) -> list[Chunk]:
        prompt = context.prompt
        if prompt is None or failure.request_id != prompt.response_id:
            return []
        log.warning(failure.error.message, extra={"session": failure.session_id})
        context.prompt, context.messages = None, ()
        return [_failed(prompt, failure.error)]

    def _token(self, context: _Context, step: Step) -> list[Chunk]:
        prompt = context.prompt
        if prompt is None or step.request_id != prompt.response_id:
            return []
        context.num_tokens += 1
        if context.writing:
            return self._write(context, context.writing, step)
        context.reply += step.text
        if step.finish_reason:
            context.prompt = None
            context.messages += (Message("assistant", context.reply.strip()),)
        return [_word(prompt, step, step.text, context.num_tokens)]

    def _write(self, context: _Context, writing: ToolWriting, step: Step) -> list[Chunk]:
        """A step of a reply that may call tools."""
        news = writing.read(step.text, step.finish_reason)
        prompt = writing.prompt
        out: list[Chunk] = []
        if news.text or news.is_pause:
            word = _word(prompt, step, news.text, context.num_tokens)
            out.append(replace(word, finish=None, is_pause=news.is_pause))
        stamp = (prompt.session_id, prompt.epoch, prompt.unit_index, prompt.response_id)
        out += [Called(*stamp, call.tool, call.arguments) for call in news.calls]
        if not news.is_over:
            return out
        if not step.finish_reason:
            self._core.cancel(prompt.session_id)
        if again := writing.corrected():
            self._submit(again)
            return out
        # What of it was heard, and what the tools answer, is known with the next prompt.
        context.prompt, context.messages, context.writing = None, (), None
        if writing.fault:
            error = StageError("the tool could not be called as the model wrote it")
            return [*out, _failed(prompt, error)]
        last = _word(prompt, step, "", context.num_tokens)
        return [*out, replace(last, finish=step.finish_reason or "stop")]


def _word(prompt: Prompt, step: Step, text: str, num_tokens: int) -> Token:
    return Token(
        prompt.session_id,
        prompt.epoch,
        prompt.unit_index,
        prompt.response_id,
        num_tokens - 1,
        text,
        prompt.speech,
        step.finish_reason,
        step.prompt_tokens,
        step.cached_tokens,
        num_tokens,
    )


def _template(message: Message) -> dict[str, object]:
    """A message as chat templates read it."""
    if message.role == "tool":
        return {"role": "tool", "content": message.text, "tool_call_id": message.call_id}
    called = [
        {
            "type": "function",
            "id": call.call_id,
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.calls
    ]
    if called:
        return {"role": message.role, "content": message.text, "tool_calls": called}
    return {"role": message.role, "content": message.text}


def _signature(tool: Tool) -> dict[str, object]:
    """A tool as chat templates read it."""
    parameters = json.loads(tool.parameters)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _failed(chunk: Chunk, error: OmniError) -> StageReport:
    stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
    return StageReport(*stamp, "think", "failed", error.message, error.code)
