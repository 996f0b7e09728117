"""The real openai package, unmodified, against a live server."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from omni.media.audio import encode, resample
from tests.serve.conftest import Live

MEDIA = Path(__file__).parent.parent / "media"
CHUNK_BYTES = 24000 // 10 * 2


@pytest.fixture
async def client(live: Live) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as made:
        yield made


def question() -> bytes:
    """A recorded question and a pause, PCM at 24 kHz."""
    samples, rate_hz = soundfile.read(MEDIA / "weather_question.wav", dtype="float32")
    pause = np.zeros(24000 * 3 // 2, np.float32)
    return encode(np.concatenate([resample(samples, rate_hz, 24000), pause]), "pcm16")


async def say(connection: AsyncRealtimeConnection, sound: bytes) -> None:
    for start in range(0, len(sound), CHUNK_BYTES):
        chunk = sound[start : start + CHUNK_BYTES]
        await connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())
        await asyncio.sleep(0.05)


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    events = []
    async for event in connection:
        assert event.type != "error", event
        events.append(event)
        if event.type == kind:
            return events
    raise AssertionError(f"the connection closed before {kind}")


async def test_a_spoken_question_is_answered_by_voice(client: AsyncOpenAI) -> None:
    async with client.realtime.connect(model="omni-stub") as connection:
        await until(connection, "session.created")
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "Be brief.",
                "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}},
            }
        )
        (updated,) = await until(connection, "session.updated")
        assert updated.session.instructions == "Be brief."
        await say(connection, question())
        events = await until(connection, "response.done")
    sound = b"".join(
        base64.b64decode(e.delta) for e in events if e.type == "response.output_audio.delta"
    )
    heard = [
        e.transcript
        for e in events
        if e.type == "conversation.item.input_audio_transcription.completed"
    ]
    assert len(heard) == 1
    assert events[-1].response.status == "completed"
    assert events[-1].response.output[0].content[0].transcript == f"You said {heard[0]}."
    assert len(sound) > 24000
    assert np.abs(np.frombuffer(sound, "<i2")).max() > 1000


async def test_typing_gets_a_written_answer(client: AsyncOpenAI) -> None:
    async with client.realtime.connect(model="omni-stub") as connection:
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Good morning"}],
            }
        )
        await connection.response.create(response={"output_modalities": ["text"]})
        events = await until(connection, "response.done")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "You said Good morning."


async def test_push_to_talk_and_cancel(client: AsyncOpenAI) -> None:
    async with client.realtime.connect(model="omni-stub") as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        )
        await say(connection, question())
        await connection.input_audio_buffer.commit()
        await until(connection, "conversation.item.input_audio_transcription.completed")
        await connection.response.create()
        await until(connection, "response.output_audio.delta")
        await connection.response.cancel()
        events = await until(connection, "response.done")
    assert events[-1].response.status == "cancelled"
    assert events[-1].response.status_details.reason == "client_cancelled"


async def test_models_are_listed(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["omni-stub"]
