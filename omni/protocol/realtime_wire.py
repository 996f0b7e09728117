"""The OpenAI Realtime (GA) protocol's client events and the values both sides exchange.

Law: what a client may send is accepted, known or not; what is wrong names its field. A null is
written only where one was set on purpose. Source: openai-python 3.54, types/realtime.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Wire(BaseModel):
    """Unknown fields are ignored; unset optional ones are left out rather than written as null."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_serializer(mode="wrap")
    def _leave_out_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        known = self.model_fields_set
        return {name: value for name, value in fields.items() if value is not None or name in known}


# ---- conversation items

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class Content(Wire):
    """A part of a message; which fields it has depends on its type."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | None = None
    transcript: str | None = None
    audio: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class MessageItem(Wire):
    type: Literal["message"] = "message"
    id: str | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus | None = None
    role: Literal["system", "user", "assistant"]
    content: list[Content]


class FunctionCallItem(Wire):
    type: Literal["function_call"] = "function_call"
    id: str | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus | None = None
    call_id: str | None = None
    name: str
    arguments: str


class FunctionCallOutputItem(Wire):
    type: Literal["function_call_output"] = "function_call_output"
    id: str | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus | None = None
    call_id: str
    output: str


WireItem = Annotated[
    MessageItem | FunctionCallItem | FunctionCallOutputItem, Field(discriminator="type")
]

# ---- session settings


class AudioFormat(Wire):
    """G.711 is always 8 kHz; PCM is 24 kHz in the protocol, 16 kHz is our extension."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[24000, 16000] | None = None


class Transcription(Wire):
    model: str | None = None
    language: str | None = None


class NoiseReduction(Wire):
    type: str | None = None


Eagerness = Literal["low", "medium", "high", "auto"]


class TurnDetectionWire(Wire):
    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    eagerness: Eagerness | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class AudioInput(Wire):
    format: AudioFormat | None = None
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetectionWire | None = None


class VoiceId(Wire):
    id: str


class AudioOutput(Wire):
    format: AudioFormat | None = None
    voice: str | VoiceId | None = None
    speed: float | None = None


class SessionAudio(Wire):
    input: AudioInput | None = None
    output: AudioOutput | None = None


class SessionPatch(Wire):
    """The settings of a client that we can honour; the rest of the protocol's are ignored."""

    type: Literal["realtime", "transcription"]
    instructions: str | None = None
    output_modalities: list[Literal["text", "audio"]] | None = None
    audio: SessionAudio | None = None
    max_output_tokens: int | Literal["inf"] | None = None


class RealtimeSession(Wire):
    """The settings in effect, all of them. `tools` is empty until the brain can call any."""

    type: Literal["realtime"] = "realtime"
    object: Literal["realtime.session"] = "realtime.session"
    id: str
    model: str
    instructions: str
    output_modalities: list[Literal["text", "audio"]]
    audio: SessionAudio
    max_output_tokens: int
    tools: tuple[Any, ...] = ()
    tool_choice: Literal["auto"] = "auto"
    truncation: Literal["auto"] = "auto"


class TranscriptionSession(Wire):
    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    audio: SessionAudio


# ---- client events


class ClientEvent(Wire):
    event_id: str | None = None


class SessionUpdate(ClientEvent):
    type: Literal["session.update"]
    session: SessionPatch


class InputAudioAppend(ClientEvent):
    type: Literal["input_audio_buffer.append"]
    audio: str


class InputAudioCommit(ClientEvent):
    type: Literal["input_audio_buffer.commit"]


class InputAudioClear(ClientEvent):
    type: Literal["input_audio_buffer.clear"]


class InputImageAppend(ClientEvent):
    """Extension: a camera picture for the eyes, base64 or a data: URI; only the latest counts."""

    type: Literal["input_image_buffer.append"]
    image: str
    captured_ms: int | None = None


class OutputAudioClear(ClientEvent):
    type: Literal["output_audio_buffer.clear"]


class ItemCreate(ClientEvent):
    type: Literal["conversation.item.create"]
    previous_item_id: str | None = None
    item: WireItem


class ItemRetrieve(ClientEvent):
    type: Literal["conversation.item.retrieve"]
    item_id: str


class ItemDelete(ClientEvent):
    type: Literal["conversation.item.delete"]
    item_id: str


class ItemTruncate(ClientEvent):
    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int
    audio_end_ms: int


class ResponseAudioOptions(Wire):
    output: AudioOutput | None = None


class ResponseOptions(Wire):
    instructions: str | None = None
    output_modalities: list[Literal["text", "audio"]] | None = None
    audio: ResponseAudioOptions | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    metadata: dict[str, str] | None = None
    conversation: str | None = None
    input: list[Any] | None = None


class ResponseCreate(ClientEvent):
    type: Literal["response.create"]
    response: ResponseOptions | None = None


class ResponseCancel(ClientEvent):
    type: Literal["response.cancel"]
    response_id: str | None = None


AnyClientEvent = (
    SessionUpdate | InputAudioAppend | InputAudioCommit | InputAudioClear | InputImageAppend
    | OutputAudioClear | ItemCreate | ItemRetrieve | ItemDelete | ItemTruncate | ResponseCreate
    | ResponseCancel
)  # fmt: skip

ClientEvents = Annotated[AnyClientEvent, Field(discriminator="type")]

MAX_OUTPUT_TOKENS: Final = 4096
