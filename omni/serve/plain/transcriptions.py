"""POST /v1/audio/transcriptions: a recording of any length to its words.

Hides that the recogniser hears a few seconds at a time. Law: whoever speaks to the server live is
heard first.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse

from omni.errors import ProtocolError, StageError
from omni.media.audio import Samples
from omni.media.pauses import pieces
from omni.media.sound_file import read_sound
from omni.serve.exchange import Exchange
from omni.serve.gateway import Gateway
from omni.serve.plain.streaming import EVENT_STREAM, Streamed, server_sent, while_waited_for
from omni.types import Heard, Recognise, frozen_array

INPUT_HZ: Final = 16000
PIECE_TIMEOUT_S: Final = 60.0  # behind all that others say meanwhile

Form_ = Literal["json", "text", "verbose_json", "srt", "vtt"]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """What was said from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    text: str
    language: str


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter()
    server = gateway.config.server

    @routes.post("/v1/audio/transcriptions", response_class=Response)
    async def transcribe(
        request: Request,
        file: Annotated[UploadFile, File()],
        model: Annotated[str, Form()],
        language: Annotated[str | None, Form()] = None,
        response_format: Annotated[Form_, Form()] = "json",
        stream: Annotated[bool, Form()] = False,
    ) -> Response:
        """Other fields of OpenAI's are ignored; there are no times of single words."""
        form = await request.form()
        if "word" in form.getlist("timestamp_granularities[]"):
            raise ProtocolError(
                "Times are known of segments, not of words.", param="timestamp_granularities"
            )
        async with AsyncExitStack() as stack:
            exchange = await stack.enter_async_context(gateway.exchange())
            sound = await asyncio.to_thread(read_sound, file.file, INPUT_HZ, server.max_upload_s)
            heard = segments(exchange, sound, _code(language))
            if stream:
                events = server_sent(_events(heard))
                return Streamed(events, stack.pop_all(), EVENT_STREAM)
            found = await while_waited_for(request, _all(heard))
            return _answer(found, len(sound) / INPUT_HZ, response_format)
        raise AssertionError  # the stack swallows nothing

    return routes


async def segments(
    exchange: Exchange, sound: Samples, language: str | None
) -> AsyncIterator[Segment]:
    """The words of a recording, float32 [n] at 16 kHz, piece by piece.

    Raises:
        ProtocolError: no such language. StageError: the recogniser failed.
    """
    for index, piece in enumerate(await asyncio.to_thread(pieces, sound, INPUT_HZ)):
        samples = frozen_array(sound[piece.start : piece.end].copy())
        # Said not to be final, it gives way to what live speakers have finished saying.
        exchange.send(Recognise(*exchange.stamp, f"{index}", samples, piece.end, False, language))
        try:
            heard = await exchange.take(Heard, PIECE_TIMEOUT_S)
        except StageError as error:
            if error.code == ProtocolError.default_code:
                raise ProtocolError(error.message, param="language") from error
            raise
        if heard.text:
            times_s = (piece.start / INPUT_HZ, piece.end / INPUT_HZ)
            yield Segment(*times_s, heard.text.strip(), heard.language)


def _code(language: str | None) -> str | None:
    """ISO 639-1 from what may also say a region."""
    return language.partition("-")[0].strip().lower() if language else None


async def _all(heard: AsyncIterator[Segment]) -> list[Segment]:
    return [segment async for segment in heard]


async def _events(heard: AsyncIterator[Segment]) -> AsyncIterator[str]:
    said: list[str] = []
    async for segment in heard:
        delta = f" {segment.text}" if said else segment.text
        said.append(delta)
        yield json.dumps({"type": "transcript.text.delta", "delta": delta})
    yield json.dumps({"type": "transcript.text.done", "text": "".join(said)})


def _answer(found: Sequence[Segment], duration_s: float, form: Form_) -> Response:
    text = " ".join(segment.text for segment in found)
    usage = {"type": "duration", "seconds": max(1, round(duration_s))}
    match form:
        case "json":
            return JSONResponse({"text": text, "usage": usage})
        case "text":
            return PlainTextResponse(f"{text}\n")
        case "srt":
            cues = (f"{i}\n{_span(s, ',')}\n{s.text}\n" for i, s in enumerate(found, 1))
            return PlainTextResponse("\n".join(cues))
        case "vtt":
            cues = (f"{_span(s, '.')}\n{s.text}\n" for s in found)
            return PlainTextResponse("\n".join(["WEBVTT\n", *cues]))
        case "verbose_json":
            body: dict[str, Any] = {
                "task": "transcribe",
                "language": found[0].language if found else "",
                "duration": round(duration_s, 3),
                "text": text,
                "segments": [_segment(i, segment) for i, segment in enumerate(found)],
                "usage": usage,
            }
            return JSONResponse(body)


def _segment(index: int, segment: Segment) -> dict[str, Any]:
    times = {"start": round(segment.start_s, 3), "end": round(segment.end_s, 3)}
    return {"id": index, **times, "text": segment.text}


def _span(segment: Segment, mark: str) -> str:
    return f"{_clock(segment.start_s, mark)} --> {_clock(segment.end_s, mark)}"


def _clock(time_s: float, mark: str) -> str:
    time_ms = round(time_s * 1000)
    minutes, seconds = divmod(time_ms // 1000, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{mark}{time_ms % 1000:03}"
