"""A stub server for whole modules, the user's words, and programs that are stock clients."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from omni.media.audio import encode, resample
from tests.clients.tap import Tap
from tests.serve.conftest import Live, living

MEDIA = Path(__file__).parent.parent / "media"
RATE_HZ = 24000
PROGRAM_S = 600
# What is to be interrupted repeats this, in some twenty seconds: enough on any machine.
LONG = " ".join(["a long story"] * 30)
LONG_REPLY = "You said {text}, and there is more to say."


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A server whose replies are long enough to be talked over."""
    with living(["server.max_sessions=8", f"brain.stub.reply={LONG_REPLY}"], None) as server:
        yield server


@pytest.fixture(scope="session")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spoken question as raw PCM: 16 bit, 24 kHz, mono, without a pause after it."""
    samples, rate_hz = soundfile.read(MEDIA / "weather_question.wav", dtype="float32")
    path = tmp_path_factory.mktemp("question") / "question.pcm"
    path.write_bytes(encode(resample(samples, rate_hz, RATE_HZ), "pcm16"))
    return path


@pytest.fixture(scope="session")
def photo() -> Path:
    return MEDIA / "cat.png"


def silence(duration_s: float) -> bytes:
    return np.zeros(int(duration_s * RATE_HZ), np.int16).tobytes()


@dataclass(frozen=True)
class Visit:
    """What a client program lived through: what it printed, and what went over its wire."""

    lines: list[dict[str, Any]]
    shown: list[str]  # what it printed for people
    tap: Tap

    def step(self, name: str) -> dict[str, Any]:
        """What the program printed of that step of the conversation."""
        found = [line for line in self.lines if line["step"] == name]
        assert found, f"the client never got to '{name}': {self.lines}"
        return found[0]


def visit(live: Live, *command: str | Path, env: dict[str, str] | None = None) -> Visit:
    """Run a client program against the server; `{host}` in words or values is where it is."""
    return asyncio.run(_visit(live, [str(part) for part in command], env or {}))


async def _visit(live: Live, command: list[str], env: dict[str, str]) -> Visit:
    async with Tap(live.url) as tap:
        program = await asyncio.create_subprocess_exec(
            *(part.replace("{host}", tap.host) for part in command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ
            | {name: value.replace("{host}", tap.host) for name, value in env.items()},
        )
        ending = asyncio.create_task(program.communicate())
        await asyncio.wait((ending,), timeout=PROGRAM_S)
        if not ending.done():
            program.kill()
        out, errors = await ending
        printed = out.decode().splitlines()
        lines = [json.loads(line) for line in printed if line.startswith('{"step"')]
        shown = [line for line in printed if not line.startswith('{"step"')]
        account = f"{lines}\n{errors.decode()[-4000:]}\n{tap.account()}"
        assert program.returncode == 0, account
        return Visit(lines, shown, tap)
