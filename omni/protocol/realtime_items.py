"""Conversation items between the internal form and the Realtime protocol's."""

import base64
from dataclasses import replace
from typing import Final

import numpy as np

from omni.errors import MediaError, ProtocolError
from omni.events import Item, Part
from omni.media import pictures
from omni.media.audio import from_base64
from omni.protocol.realtime_audio import HEARD_HZ, InputAudio
from omni.protocol.realtime_config import AudioFormat
from omni.protocol.realtime_item_wire import (
    Content,
    FunctionCallItem,
    FunctionCallOutputItem,
    MessageItem,
    WireItem,
)
from omni.protocol.realtime_mcp_items import from_mcp_item, to_mcp_item
from omni.types import frozen_array

SIGNATURES: Final = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"RIFF": "webp"}

MAX_SHOWN_BYTES: Final = 180_000
"""Pictures of an item that are sent back with it, together: in base64 they must pass a browser's
data channel (256 KiB a message) and a websocket client's usual limit (1 MiB)."""


def to_wire_item(item: Item) -> WireItem:
    """An item as clients see it; a reply under way has no content yet."""
    if item.kind == "function_call":
        return FunctionCallItem(
            id=item.item_id,
            status=item.status,
            call_id=item.call_id,
            name=item.tool_name or "",
            arguments=item.arguments or "",
        )
    if item.kind == "function_call_output":
        return FunctionCallOutputItem(
            id=item.item_id,
            status=item.status,
            call_id=item.call_id or "",
            output=item.output or "",
        )
    if item.mcp:
        return to_mcp_item(item, item.mcp)
    is_open = item.role == "assistant" and item.status == "in_progress"
    parts = () if is_open else _without_heavy_pictures(item.parts)
    return MessageItem(
        id=item.item_id,
        status=item.status,
        role=item.role or "user",
        content=[_to_content(part) for part in parts],
    )


def from_wire_item(wire: WireItem, sound: AudioFormat | None = None) -> Item:
    """An item as a client made it; without an id, the session gives it one.

    `sound`: how it wrote any audio; None takes only transcripts.

    Raises:
        ProtocolError: content that cannot be taken in; `param` names it.
    """
    item_id = wire.id or ""
    if isinstance(wire, FunctionCallItem):
        return Item(
            item_id,
            "function_call",
            call_id=wire.call_id,
            tool_name=wire.name,
            arguments=wire.arguments,
        )
    if isinstance(wire, FunctionCallOutputItem):
        return Item(item_id, "function_call_output", call_id=wire.call_id, output=wire.output)
    if isinstance(wire, MessageItem):
        return _from_message(wire, item_id, sound)
    return from_mcp_item(wire, item_id)


def _from_message(wire: MessageItem, item_id: str, sound: AudioFormat | None) -> Item:
    parts = tuple(_from_content(part, index, sound) for index, part in enumerate(wire.content))
    return Item(item_id, "message", wire.role, parts=parts)


def decode_image(text: str, param: str) -> bytes:
    """Base64 or a `data:` URI to the encoded picture. Nothing is ever fetched.

    Raises:
        ProtocolError: an address.
        MediaError: not base64, or a picture that is not to be decoded.
    """
    header, comma, payload = text.partition(",")
    if not comma:
        payload = text
    elif not header.startswith("data:") or not header.endswith(";base64"):
        raise ProtocolError(f"{param}: only base64 data: URIs are taken", param=param)
    if "://" in text[:16]:
        raise ProtocolError(f"{param}: addresses are not fetched, send a data: URI", param=param)
    encoded = from_base64(payload, param)
    pictures.inspect(encoded, field=param)
    return encoded


def _without_heavy_pictures(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    if sum(len(part.image or b"") for part in parts) <= MAX_SHOWN_BYTES:
        return parts
    return tuple(replace(part, image=None) for part in parts)


def _image_type(encoded: bytes) -> str | None:
    return next((name for start, name in SIGNATURES.items() if encoded.startswith(start)), None)


def _to_content(part: Part) -> Content:
    match part.kind:
        case "input_audio":
            # Always there, null until the words are known: agents-realtime breaks without it.
            return Content(type="input_audio", transcript=part.text)
        case "output_audio":
            return Content(type="output_audio", transcript=part.text or "")
        case "input_image":
            picture = part.image
            if picture is None:
                return Content(type="input_image", detail="auto")
            payload = base64.b64encode(picture).decode("ascii")
            uri = f"data:image/{_image_type(picture) or 'jpeg'};base64,{payload}"
            return Content(type="input_image", image_url=uri, detail="auto")
        case _:
            return Content(type=part.kind, text=part.text or "")


def _from_content(content: Content, index: int, sound: AudioFormat | None) -> Part:
    where = f"item.content.{index}"
    match content.type:
        case "input_image":
            if content.image_url is None:
                raise _missing(f"{where}.image_url")
            return Part("input_image", image=decode_image(content.image_url, f"{where}.image_url"))
        case "input_audio" if content.audio and content.transcript is None and sound:
            return _from_audio(content.audio, sound, f"{where}.audio")
        case "input_audio" | "output_audio":
            if content.transcript is None:
                raise _missing(f"{where}.transcript")
            return Part(content.type, content.transcript)
        case _:
            if content.text is None:
                raise _missing(f"{where}.text")
            return Part(content.type, content.text)


def _from_audio(audio: str, sound: AudioFormat, param: str) -> Part:
    decoder = InputAudio(sound)
    try:
        samples = np.concatenate([decoder.push(audio), decoder.flush()])
    except MediaError as error:
        raise ProtocolError(error.message, error.code, param) from error
    audio_ms = len(samples) * 1000 // HEARD_HZ
    return Part("input_audio", audio_ms=audio_ms, samples=frozen_array(samples))


def _missing(param: str) -> ProtocolError:
    return ProtocolError(
        f"Missing required parameter: '{param}'.", "missing_required_parameter", param
    )
