"""The product's eyes over a websocket: pictures, print, a film, and a notice that was asked for."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from omni import assets, config
from omni.client import Client, talking_to
from omni.models.embedded.kokoro import Kokoro
from tests.pictures import MEDIA, encoded, page

pytestmark = [pytest.mark.models, pytest.mark.ray]

CAT = (MEDIA / "cat.png").read_bytes()
COFFEE = (MEDIA / "coffee.png").read_bytes()


def talk(server: Any, *arguments: str) -> str:
    """What `omni talk` is answered."""
    command = [sys.executable, "-m", "omni", "talk", *arguments, "--url", server.url, "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    return str(json.loads(done.stdout)["reply"]).lower()


def voice() -> Kokoro:
    """Who asks."""
    settings = config.load("embedded")
    files = (assets.resolve(settings, f"kokoro{name}") for name in (".onnx", "/vocab.json"))
    return Kokoro(*files, assets.folder(settings, "kokoro/voices"), 2)


@asynccontextmanager
async def camera(client: Client, film: list[bytes]) -> AsyncIterator[None]:
    """Shows the last picture of `film` five times a second."""

    async def play() -> None:
        while True:
            await client.show(film[-1])
            await asyncio.sleep(0.2)

    task = asyncio.create_task(play())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("name", "question", "words"),
    [
        ("cat.png", "What do you see?", ["cat"]),
        ("cat.png", "How many cats are there?", ["one cat"]),
        ("cat.png", "Is there a dog?", ["cannot"]),
        ("coffee.png", "What am I holding?", ["cup"]),
        ("astronaut.png", "What do you see?", ["person"]),
    ],
)
def test_a_picture_is_talked_about(server, name: str, question: str, words: list[str]) -> None:
    reply = talk(server, "--image", str(MEDIA / name), "--text", question)
    assert all(word in reply for word in words), reply


def test_print_is_read_aloud(server, tmp_path: Path) -> None:
    sign = tmp_path / "sign.jpg"
    sign.write_bytes(encoded(page("OPEN UNTIL SEVEN", "Closed on Sundays")))
    reply = talk(server, "--image", str(sign), "--text", "Read this, please.")
    assert "open until seven" in reply
    assert "closed on sundays" in reply


def test_a_film_is_remembered(server) -> None:
    reply = talk(server, "--video", str(MEDIA / "bikes.mp4"), "--text", "What do you see?")
    there = ("car", "person", "people", "bicycle", "traffic light")
    assert sum(thing in reply for thing in there) >= 2, reply


async def test_a_spoken_question_is_answered_from_the_camera(server) -> None:
    speech = voice().synthesise("What do you see?", "af_heart", 1.0).samples  # at 24 kHz too
    async with talking_to(server.url) as client, camera(client, [CAT]):
        async for event in client.events():
            if event["type"] == "omni.image.seen":
                break
        exchange = await client.say(speech)
    assert "cat" in exchange.reply.lower(), (exchange.transcript, exchange.reply)


async def test_a_notice_comes_by_itself_and_once(server) -> None:
    film = [CAT]
    async with talking_to(server.url) as client, camera(client, film):
        promise = await client.write("Tell me when you see a cup.")
        assert "tell you" in promise.reply.lower()
        assert await _silent(client, 3)
        film.append(COFFEE)
        changed_s = time.perf_counter()
        notice = await _reply(client)
        assert "cup" in notice["words"].lower()
        print(f"noticed and said within {notice['heard_s'] - changed_s:.1f} s")
        film.append(CAT)
        assert await _silent(client, 3)
        film.append(COFFEE)
        assert await _silent(client, 3)


async def _reply(client: Client) -> dict[str, Any]:
    """The next reply: its words, and when it was first heard."""
    words, heard_s = "", float("inf")
    async for event in client.events():
        match event["type"]:
            case "response.output_audio_transcript.delta":
                words += event["delta"]
            case "response.output_audio.delta":
                heard_s = min(heard_s, event["arrived_s"])
            case "response.done":
                break
    return {"words": words, "heard_s": heard_s}


async def _silent(client: Client, for_s: float) -> bool:
    """Whether no reply begins within some seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            async for event in client.events():
                if event["type"] == "response.created":
                    return False
    return True
