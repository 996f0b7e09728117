"""MiniCPM-o served as people would run it: `omni serve`, Ray, WebRTC; a tiny random checkpoint."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from omni.evaluation.lines import calling
from omni.evaluation.recording import RATE_HZ, Recording
from omni.media.audio import resample

pytestmark = [pytest.mark.models, pytest.mark.ray]

MEDIA = Path(__file__).parent.parent / "media"


def speech(name: str) -> np.ndarray:
    samples, rate_hz = soundfile.read(MEDIA / name, dtype="float32", always_2d=True)
    return resample(samples.mean(axis=1), rate_hz, RATE_HZ)


def told(call: Recording, kind: str) -> list[tuple[float, dict[str, Any]]]:
    return [(at_s, event) for at_s, event in call.events if event["type"] == kind]


async def until(happened: Callable[[], Any], limit_s: float = 240) -> Any:
    async with asyncio.timeout(limit_s):
        while not (found := happened()):
            await asyncio.sleep(0.02)
    return found


def loudness(samples: np.ndarray) -> float:
    return float(np.abs(samples).mean()) if len(samples) else 0.0


async def test_it_listens_speaks_and_gives_way(duplex_server) -> None:  # type: ignore[no-untyped-def]
    async with calling(duplex_server.url, "webrtc", {}) as call:
        [(created_s, _), *_] = await until(lambda: told(call, "response.created"))
        assert created_s > 2.5  # it had to listen to three seconds first
        await until(lambda: told(call, "response.output_audio_transcript.delta"))
        await until(lambda: loudness(call.agent[int(created_s * RATE_HZ) :]) > 1e-3)

        call.say(speech("weather_question.wav"))
        [(_, done)] = await until(lambda: told(call, "response.done"))
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        assert len(told(call, "output_audio_buffer.cleared")) == 1
        assert len(told(call, "input_audio_buffer.speech_started")) == 1
        [(stopped_s, _)] = await until(lambda: told(call, "input_audio_buffer.speech_stopped"))

        # Then it is free to speak again, and is stopped by the client.
        again = await until(lambda: told(call, "response.created")[1:])
        assert again[0][0] >= stopped_s
        await until(lambda: told(call, "output_audio_buffer.started")[1:])
        call.commands.put_nowait({"type": "response.cancel"})
        ended = await until(lambda: told(call, "response.done")[1:])
        assert ended[0][1]["response"]["status_details"]["reason"] == "client_cancelled"
        assert not told(call, "error")

        stages = {s["stage"]: s for s in httpx.get(f"{duplex_server.url}/health").json()["stages"]}
        assert stages.keys() == {"vad", "hear", "see", "think", "speak"}
        assert len({stage["pid"] for stage in stages.values()}) == 5
        assert stages["hear"]["media_s"] >= 5  # units, a second each
