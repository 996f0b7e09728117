"""`omni chat`: talk with it on this machine's microphone and speakers, else in writing."""

import argparse
import asyncio
import base64
import os
import sys
from typing import Any

import numpy as np

from omni.client import FRAME_SAMPLES, RATE_HZ, Client, talking_to
from omni.commands.background import add_server_arguments, server
from omni.errors import OmniError
from omni.media import audio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", action="store_true", help="write, even if there is a microphone")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    devices = None if args.text else _sound_devices()
    if devices is None and not args.text:
        print("No microphone and speakers here (or no `sounddevice`): write instead.")
    with server(args) as (url, _):
        try:
            asyncio.run(_speak(url, devices) if devices else _write(url))
        except OmniError as error:
            print(f"omni: {error.message}", file=sys.stderr)
            return 1
    return 0


def _sound_devices() -> Any:
    """The sounddevice module, if it is installed and finds a microphone and a speaker."""
    try:
        import sounddevice

        sounddevice.check_input_settings(samplerate=RATE_HZ, channels=1)
        sounddevice.check_output_settings(samplerate=RATE_HZ, channels=1)
    except Exception:
        return None
    return sounddevice


async def _write(url: str) -> None:
    async with talking_to(url, os.environ.get("OMNI_API_KEY")) as client:
        await client.configure({"output_modalities": ["text"]})
        while line := (await asyncio.to_thread(_ask)).strip():
            exchange = await client.write(line)
            print("omni:", exchange.reply or "; ".join(exchange.errors))


def _ask() -> str:
    try:
        return input("you:  ")
    except EOFError:
        return ""


async def _speak(url: str, devices: Any) -> None:
    """Full duplex, until Ctrl-C. Use headphones: nothing here takes the echo away."""
    loop = asyncio.get_running_loop()
    print("Speak; Ctrl-C ends.")
    async with talking_to(url, os.environ.get("OMNI_API_KEY")) as client:

        def heard(data: Any, *_: object) -> None:
            frame = np.array(data[:, 0], np.float32)
            loop.call_soon_threadsafe(client.hear_microphone, frame)

        speaker = devices.OutputStream(samplerate=RATE_HZ, channels=1, dtype="float32")
        microphone = devices.InputStream(
            samplerate=RATE_HZ, channels=1, blocksize=FRAME_SAMPLES, callback=heard
        )
        with speaker, microphone:
            await _play(client, speaker)


async def _play(client: Client, speaker: Any) -> None:
    async for event in client.events():
        match event["type"]:
            case "conversation.item.input_audio_transcription.completed":
                print("you: ", event["transcript"])
            case "response.output_audio_transcript.delta":
                print(event["delta"], end="", flush=True)
            case "response.done":
                print()
            case "response.output_audio.delta":
                sound = audio.decode(base64.b64decode(event["delta"]), "pcm16")
                await asyncio.to_thread(speaker.write, sound)
            case "error":
                print("error:", event["error"]["message"], file=sys.stderr)
