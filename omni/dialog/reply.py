"""What is known of one reply: how it is to be made, how far it has come, what became of it."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from omni.chat import Message
from omni.config import DeadlineConfig
from omni.dialog.tools import NO_TOOLS, ToolOptions
from omni.events import Item, Part, ResponseDone, Timings, Usage
from omni.media.playout import RATE_HZ, Playout
from omni.types import Called, Prompt, SpeechOptions, Token

Status = Literal["completed", "cancelled", "incomplete", "failed"]
Reason = Literal["turn_detected", "client_cancelled", "max_output_tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class ReplyOptions:
    """How one reply is to be made."""

    modality: Literal["audio", "text"]
    speech: SpeechOptions
    max_tokens: int
    temperature: float
    metadata: dict[str, str] | None = None
    tools: ToolOptions = NO_TOOLS
    is_in_conversation: bool = True
    tag: str = ""  # the asker's own


class Reply:
    """What is known of one reply.

    `held`: being prepared. `active`: the user knows of it. `playing`: finished, its tail still
    being heard.
    """

    def __init__(self, ids: tuple[str, str], options: ReplyOptions, playout: Playout) -> None:
        self.response_id, item_id = ids
        self.options = options
        self.playout = playout
        self.messages: tuple[Message, ...] = ()
        self.state: Literal["held", "active", "playing"] = "held"
        self.text = ""  # all that the core has written
        self.num_shown = 0  # characters of it that the user was sent
        self.last_token: Token | None = None
        self.cost: Token | None = None  # the newest one that the core wrote
        self.error: tuple[str, str] | None = None  # why it is ending with an apology
        self.waits_since_ms = 0.0
        self.timings = Timings()
        part = Part("output_audio" if options.modality == "audio" else "output_text", text="")
        self.item = Item(item_id, "message", "assistant", "in_progress", (part,))
        self.has_message = False  # the user was told of `item`
        self.waiting_calls: deque[Called] = deque()  # written, and not told yet
        self.calls: list[Item] = []

    @property
    def is_spoken(self) -> bool:
        return self.options.modality == "audio"

    @property
    def is_written(self) -> bool:
        """The core has no more to do for it."""
        return self.last_token is not None or self.state == "playing"

    @property
    def has_calls(self) -> bool:
        return bool(self.calls or self.waiting_calls)

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it."""
        is_silent = self.has_calls and not self.text.strip()
        if self.is_spoken and not is_silent:
            return self.playout.is_drained
        return self.last_token is not None

    def take_words(self, num_chars: int) -> str:
        """Those before that character that the user was not sent yet. Blanks lie between words, so
        that all of them together are the transcript."""
        text = self.playout.text if self.is_spoken else self.text
        start, end = self.num_shown, len(text[:num_chars].rstrip())
        self.num_shown = max(start, end)
        words = text[start:end]
        return words if start else words.lstrip()

    def wait_limit_s(self, limits: DeadlineConfig) -> float | None:
        """How long what it waits for may take; None if it waits for nothing."""
        if self.last_token is None:
            return limits.next_token_s if self.text else limits.first_token_s
        if self.is_spoken and not self.playout.is_complete:
            has_begun = self.playout.generated_samples > 0
            return limits.next_speech_s if has_begun else limits.first_speech_s
        return None


def done_event(reply: Reply, status: Status, reason: Reason | None) -> ResponseDone:
    """What is told of a reply at its end."""
    token, cost = reply.last_token, reply.cost
    code, message = reply.error or (None, None)
    usage = Usage(
        input_tokens=cost.prompt_tokens if cost else 0,
        cached_tokens=cost.cached_tokens if cost else 0,
        output_tokens=cost.output_tokens if cost else 0,
        audio_ms=reply.playout.released_samples * 1000 // RATE_HZ,
    )
    return ResponseDone(
        reply.response_id,
        (*([reply.item] if reply.has_message else []), *reply.calls),
        status,
        reason,
        token.finish if token else None,
        usage,
        reply.timings,
        code,
        message,
    )


def prompt_for(reply: Reply, stamp: tuple[str, int, int]) -> Prompt:
    """The request for a reply, or for the rest of one that was begun."""
    options = reply.options
    return Prompt(
        *stamp,
        reply.response_id,
        reply.messages,
        options.max_tokens,
        options.temperature,
        options.speech if reply.is_spoken else None,
        prefix=reply.text or options.tools.opening,
        tools=options.tools.offered,
    )
