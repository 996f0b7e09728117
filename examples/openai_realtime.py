"""Talk to omni with the stock OpenAI SDK: say a recording, print both sides, keep the reply.

    pip install openai soundfile
    python examples/openai_realtime.py question.wav reply.wav

Nothing here is omni's own but the address; the same program talks to any Realtime server.
"""

import asyncio
import base64
import os
import sys

import numpy as np
import soundfile
from openai import AsyncOpenAI

RATE_HZ = 24000  # of the protocol's audio/pcm, both ways
BLOCK_BYTES = 1 << 16


async def main(question: str, reply: str) -> None:
    client = AsyncOpenAI(
        api_key=os.environ.get("OMNI_API_KEY", "none"),
        base_url=os.environ.get("OMNI_URL", "http://127.0.0.1:8080/v1"),
    )
    async with client.realtime.connect(model="omni") as connection:
        # Push to talk: we say when the turn is over. Leave `turn_detection` alone to have the
        # server find out, and send a live microphone instead.
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"transcription": {}, "turn_detection": None}},
            }
        )
        pcm = read_pcm(question)
        for start in range(0, len(pcm), BLOCK_BYTES):
            block = base64.b64encode(pcm[start : start + BLOCK_BYTES]).decode()
            await connection.input_audio_buffer.append(audio=block)
        await connection.input_audio_buffer.commit()
        await connection.response.create()

        sound = b""
        async for event in connection:
            match event.type:
                case "conversation.item.input_audio_transcription.completed":
                    print("You: ", event.transcript)
                case "response.output_audio.delta":
                    sound += base64.b64decode(event.delta)
                case "response.output_audio_transcript.done":
                    print("Omni:", event.transcript)
                case "response.done":
                    break
                case "error":
                    sys.exit(event.error.message)
    soundfile.write(reply, np.frombuffer(sound, "<i2"), RATE_HZ)


def read_pcm(path: str) -> bytes:
    """A recording as 16-bit mono at the protocol's rate; linear resampling is enough here."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    num_out = int(len(mono) * RATE_HZ / rate_hz)
    resampled = np.interp(np.arange(num_out) * rate_hz / RATE_HZ, np.arange(len(mono)), mono)
    return (resampled * 32767).astype("<i2").tobytes()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
