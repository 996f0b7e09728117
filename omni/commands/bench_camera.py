"""`omni bench camera --film F`: what a camera costs, and what a caller waits with it on and off.

On and off alternate, question by question, so that other load of the machine meets both.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from omni import assets, config
from omni.client import RATE_HZ, Client, talking_to
from omni.commands.background import server
from omni.commands.bench import TAIL_S, cpu_s, percentiles, questions_of
from omni.config import OmniConfig
from omni.errors import ConfigError, OmniError
from omni.evaluation import camera_cost
from omni.types import Samples

SHOWN_HZ: Final = 4.0  # the most that the page sends
PAUSE_S: Final = 1.0
REPLY_S: Final = 30.0


def run(args: argparse.Namespace) -> int:
    if args.film is None or not args.film.is_file():
        raise ConfigError("omni bench camera needs a film to show: --film F", param="film")
    settings = config.load(args.config, args.overrides)
    report: dict[str, Any] = {"film": args.film.name, **_costs(args.film, settings)}
    questions = questions_of(settings)
    with server(args) as (url, pid):
        report["v2v"] = asyncio.run(_compare(url, pid, args.turns, questions, args.film))
    print(json.dumps(report)) if args.json else Console().print(report)
    return 1 if report["v2v"]["failed"] else 0


def _costs(film: Path, settings: OmniConfig) -> dict[str, Any]:
    """In this process, without a server; on a thread of its own, since eyes are not urgent."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_cost, film, settings).result()


def _cost(film: Path, settings: OmniConfig) -> dict[str, Any]:
    from omni.stages.looker import EmbeddedLooker

    see = settings.brain.see
    looker = EmbeddedLooker(assets.folder(settings, "see"), see.num_threads)
    costs: dict[str, Any] = {"track": asdict(asyncio.run(camera_cost.cost_of_track(film)))}
    for name, shown in (("moving", camera_cost.moving(film)), ("still", camera_cost.still(film))):
        cost = camera_cost.cost_of_stills(shown, looker, see.cpu_share)
        costs[name] = asdict(cost) | {"look_ms": percentiles(cost.look_ms)}
    return costs


async def _compare(
    url: str, pid: int, turns: int, questions: Sequence[Samples], film: Path
) -> dict[str, Any]:
    tail = np.zeros(int(TAIL_S * RATE_HZ), np.float32)
    shown = await asyncio.to_thread(camera_cost.moving, film)
    waits: dict[str, list[float | None]] = {"off": [], "on": []}
    spent = {"off": [0.0, 0.0], "on": [0.0, 0.0]}  # CPU seconds, seconds
    loop = asyncio.get_running_loop()
    async with talking_to(url) as client:
        await _wait_ms(
            client, np.concatenate([questions[0], tail])
        )  # the first of a session is slower
        for turn in range(2 * turns):
            name = "on" if turn % 2 else "off"
            async with _camera(client, shown if turn % 2 else []):
                await asyncio.sleep(PAUSE_S)
                began_s, used_s = loop.time(), cpu_s(pid)
                question = questions[(turn // 2 + 1) % len(questions)]
                waits[name].append(await _wait_ms(client, np.concatenate([question, tail])))
                spent[name][0] += cpu_s(pid) - used_s
                spent[name][1] += loop.time() - began_s
    return {
        "failed": sum(wait is None for each in waits.values() for wait in each),
        "shown_hz": SHOWN_HZ,
        **{f"v2v_ms_{name}": percentiles(each) for name, each in waits.items()},
        **{
            f"cpu_per_s_{name}": round(used_s / seconds, 3) if pid else None
            for name, (used_s, seconds) in spent.items()
        },
    }


async def _wait_ms(client: Client, question: Samples) -> float | None:
    """V2V; None if no reply came."""
    try:
        return (await client.say(question, REPLY_S)).v2v_ms
    except OmniError:
        return None


@contextlib.asynccontextmanager
async def _camera(client: Client, shown: Sequence[tuple[int, bytes]]) -> AsyncIterator[None]:
    """Pictures, over and over; none if there are none."""

    async def play() -> None:
        step = max(1, round(camera_cost.STILLS_HZ / SHOWN_HZ))
        while shown:
            for _, picture in shown[::step]:
                await client.show(picture)
                await asyncio.sleep(1 / SHOWN_HZ)

    playing = asyncio.create_task(play())
    try:
        yield
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
