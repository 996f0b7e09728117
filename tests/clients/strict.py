"""What two stock clients' own types have against the server's events, event by event.

The clients themselves do not complain: openai never validates, agents-realtime drops in silence.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.protocol.desk import complaint

CHECKER = Path(__file__).parent / "node" / "check.mjs"


def faults(told: list[dict[str, Any]]) -> list[str]:
    """Against the pydantic models of the openai package."""
    return [fault for event in told if (fault := complaint(event))]


def zod_faults(told: list[dict[str, Any]], modules: Path) -> list[str]:
    """Against the zod schemas of @openai/agents-realtime, in a folder with its modules.

    Its schema of message parts lacks `input_image`, which the protocol has: such an item is
    checked without them.
    """
    lines = "".join(f"{json.dumps(_without_images(event))}\n" for event in told)
    done = subprocess.run(
        ["node", str(CHECKER), str(modules)],
        input=lines,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _without_images(event: dict[str, Any]) -> dict[str, Any]:
    item = event.get("item") or {}
    parts = item.get("content")
    if not parts:
        return event
    kept = [part for part in parts if part["type"] != "input_image"]
    return {**event, "item": {**item, "content": kept}}
