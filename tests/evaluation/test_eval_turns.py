"""The whole measurement, short, over both transports, against a server with the stub brain."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omni.cli import main
from omni.evaluation.lines import Transport, calling
from omni.evaluation.panel import spans_of
from omni.evaluation.recording import RATE_HZ
from omni.stages.stub import CHAR_MS
from tests.serve.conftest import living

REPLY = " ".join(["a long reply"] * 12)
KEYS = {
    "R_Y", "L_R_p50_ms", "L_R_p95_ms", "L_Y_p50_ms", "L_Y_p95_ms", "S_BC", "S_VT", "S_ND",
    "pause_take_over", "spill_s", "unheard_words", "continuity_ok", "counts",
}  # fmt: skip


@contextmanager
def server() -> Iterator[str]:
    with living([f"brain.stub.reply='{REPLY}'"], None) as live:
        yield live.url


def test_it_prints_one_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = tmp_path / "wait.wav"  # as a user would give: long enough to be no murmur
    soundfile.write(own, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    with server() as url:
        arguments = ["--config", "stub", "--events", "1", "--json", "--details", "--url", url]
        assert main(["eval", "turns", f"interrupt={own}", *arguments]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(report) >= KEYS
    assert report["counts"]["responses"] >= 1
    assert report["R_Y"] is None  # one event is no rate
    made = {event["kind"] for event in report["events"]}
    assert {"question", "backchannel", "tic", "side", "interrupt"} <= made
    interruption = next(e for e in report["events"] if e["kind"] == "interrupt")
    assert interruption["outcome"] < len(REPLY) * CHAR_MS / 1000  # before it had said all


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_a_call_records_both_sides(transport: Transport) -> None:
    with server() as url:
        async with calling(url, transport, {}) as recording:
            await asyncio.sleep(0.5)
            sound = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
            end_s = recording.say(sound) + 1.0
            while not recording.is_agent_heard(0.5):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
        begun_s = spans_of(recording.agent).first_after(end_s)
        assert begun_s is not None
        assert np.abs(recording.user[int((end_s - 0.5) * RATE_HZ)]) > 0
        assert "response.created" in [event["type"] for _, event in recording.events]


def test_a_recording_of_no_known_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "turns", "shout=a.wav", "--config", "stub"]) == 2
    assert "shout" in capsys.readouterr().err
