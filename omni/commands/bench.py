"""`omni bench`: what a caller waits, what each stage costs, and what the pipeline itself adds.

All figures of a row come from one run, as distributions. Latency is the caller's: last sound of
the question to first sound of the reply in what arrives.
"""

import argparse
import asyncio
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from omni import assets, config
from omni.client import RATE_HZ, Exchange, talking_to
from omni.commands.background import add_server_arguments, server
from omni.config import OmniConfig
from omni.types import Samples

QUESTIONS = (
    "What is the capital of France?",
    "Can you suggest a quick breakfast for tomorrow?",
    "How many days are there in a week?",
    "Tell me something about the moon.",
    "What should I wear when it rains?",
    "Which animal is bigger, a horse or an elephant?",
    "What is a good name for a small boat?",
    "Why do people like music?",
)
VOICES = ("am_michael", "bf_emma", "af_bella", "bm_george")
PAUSE_S = 0.7  # between a reply and the next question
TAIL_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The figures of one number of sessions."""

    sessions: int
    exchanges: int
    failed: int
    latencies_ms: dict[str, dict[str, float | None]]  # name → p50, p95
    stage_rtf: dict[str, float]
    cpu_per_media_s: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=("conversation", "camera", "minicpm-o"),
        default="conversation",
        help="a whole server (default), what a camera costs it, or the MiniCPM-o brain alone",
    )
    parser.add_argument("--sessions", help="e.g. 1,2,4 (default: 1; minicpm-o: 1,4,8,16,32)")
    parser.add_argument("--turns", type=int, default=8, help="questions per session (default: 8)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--film", type=Path, help="what the camera shows (with `camera`)")
    add_server_arguments(parser)
    _add_brain_arguments(parser)


def _add_brain_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `omni bench minicpm-o`."""
    group = parser.add_argument_group("minicpm-o")
    group.add_argument("--checkpoint", type=Path, help="its folder")
    group.add_argument(
        "--random-weights",
        action="store_true",
        help="weights drawn at random, of the folder's sizes or else of the official 4.5",
    )
    group.add_argument("--units", type=int, default=20, help="a session (default: 20)")
    group.add_argument("--words", type=int, default=6, help="tokens a unit speaks (default: 6)")
    group.add_argument("--rows", type=int, default=4096, help="a session's context (default: 4096)")
    group.add_argument("--device", help="default: cuda where there is one")


def run(args: argparse.Namespace) -> int:
    if args.what == "minicpm-o":
        from omni.commands import bench_brain

        return bench_brain.run(args)
    if args.what == "camera":
        from omni.commands import bench_camera

        return bench_camera.run(args)
    settings = config.load(args.config, args.overrides)
    counts = [int(count) for count in str(args.sessions or "1").split(",")]
    room = [f"server.max_sessions={max(counts) + 1}"]
    questions = questions_of(settings)
    with server(args, room) as (url, pid):
        rows = [asyncio.run(_measure(url, pid, count, args.turns, questions)) for count in counts]
    report: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores",
        "profile": args.config,
        "runtime": args.runtime,
        "rows": [_plain(row) for row in rows],
    }
    if not args.url:
        report["overhead_ms"] = _overhead(args, room)
    print(json.dumps(report)) if args.json else _show(report)
    return 1 if any(row.failed for row in rows) else 0


def questions_of(settings: OmniConfig) -> list[Samples]:
    """Spoken questions where there is a voice to speak them, else bursts of noise."""
    if "kokoro.onnx" not in settings.files:
        noise = np.random.default_rng(0)
        return [
            np.asarray(noise.normal(0, 0.1, int(seconds * RATE_HZ)), np.float32)
            for seconds in (0.8, 1.1, 1.4)
        ]
    from omni.models.embedded.kokoro import Kokoro

    voice = Kokoro(
        assets.resolve(settings, "kokoro.onnx"),
        assets.resolve(settings, "kokoro/vocab.json"),
        assets.folder(settings, "kokoro/voices"),
        num_threads=2,
    )
    return [
        voice.synthesise(text, VOICES[index % len(VOICES)], 1.0).samples
        for index, text in enumerate(QUESTIONS)
    ]


