"""Translations by the stock SDK: connect, speak, be translated, close."""

import base64

import numpy as np
from openai import AsyncOpenAI

from omni.media.audio import encode
from tests.serve.conftest import Live


async def test_the_stock_client_is_translated(live: Live) -> None:
    client = AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1")
    tone = np.full(24000, 0.1, np.float32)
    sound = encode(np.concatenate([tone, np.zeros(48000, np.float32)]), "pcm16")
    async with client.realtime.translations.connect(model="gpt-realtime-translate") as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session={"audio": {"output": {"language": "de"}}})
        updated = await connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.audio.output.language == "en"  # there is no German voice
        for start in range(0, len(sound), 9600):
            audio = base64.b64encode(sound[start : start + 9600]).decode()
            await connection.session.input_audio_buffer.append(audio=audio)
        told = []
        while not told or told[-1] != "session.output_audio.delta":
            told.append((await connection.recv()).type)
        assert "session.input_transcript.delta" in told
        await connection.session.close()
        async for event in connection:
            told.append(event.type)
    assert told[-1] == "session.closed"
    assert "session.output_transcript.delta" in told
