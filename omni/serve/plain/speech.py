"""POST /v1/audio/speech: text to a sound file, sent as it is spoken."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from omni.errors import ProtocolError
from omni.media.sound_file import MEDIA_TYPES, FileFormat, SoundWriter
from omni.protocol.realtime_config import VoiceId
from omni.protocol.realtime_session import Defaults
from omni.serve.exchange import Exchange
from omni.serve.gateway import Gateway
from omni.serve.plain.streaming import EVENT_STREAM, Streamed, server_sent
from omni.types import Say, Speech, SpeechOptions

MAX_CHARS: Final = 4096
OUTPUT_HZ: Final = 24000
# OpenAI's, which code written for it names; those that resemble none of ours are the default.
THEIR_VOICES: Final = frozenset((
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
))  # fmt: skip


class SpeechRequest(BaseModel):
    """`instructions` and other fields of OpenAI's are ignored."""

    model: str
    input: Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]
    voice: str | VoiceId
    response_format: FileFormat = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


def router(gateway: Gateway, defaults: Defaults) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/audio/speech", response_class=Response)
    async def speak(body: SpeechRequest) -> Response:
        """A sound file in the chosen format; PCM is 24 kHz, 16 bits, mono."""
        speech = SpeechOptions(_voice(body.voice, defaults), body.speed)
        async with AsyncExitStack() as stack:
            exchange = await stack.enter_async_context(gateway.exchange())
            exchange.send(Say(*exchange.stamp, "speech", body.input, speech, is_last=True))
            limits = gateway.config.deadlines
            first = await exchange.take(Speech, limits.first_speech_s)
            sound = _sound(exchange, first, body.response_format, limits.next_speech_s)
            if body.stream_format == "audio":
                return Streamed(sound, stack.pop_all(), MEDIA_TYPES[body.response_format])
            return Streamed(server_sent(_events(sound)), stack.pop_all(), EVENT_STREAM)

    return routes


def _voice(wanted: str | VoiceId, defaults: Defaults) -> str:
    voice = defaults.voice(wanted)
    if voice is not None:
        return voice
    name = wanted.id if isinstance(wanted, VoiceId) else wanted
    if name in THEIR_VOICES:
        return defaults.options.voice
    raise ProtocolError("There is no such voice; see /v1/voices.", "invalid_value", "voice")


async def _sound(
    exchange: Exchange, first: Speech, file_format: FileFormat, limit_s: float
) -> AsyncIterator[bytes]:
    writer = SoundWriter(file_format, OUTPUT_HZ)
    piece = first
    while True:
        if data := await asyncio.to_thread(writer.push, piece.samples):
            yield data
        if piece.is_last:
            break
        piece = await exchange.take(Speech, limit_s)
    if data := await asyncio.to_thread(writer.finish):
        yield data


async def _events(sound: AsyncIterator[bytes]) -> AsyncIterator[str]:
    async for data in sound:
        payload = base64.b64encode(data).decode("ascii")
        yield json.dumps({"type": "speech.audio.delta", "audio": payload})
    yield json.dumps({"type": "speech.audio.done"})