async def _measure(
    url: str, pid: int, sessions: int, turns: int, questions: Sequence[Samples]
) -> Row:
    before, cpu_before = _stages(url), cpu_s(pid)
    started = asyncio.get_running_loop().time()
    plans = [[questions[(s + t) % len(questions)] for t in range(turns)] for s in range(sessions)]
    talks = await asyncio.gather(*(_talk(url, plan, s) for s, plan in enumerate(plans)))
    media_s = (asyncio.get_running_loop().time() - started) * sessions
    exchanges = [exchange for talk in talks for exchange in talk]
    after, cpu_after = _stages(url), cpu_s(pid)
    return Row(
        sessions,
        len(exchanges),
        sum(exchange.v2v_ms is None for exchange in exchanges),
        {
            "v2v": percentiles([e.v2v_ms for e in exchanges]),
            "ttfa": percentiles([e.ttfa_ms for e in exchanges]),
            "ttft": percentiles([e.ttft_ms for e in exchanges]),
            **{
                name.removesuffix("_ms"): percentiles([e.timings.get(name) for e in exchanges])
                for name in ("recognised_ms", "end_of_turn_ms", "first_clause_ms")
            },
        },
        {
            name: round((after[name][0] - busy_s) / max(after[name][1] - done_s, 1e-9), 3)
            for name, (busy_s, done_s) in before.items()
            if after[name][1] > done_s
        },
        round((cpu_after - cpu_before) / media_s, 3) if pid else None,
    )


async def _talk(url: str, plan: Sequence[Samples], index: int) -> list[Exchange]:
    tail = np.zeros(int(TAIL_S * RATE_HZ), np.float32)
    exchanges = []
    async with talking_to(url) as client:
        await asyncio.sleep(0.5 + 0.37 * index)  # sessions must not march in step
        for question in plan:
            exchange = await client.say(np.concatenate([question, tail]))
            exchanges.append(exchange)
            await asyncio.sleep(PAUSE_S)
    return exchanges


def _overhead(args: argparse.Namespace, room: Sequence[str]) -> dict[str, float | None]:
    """What remains of V2V with a brain that takes no time, less the silence that ends a turn."""
    settings = config.load("stub")
    stub = argparse.Namespace(**{**vars(args), "config": "stub", "overrides": []})
    with server(stub, room) as (url, pid):
        row = asyncio.run(_measure(url, pid, 1, 20, questions_of(settings)))
    silence_ms = settings.turn.silence_duration_ms
    figures = row.latencies_ms["v2v"]
    return {
        name: None if value is None else round(value - silence_ms, 1)
        for name, value in figures.items()
    }


def _stages(url: str) -> dict[str, tuple[float, float]]:
    """Of each stage, seconds of work and seconds of media done so far."""
    stages = httpx.get(f"{url}/health", timeout=30).json()["stages"]
    return {stage["stage"]: (stage["busy_s"], stage["media_s"]) for stage in stages}


def cpu_s(pid: int) -> float:
    """CPU seconds used so far by a process and all that it started."""
    if not pid:
        return 0.0
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def percentiles(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(known, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def _show(report: dict[str, Any]) -> None:
    console = Console()
    console.print(f"{report['profile']} on {report['runtime']}, {report['machine']}")
    table = Table("sessions", "ms from end of speech", "p50", "p95")
    for row in report["rows"]:
        for name, figures in row["latencies_ms"].items():
            table.add_row(str(row["sessions"]), name, *(str(f) for f in figures.values()))
    console.print(table)
    for row in report["rows"]:
        console.print(
            f"{row['sessions']} sessions: {row['failed']} of {row['exchanges']} replies missing; "
            f"CPU s per media s {row['cpu_per_media_s']}; RTF by stage {row['stage_rtf']}"
        )
    if "overhead_ms" in report:
        console.print(f"pipeline overhead, stub brain: {report['overhead_ms']} ms")
