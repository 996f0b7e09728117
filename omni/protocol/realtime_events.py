"""The OpenAI Realtime (GA) protocol's server events, as pydantic models with their exact names.

Every event gets its id when it is made. Source: openai-python 3.54, types/realtime.
"""

import secrets
from typing import Annotated, Literal

from pydantic import Field

from omni.protocol.realtime_wire import (
    AudioOutput,
    RealtimeSession,
    TranscriptionSession,
    Wire,
    WireItem,
)


class ServerEvent(Wire):
    event_id: str = Field(default_factory=lambda: f"event_{secrets.token_hex(10)}")


AnySession = Annotated[RealtimeSession | TranscriptionSession, Field(discriminator="type")]


class SessionCreated(ServerEvent):
    type: Literal["session.created"] = "session.created"
    session: AnySession


class SessionUpdated(ServerEvent):
    type: Literal["session.updated"] = "session.updated"
    session: AnySession


class ErrorDetail(Wire):
    type: str
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


class ErrorEvent(ServerEvent):
    type: Literal["error"] = "error"
    error: ErrorDetail


# ---- the user's sound


class InputSpeechStarted(ServerEvent):
    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class InputSpeechStopped(ServerEvent):
    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class InputAudioCommitted(ServerEvent):
    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    item_id: str
    previous_item_id: str | None


class InputAudioCleared(ServerEvent):
    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class TranscriptionDelta(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: int = 0
    delta: str


class DurationUsage(Wire):
    type: Literal["duration"] = "duration"
    seconds: float


class TranscriptionCompleted(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: int = 0
    transcript: str
    usage: DurationUsage


# ---- the conversation


class ConversationItemAdded(ServerEvent):
    type: Literal["conversation.item.added"] = "conversation.item.added"
    previous_item_id: str | None
    item: WireItem


class ConversationItemDone(ServerEvent):
    type: Literal["conversation.item.done"] = "conversation.item.done"
    previous_item_id: str | None
    item: WireItem


class ConversationItemRetrieved(ServerEvent):
    type: Literal["conversation.item.retrieved"] = "conversation.item.retrieved"
    item: WireItem


class ConversationItemDeleted(ServerEvent):
    type: Literal["conversation.item.deleted"] = "conversation.item.deleted"
    item_id: str


class ConversationItemTruncated(ServerEvent):
    type: Literal["conversation.item.truncated"] = "conversation.item.truncated"
    item_id: str
    content_index: int = 0
    audio_end_ms: int


# ---- our reply


class CachedTokens(Wire):
    text_tokens: int
    audio_tokens: int = 0
    image_tokens: int = 0


class InputTokens(Wire):
    text_tokens: int
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int
    cached_tokens_details: CachedTokens


class OutputTokens(Wire):
    text_tokens: int
    audio_tokens: int = 0


class ResponseUsage(Wire):
    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokens
    output_token_details: OutputTokens


class ResponseError(Wire):
    type: Literal["server_error"] = "server_error"
    code: str
    message: str


class StatusDetails(Wire):
    type: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: Literal["turn_detected", "client_cancelled", "max_output_tokens"] | None = None
    error: ResponseError | None = None


class ResponseAudioSettings(Wire):
    output: AudioOutput


class Response(Wire):
    id: str
    object: Literal["realtime.response"] = "realtime.response"
    conversation_id: str
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]
    status_details: StatusDetails | None = None
    output: tuple[WireItem, ...] = ()
    output_modalities: list[Literal["text", "audio"]]
    max_output_tokens: int | None = None
    audio: ResponseAudioSettings
    usage: ResponseUsage | None = None
    metadata: dict[str, str] | None = None


class ResponseCreated(ServerEvent):
    type: Literal["response.created"] = "response.created"
    response: Response


class ResponseFinished(ServerEvent):
    type: Literal["response.done"] = "response.done"
    response: Response


class OutputItemAdded(ServerEvent):
    type: Literal["response.output_item.added"] = "response.output_item.added"
    response_id: str
    output_index: int = 0
    item: WireItem


class OutputItemDone(ServerEvent):
    type: Literal["response.output_item.done"] = "response.output_item.done"
    response_id: str
    output_index: int = 0
    item: WireItem


class OutputPart(Wire):
    type: Literal["text", "audio"]
    text: str | None = None
    transcript: str | None = None


class PlacedEvent(ServerEvent):
    """Concerns one part of one item of a response; ours have one of each."""

    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0


class ContentPartAdded(PlacedEvent):
    type: Literal["response.content_part.added"] = "response.content_part.added"
    part: OutputPart


class ContentPartDone(PlacedEvent):
    type: Literal["response.content_part.done"] = "response.content_part.done"
    part: OutputPart


class OutputTextDelta(PlacedEvent):
    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    delta: str


class OutputTextDone(PlacedEvent):
    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str


class OutputTranscriptDelta(PlacedEvent):
    type: Literal["response.output_audio_transcript.delta"] = (
        "response.output_audio_transcript.delta"
    )
    delta: str


class OutputTranscriptDone(PlacedEvent):
    type: Literal["response.output_audio_transcript.done"] = "response.output_audio_transcript.done"
    transcript: str


class OutputAudioDelta(PlacedEvent):
    type: Literal["response.output_audio.delta"] = "response.output_audio.delta"
    delta: str


class OutputAudioDone(PlacedEvent):
    type: Literal["response.output_audio.done"] = "response.output_audio.done"


class OutputBufferStarted(ServerEvent):
    type: Literal["output_audio_buffer.started"] = "output_audio_buffer.started"
    response_id: str


class OutputBufferStopped(ServerEvent):
    type: Literal["output_audio_buffer.stopped"] = "output_audio_buffer.stopped"
    response_id: str


class OutputBufferCleared(ServerEvent):
    type: Literal["output_audio_buffer.cleared"] = "output_audio_buffer.cleared"
    response_id: str


class RateLimits(ServerEvent):
    """Sent after every response, as the protocol has it; we limit neither requests nor tokens."""

    type: Literal["rate_limits.updated"] = "rate_limits.updated"
    rate_limits: tuple[dict[str, float], ...] = ()
