"""What all client programs share: a line of JSON for each step, and patience with an end."""

import asyncio
import importlib.util
import json
from collections.abc import Callable
from typing import Any

# What is to be interrupted repeats this, as in conftest.py.
LONG = " ".join(["a long story"] * 30)


def tell(step: str, **fields: object) -> None:
    print(json.dumps({"step": step, **fields}), flush=True)


async def until(ready: Callable[[], object], what: str) -> None:
    for _ in range(4000):
        if ready():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"never came true: {what}")


def load(path: str) -> Any:
    """The module in a file: an example."""
    spec = importlib.util.spec_from_file_location("example", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example
