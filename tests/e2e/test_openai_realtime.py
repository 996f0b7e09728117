import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from omni.media.audio import resample

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.models, pytest.mark.ray]


def test_the_stock_sdk_talks_to_us(server, tmp_path, recognise, word_error_rate):
    reply = tmp_path / "reply.wav"
    question = ROOT / "tests/media/weather_question.wav"
    told = subprocess.run(
        [sys.executable, str(ROOT / "examples/openai_realtime.py"), str(question), str(reply)],
        env={**os.environ, "OMNI_URL": f"{server.url}/v1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    asked, answered = told.stdout.splitlines()
    assert word_error_rate("You: What is the weather in Paris?", asked) <= 0.2
    samples, rate_hz = soundfile.read(reply, dtype="float32")
    said = answered.removeprefix("Omni: ")
    assert word_error_rate(said, recognise(resample(samples, rate_hz, 16000))) <= 0.2
