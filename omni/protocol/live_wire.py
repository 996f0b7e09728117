"""OpenAI Live on the wire: what a client may send, and what it is told.

Law: a field that Live does not have is an error that names it. What only a Responses or Decisions
backend could do is not among the client's events. Source: openai-python 3.54, types/live.
"""

import secrets
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from omni.protocol.realtime_wire import Wire

MAX_APPENDED_CHARS: Final = 4000
MAX_INPUT: Final = 128
MAX_INSTRUCTIONS_CHARS: Final = 65_536


Side = Literal["input", "output"]
Reason = Literal["close_requested", "expired", "connection_lost"]
Role = Literal["system", "user", "assistant"]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# ---- settings


class PcmFormat(Asked):
    type: Literal["audio/pcm"]
    rate: Literal[16000, 24000]


class G711Format(Asked):
    type: Literal["audio/pcmu", "audio/pcma"]
    rate: Literal[8000]


LiveFormat = Annotated[PcmFormat | G711Format, Field(discriminator="type")]


class LiveVoice(Asked):
    id: str


class LiveOutput(Asked):
    voice: str | LiveVoice | None = None


class LiveAudio(Asked):
    format: LiveFormat | None = None
    output: LiveOutput | None = None


class InitialText(Asked):
    type: Literal["input_text", "output_text", "text"] | None = None
    text: str


class InitialMessage(Asked):
    """One message of the history before the session."""

    type: Literal["message"] | None = None
    id: str | None = None
    status: Literal["incomplete", "completed"] | None = None
    role: Literal["developer", "user", "assistant"]
    content: Annotated[list[InitialText], Field(min_length=1, max_length=1)]


class Delegation(Asked):
    """The client answers what the model hands over. Ours answers all by itself."""

    type: Literal["client"]
    acknowledgement_delay_ms: int | None = None


class Selector(Asked):
    """Server events of one type."""

    type: str


class DataChannel(Asked):
    """What a page may send and see. Absent: all."""

    allowed_client_events: Literal["all"] | list[str] | None = None
    allowed_server_events: Literal["all"] | list[Selector] | None = None


class Frontend(Asked):
    data_channel: DataChannel


class MediaAudio(Asked):
    """Over WebRTC the format is negotiated."""

    output: LiveOutput | None = None


class AnyConfig(Asked):
    """`store` and `triggers` can only be off: nothing is kept, and there are no Decisions."""

    model: str
    delegation: Delegation | None = None
    input: Annotated[list[InitialMessage], Field(max_length=MAX_INPUT)] | None = None
    instructions: Annotated[str, Field(max_length=MAX_INSTRUCTIONS_CHARS)] | None = None
    safety_identifier: str | None = None
    store: Literal[False] | None = None
    triggers: Annotated[list[Any], Field(max_length=0)] | None = None


class LiveConfig(AnyConfig):
    """A session over a websocket."""

    audio: LiveAudio | None = None


class MediaConfig(AnyConfig):
    """A session over WebRTC. `client`: what the page at the other end may do."""

    audio: MediaAudio | None = None
    client: Frontend | None = None


class LivePatch(Asked):
    """All else is as it was at the start."""

    delegation: Delegation | None = None
    triggers: Annotated[list[Any], Field(max_length=0)] | None = None


# ---- client events


class LiveClientEvent(Asked):
    event_id: str | None = None


class SessionStart(LiveClientEvent):
    type: Literal["session.start"]
    session: LiveConfig


class SessionUpdate(LiveClientEvent):
    type: Literal["session.update"]
    session: LivePatch


class AudioAppend(LiveClientEvent):
    type: Literal["session.input_audio.append"]
    audio: str


class Mute(LiveClientEvent):
    type: Literal["session.input_audio.mute", "session.input_audio.unmute"]


class ContextAppend(LiveClientEvent):
    """Said to the model: what it must heed, what it may know, what it should tell."""

    type: Literal[
        "session.instructions.append", "session.thinking.append", "session.commentary.append"
    ]
    content: Annotated[str, Field(min_length=1, max_length=MAX_APPENDED_CHARS)]
    delegation_id: str | None = None


class SessionClose(LiveClientEvent):
    type: Literal["session.close"]


AnyLiveEvent = SessionStart | SessionUpdate | AudioAppend | Mute | ContextAppend | SessionClose
LiveEvents = Annotated[AnyLiveEvent, Field(discriminator="type")]

# ---- server events


class LiveEvent(Wire):
    """`client_event_id`: the command that this answers."""

    event_id: str = Field(default_factory=lambda: f"event_{secrets.token_hex(10)}")
    client_event_id: str | None = None


class Snapshot(Wire):
    """A session's settings in effect."""

    id: str
    expires_at: int
    model: str
    status: Literal["active"] = "active"
    audio: LiveAudio
    instructions: str
    delegation: Delegation | None = None
    store: Literal[False] = False
    client: Frontend | None = None


class Spent(Wire):
    seconds: float


class SessionTold(LiveEvent):
    type: Literal["session.started", "session.updated"]
    session: Snapshot


class SessionClosed(LiveEvent):
    type: Literal["session.closed"] = "session.closed"
    reason: Reason
    session: Snapshot
    usage: Spent


class UsageUpdated(LiveEvent):
    type: Literal["session.usage.updated"] = "session.usage.updated"
    usage: Spent


class Muted(LiveEvent):
    type: Literal["session.input_audio.muted", "session.input_audio.unmuted"]


class ContextAppended(LiveEvent):
    type: Literal[
        "session.instructions.appended", "session.thinking.appended", "session.commentary.appended"
    ]
    start_ms: int
    end_ms: int


class AudioDelta(Wire):
    """Alone without an id: there are fifty a second."""

    type: Literal["session.output_audio.delta"] = "session.output_audio.delta"
    delta: str


class TranscriptDelta(LiveEvent):
    type: Literal["session.input_transcript.delta", "session.output_transcript.delta"]
    delta: str
    start_ms: int
    end_ms: int


class LiveFault(Wire):
    type: str
    code: str
    message: str
    param: str | None = None
    client_event_id: str | None = None


class ErrorTold(LiveEvent):
    type: Literal["error"] = "error"
    error: LiveFault


AnyLiveTold = (
    SessionTold | SessionClosed | UsageUpdated | Muted | ContextAppended | AudioDelta
    | TranscriptDelta | ErrorTold
)  # fmt: skip
