"""The OpenAI Realtime (GA) protocol's server events of one response, with their exact names.

Source: openai-python 3.54, types/realtime.
"""

from typing import Literal

from omni.protocol.realtime_config import AudioOutput
from omni.protocol.realtime_events import ServerEvent
from omni.protocol.realtime_item_wire import WireItem
from omni.protocol.realtime_wire import Wire


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
    conversation_id: str | None
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


class CallEvent(ServerEvent):
    """Concerns a call that a response makes."""

    response_id: str
    item_id: str
    output_index: int


class FunctionArgumentsDelta(CallEvent):
    type: Literal["response.function_call_arguments.delta"] = (
        "response.function_call_arguments.delta"
    )
    call_id: str
    delta: str


class FunctionArgumentsDone(CallEvent):
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    call_id: str
    name: str
    arguments: str


class McpCallEvent(ServerEvent):
    """Concerns a call that a server runs; its response may be over."""

    item_id: str
    output_index: int


class McpCallRunning(McpCallEvent):
    type: Literal["response.mcp_call.in_progress"] = "response.mcp_call.in_progress"


class McpCallCompleted(McpCallEvent):
    type: Literal["response.mcp_call.completed"] = "response.mcp_call.completed"


class McpCallFailed(McpCallEvent):
    type: Literal["response.mcp_call.failed"] = "response.mcp_call.failed"


class McpArgumentsDelta(CallEvent):
    type: Literal["response.mcp_call_arguments.delta"] = "response.mcp_call_arguments.delta"
    delta: str


class McpArgumentsDone(CallEvent):
    type: Literal["response.mcp_call_arguments.done"] = "response.mcp_call_arguments.done"
    arguments: str


class OutputBufferStarted(ServerEvent):
    type: Literal["output_audio_buffer.started"] = "output_audio_buffer.started"
    response_id: str


class OutputBufferStopped(ServerEvent):
    type: Literal["output_audio_buffer.stopped"] = "output_audio_buffer.stopped"
    response_id: str


class OutputBufferCleared(ServerEvent):
    type: Literal["output_audio_buffer.cleared"] = "output_audio_buffer.cleared"
    response_id: str
