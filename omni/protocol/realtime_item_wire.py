"""Conversation items as the Realtime protocol writes them, in both directions.

Source: openai-python 3.54, types/realtime.
"""

from typing import Annotated, Literal

from pydantic import Field

from omni.protocol.realtime_wire import Wire

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
