"""All cases of an Autobahn-style runner against the server's own websocket stack and settings."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tests.serve.conftest import Live, living

NUM_CASES = 247 + 54
COMPRESSION = ("12.*", "13.*")  # not offered, so there is nothing to conform


async def echo(socket: WebSocket) -> None:
    """Says what it hears."""
    await socket.accept()
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


@pytest.fixture(scope="module")
def echoing() -> Iterator[Live]:
    with living([], None) as live:
        live.app.router.routes.insert(0, WebSocketRoute("/", echo))
        yield live


def verdicts(echoing: Live, folder: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """What the runner found, by case."""
    program = Path(sys.executable).with_name("kosoku")
    address = f"127.0.0.1:{echoing.port}"
    command = [str(program), "-p", "4", "-o", str(folder), *arguments, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    report = folder / "index.json"
    assert report.exists(), done.stderr
    (cases,) = json.loads(report.read_text()).values()
    return dict(cases)


def test_every_case_passes(echoing: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    excluded = [argument for group in COMPRESSION for argument in ("-x", group)]
    cases = verdicts(echoing, tmp_path, *excluded)
    wrong = {
        case: found
        for case, found in cases.items()
        if found["behavior"] not in ("OK", "NON-STRICT", "INFORMATIONAL")
        or found["behaviorClose"] not in ("OK", "INFORMATIONAL")
    }
    assert not wrong
    assert len(cases) == NUM_CASES
    assert "UnicodeDecodeError" not in caplog.text


def test_compression_is_declined(echoing: Live, tmp_path: Path) -> None:
    cases = verdicts(echoing, tmp_path, "-i", "12.1.1", "-i", "13.1.1")
    assert {found["behavior"] for found in cases.values()} == {"UNIMPLEMENTED"}
