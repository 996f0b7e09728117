"""The one internal event stream of a session; every wire protocol is a view of it.

Conversation items and replies are the Realtime protocol's, so that its view is a plain mapping and
no state is kept twice. Ids are the session's; times are ms of the user's audio clock.
"""

from dataclasses import dataclass, field
from typing import Literal

from omni.items import Item as Item
from omni.items import Mcp as Mcp
from omni.items import Part as Part
from omni.tool_events import ToolListing, ToolProgress
from omni.types import Finish, Samples, Thing, Word

# ---- the user's side


@dataclass(frozen=True, slots=True, eq=False)
class SpeechStarted:
    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class SpeechStopped:
    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class InputCommitted:
    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True, eq=False)
class InputCleared:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class SilenceTimedOut:
    """Nobody has spoken in this span; it becomes an item, which is answered."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class TranscriptDelta:
    """Words of the user that will not change any more."""

    item_id: str
    delta: str
    content_index: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TranscriptDone:
    """`translation`: in the language that the client wanted; empty: not known."""

    item_id: str
    transcript: str
    language: str
    duration_s: float
    content_index: int = 0
    translation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TranscriptFailed:
    """The words of an item will never be known; the session goes on."""

    item_id: str
    code: str
    message: str
    content_index: int = 0


# ---- the conversation


@dataclass(frozen=True, slots=True, eq=False)
class ItemAdded:
    """`response_id`: the reply that made it."""

    item: Item
    previous_item_id: str | None
    response_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ItemDone:
    item: Item
    previous_item_id: str | None
    response_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ItemDeleted:
    item_id: str


@dataclass(frozen=True, slots=True, eq=False)
class ItemTruncated:
    """The item now holds only what was heard up to `audio_end_ms`."""

    item_id: str
    audio_end_ms: int
    is_asked_for: bool = False  # by the client, rather than found out by us


@dataclass(frozen=True, slots=True, eq=False)
class ItemRetrieved:
    item: Item


# ---- our side


@dataclass(frozen=True, slots=True, eq=False)
class ResponseStarted:
    """A reply has begun; nothing speculative is ever announced. `item_id` and `modality` are of its
    message, if there will be one: a reply may consist of calls. `is_in_conversation`: its items
    are, too; else they are told of with it alone. `tag`: as it was wished for."""

    response_id: str
    item_id: str
    modality: Literal["audio", "text"]
    voice: str
    metadata: dict[str, str] | None = None
    max_tokens: int = 0
    is_in_conversation: bool = True
    tag: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ResponseText:
    """More of the reply's words (its transcript, when it is spoken)."""

    response_id: str
    item_id: str
    delta: str


@dataclass(frozen=True, slots=True, eq=False)
class ResponseCall:
    """The reply calls a tool; the item holds the whole call."""

    response_id: str
    item: Item


@dataclass(frozen=True, slots=True, eq=False)
class ResponseAudio:
    """20 ms of the reply, 24 kHz, at the moment it is released to the user."""

    response_id: str
    item_id: str
    samples: Samples  # [480] or fewer at the end
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Timings:
    """Where the time went, ms; the clock of each is the wall's. None: did not happen.

    `end_of_turn`: last speech → turn decided. `recognised`, `first_token` (TTFT), `first_clause`
    and `first_audio` (TTFA) all count from the user's last speech sample.
    """

    end_of_turn_ms: float | None = None
    recognised_ms: float | None = None
    first_token_ms: float | None = None
    first_clause_ms: float | None = None
    first_audio_ms: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    audio_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """What a session may have of one thing a minute. `resets_s`: until all of it is there again."""

    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    resets_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ResponseDone:
    """The reply has been generated (completed), cut off (cancelled) or lost (failed).

    `items` are its message, if it has one, as it stands in the history, cut to what was heard if
    cancelled, and then its calls.
    """

    response_id: str
    items: tuple[Item, ...]
    status: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: Literal["turn_detected", "client_cancelled", "max_output_tokens"] | None = None
    finish: Finish | None = None
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    error_code: str | None = None
    error_message: str | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def item(self) -> Item:
        """Its first item: its message, if it has one."""
        return self.items[0]


@dataclass(frozen=True, slots=True, eq=False)
class PlayoutStarted:
    """The first sample of the reply was released to the user."""

    response_id: str


@dataclass(frozen=True, slots=True, eq=False)
class PlayoutStopped:
    """The last sample of the reply was released to the user."""

    response_id: str


@dataclass(frozen=True, slots=True, eq=False)
class PlayoutCleared:
    """What was queued of the reply was thrown away."""

    response_id: str


@dataclass(frozen=True, slots=True, eq=False)
class PictureSeen:
    """What the eyes found in a picture: in words, as things in it, and the text read."""

    picture_id: str
    note: str
    captured_ms: int
    things: tuple[Thing, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class UnitDone:
    """A second of the user's was answered, with silence or with sound, so long after it was due."""

    took_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Expired:
    """The session has lasted as long as it may; whoever drives it ends it now."""

    max_session_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """Something went wrong; the session goes on."""

    code: str
    message: str


Event = (
    SpeechStarted | SpeechStopped | InputCommitted | InputCleared | SilenceTimedOut
    | TranscriptDelta | TranscriptDone | TranscriptFailed | ItemAdded | ItemDone | ItemDeleted
    | ItemTruncated | ItemRetrieved | ResponseStarted | ResponseText | ResponseCall
    | ResponseAudio | ResponseDone | PlayoutStarted | PlayoutStopped | PlayoutCleared
    | PictureSeen | UnitDone | Expired | Failed | ToolListing | ToolProgress
)  # fmt: skip
