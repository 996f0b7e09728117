"""`omni talk`: say a recording, or write a line, and hear, read and time the reply."""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from omni.client import RATE_HZ, Client, Exchange, talking_to
from omni.commands.background import add_server_arguments, server
from omni.errors import ConfigError, OmniError
from omni.media.audio import resample
from omni.media.video import stills
from omni.types import Samples

SETTLE_S = 0.5  # for the last picture of a film to be seen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, help="recording to play, as a user would")
    parser.add_argument("--text", help="write this instead of speaking")
    parser.add_argument("--image", type=Path, help="show this picture along with --text")
    parser.add_argument("--video", type=Path, help="play this to its eyes first, in real time")
    parser.add_argument("--out", type=Path, metavar="reply.wav", help="keep the reply's sound")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if (args.file is None) == (args.text is None):
        raise ConfigError("omni talk needs a recording, or --text; not both", param="file")
    sound = read_sound(args.file) if args.file else None
    image = _read(args.image) if args.image else None
    with server(args) as (url, _):
        try:
            exchange = asyncio.run(_talk(url, sound, args.text, image, args.video))
        except OmniError as error:
            print(f"omni: {error.message}", file=sys.stderr)
            return 1
    if args.out:
        soundfile.write(args.out, exchange.audio, RATE_HZ)
    print(_as_json(exchange) if args.json else _as_text(exchange))
    return 0 if exchange.reply else 1


def read_sound(path: Path) -> Samples:
    """Any audio file as float32 [n] at 24 kHz, mono.

    Raises:
        ConfigError: it cannot be read; names it.
    """
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="file") from error
    return resample(np.ascontiguousarray(samples.mean(axis=1)), rate_hz, RATE_HZ)


async def _talk(
    url: str, sound: Samples | None, text: str | None, image: bytes | None, video: Path | None
) -> Exchange:
    async with talking_to(url, os.environ.get("OMNI_API_KEY")) as client:
        if video is not None:
            await _play(client, video)
        if sound is not None:
            return await client.say(sound, timeout_s=180 + len(sound) / RATE_HZ)
        return await client.write(text or "", image)


async def _play(client: Client, video: Path) -> None:
    """Show a film as a camera would."""
    started_s = time.perf_counter()
    film = stills(video)
    while still := await asyncio.to_thread(next, film, None):
        at_ms, picture = still
        await asyncio.sleep(max(0.0, at_ms / 1000 - (time.perf_counter() - started_s)))
        await client.show(picture)
    await asyncio.sleep(SETTLE_S)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}", param="image") from error


def _as_json(exchange: Exchange) -> str:
    return json.dumps(
        {
            "transcript": exchange.transcript,
            "reply": exchange.reply,
            "v2v_ms": exchange.v2v_ms,
            "ttft_ms": exchange.ttft_ms,
            "ttfa_ms": exchange.ttfa_ms,
            "status": exchange.status,
            "audio_s": round(len(exchange.audio) / RATE_HZ, 2),
            "timings": exchange.timings,
            "errors": exchange.errors,
        }
    )


def _as_text(exchange: Exchange) -> str:
    lines = [f"you:   {exchange.transcript}"] if exchange.transcript else []
    lines.append(f"reply: {exchange.reply or '(none)'}")
    lines += [f"error: {message}" for message in exchange.errors]
    if exchange.v2v_ms is not None:
        lines.append(f"heard {exchange.v2v_ms:.0f} ms after the last word")
    return "\n".join(lines)
