"""What a language model is to the rest: sessions with a cached context, stepped together.

Hides which runtime writes the words. Law: what a session gets never depends on what was cached or
on who else is served, only on its request.
"""

import json
import queue
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

from omni.errors import StageError

ChatMessage = Mapping[str, Any]
"""One message as chat templates read it: `role`, `content`, perhaps `tool_calls`."""

FinishReason = Literal["stop", "length"]

POLL_S: Final = 0.02  # how long a step waits for what other threads write

Event = TypeVar("Event")

_CONTROL: Final = re.compile(r"<(?=\||/?tool)")


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Continue `ids` by at most `max_tokens` tokens; 0 only fills the cache.

    `ids` is the whole context each time: the longest prefix already cached is re-used and what is
    cached beyond it is cut, so an interrupted reply or a shortened history is just another prompt.
    `temperature` 0 is greedy; the model's own end-of-turn tokens end a reply.
    """

    session_id: str
    request_id: str
    ids: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The next piece of a session's reply, always whole characters.

    The last one of a request has a `finish_reason` and perhaps no text; a request with
    `max_tokens` 0 has that one alone, with reason "length", when its cache is filled.
    """

    session_id: str
    request_id: str
    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """A request that came to nothing, for a reason that is no concern of others'."""

    session_id: str
    request_id: str
    error: StageError


class Core(Protocol):
    """Called from one thread. A session exists from its first `submit` or `fork`."""

    def encode_chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """The prompt for the assistant's next message, by the model's own chat template."""

    def encode(self, text: str) -> list[int]:
        """The tokens of plain text; control tokens are not recognised in it."""

    def submit(self, request: Request) -> None:
        """Start a request; it replaces whatever its session had running.

        Raises:
            SessionCapacity: no slot is left for a new session.
            StageError: the ids cannot be a prompt (code `context_length_exceeded` if too long).
        """

    def cancel(self, session_id: str) -> None:
        """Stop what the session has running; no further step of it comes. The cache stays."""

    def forget(self, session_id: str) -> None:
        """End a session and free its slot; unknown ones are ignored."""

    def fork(self, session_id: str, new_session_id: str) -> None:
        """A new session that starts from this one's context.

        Raises:
            SessionCapacity: no slot is left.
        """

    def cached_tokens(self, session_id: str) -> int:
        """Tokens of the session's context that need not be computed again."""

    def step(self) -> Sequence[Step | Failure]:
        """One bounded piece of work for every session that waits, in one batch.

        Raises:
            StageError: the runtime failed; every running request is lost.
        """

    def has_work(self) -> bool:
        """Whether some request is unfinished."""

    def close(self) -> None:
        """Free the model. Running requests are dropped."""


def drained(events: "queue.SimpleQueue[Event]", wait_s: float) -> list[Event]:
    """What threads have put there; the first is waited for."""
    found = []
    try:
        if wait_s:
            found.append(events.get(timeout=wait_s))
        while True:
            found.append(events.get_nowait())
    except queue.Empty:
        return found


def check_prompt(ids: Sequence[int], context_tokens: int) -> None:
    """Raises StageError unless the ids, and one token after them, fit the context."""
    if not ids:
        raise StageError("a prompt needs at least one token", code="empty_prompt")
    if len(ids) >= context_tokens:
        raise StageError(
            f"the prompt has {len(ids)} tokens; the context holds {context_tokens}",
            code="context_length_exceeded",
        )


def plain(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages or tools with control tokens in their text broken up, so that nothing a user says or
    a tool returns can open a turn, call a tool or answer for one."""
    text = json.dumps(list(values), ensure_ascii=False)
    broken: list[dict[str, Any]] = json.loads(_CONTROL.sub("< ", text))
    return broken
