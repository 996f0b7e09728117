"""The OpenAI Realtime (GA) protocol's client events, as pydantic models with their exact names.

Law: what a client may send is accepted, known or not; what is wrong names its field. Source:
openai-python 3.54, types/realtime.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from omni.protocol.realtime_config import AudioOutput, SessionPatch
from omni.protocol.realtime_item_wire import WireItem
from omni.protocol.realtime_tools import WireChoice, WireTool
from omni.protocol.realtime_wire import Wire


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


class ItemReference(Wire):
    """An item of the conversation, to be shown in a response's own context."""

    type: Literal["item_reference"]
    id: str


InputItem = Annotated[WireItem | ItemReference, Field(discriminator="type")]


class ResponseAudioOptions(Wire):
    output: AudioOutput | None = None


class ResponseOptions(Wire):
    instructions: str | None = None
    output_modalities: list[Literal["text", "audio"]] | None = None
    audio: ResponseAudioOptions | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    tools: tuple[WireTool, ...] | None = None
    tool_choice: WireChoice | None = None
    metadata: dict[str, str] | None = None
    conversation: str | None = None
    input: list[InputItem] | None = None


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
