"""`omni eval network`: what becomes of a call's sound on bad networks, and what a call costs.

The ladder: the same speech through a relay with losses, jitter, bursts and reordering, into our ear
and aiortc's own. Definitions are in omni/evaluation/network_panel.py.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from omni import config
from omni.commands.background import server
from omni.evaluation import network_echo
from omni.evaluation.network_call import (
    LEAD_FRAMES,
    AiortcEar,
    Hearing,
    OmniEar,
    Speech,
    call,
    simulate,
)
from omni.evaluation.network_cost import Answer, Cost, cost_of_call
from omni.evaluation.network_link import Weather
from omni.evaluation.network_panel import figures, word_errors
from omni.evaluation.panel import Transcribe
from omni.evaluation.recording import RATE_HZ
from omni.evaluation.sounds import Say, levelled
from omni.media.audio import resample
from omni.pipeline import LocalPipeline
from omni.serve.gateway import Gateway
from omni.serve.opus import FRAME_SAMPLES, HEARD_HZ, OpusSender
from omni.stages.build import build_stage, stage_names

LADDER: Final = {
    "clean": Weather(),
    "jitter 30 ms": Weather(jitter_ms=30),
    "loss 1 %, jitter 10 ms": Weather(loss=0.01, jitter_ms=10),
    "loss 2 %, jitter 10 ms": Weather(loss=0.02, jitter_ms=10),
    "loss 5 %, jitter 10 ms": Weather(loss=0.05, jitter_ms=10),
    "loss 10 %, jitter 10 ms": Weather(loss=0.10, jitter_ms=10),
    "loss 5 %, jitter 50 ms": Weather(loss=0.05, jitter_ms=50),
    "200 ms lost every 4 s": Weather(jitter_ms=10, burst_ms=200),
    "5 % of packets 60 ms late": Weather(jitter_ms=10, reorder=0.05),
}
EMPTY: Final = {  # packets without a payload, in fine weather: they deafen a stock receiver
    "1 packet empty every 4 s": 1,
    "5 packets empty every 4 s": 5,
    "50 packets empty every 4 s": 50,
}
EMPTY_EVERY: Final = 200  # packets
SENTENCES: Final = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "The salt breeze came across from the sea.",
)  # Harvard sentences, lists 1 and 2 (IEEE 297-1969)
VOICES: Final = ("am_michael", "bf_emma", "af_bella", "bm_george")
PAUSE_S: Final = 0.5


def add_arguments(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--sentences", type=int, default=len(SENTENCES), help="how many are said")
    group.add_argument("--weather", default="", help="part of the names of those wanted, or all")
    group.add_argument("--at-once", type=int, default=3, help="kinds of weather (default: 3)")
    group.add_argument("--virtual", action="store_true", help="our ear alone, on virtual time")
    group.add_argument("--cpu", action="store_true", help="what a call costs, instead")


def run(args: argparse.Namespace, say: Say, transcribe: Transcribe | None) -> int:
    """Args:
    transcribe: sound at 24 kHz to words; without it, words are not counted.
    """
    speech = spoken(say, SENTENCES[: args.sentences])
    if args.cpu:
        costs = _costs(args, speech)
        print(json.dumps([asdict(cost) for cost in costs])) if args.json else _show_costs(costs)
        return 0
    names = [name for name in (*LADDER, *EMPTY) if name == "clean" or args.weather in name]
    if args.virtual:
        hearings = {
            (name, "omni"): simulate(*said_through(name, speech), args.seed) for name in names
        }
    else:
        hearings = asyncio.run(_climb(speech, args.seed, names, args.at_once))
    rows = _rows(speech, hearings, transcribe)
    print(json.dumps({"seed": args.seed, "rows": rows})) if args.json else _show(rows)
    return 0


def spoken(say: Say, sentences: Sequence[str]) -> Speech:
    """The sentences with pauses between them, encoded as a browser would, with FEC."""
    pause = np.zeros(int(PAUSE_S * RATE_HZ), np.float32)
    pieces = [np.zeros(LEAD_FRAMES * FRAME_SAMPLES, np.float32)]
    texts = []
    for number, text in enumerate(sentences):
        sound = levelled(say(text, VOICES[number % len(VOICES)])[0])
        start_s = sum(map(len, pieces)) / RATE_HZ
        texts.append((text, start_s, start_s + len(sound) / RATE_HZ))
        pieces += [sound, pause]
    sound = np.concatenate(pieces)
    sound = np.pad(sound, (0, -len(sound) % FRAME_SAMPLES))
    opus = OpusSender()
    packets = [opus.push(frame) for frame in sound.reshape(-1, FRAME_SAMPLES)]
    return Speech(resample(sound, RATE_HZ, HEARD_HZ), packets, texts)


def said_through(name: str, speech: Speech) -> tuple[Speech, Weather]:
    """What the caller sends in a row of this name, and through what."""
    num_empty = EMPTY.get(name, 0)
    packets = [
        b"" if at >= LEAD_FRAMES and at % EMPTY_EVERY < num_empty else packet
        for at, packet in enumerate(speech.packets)
    ]
    return Speech(speech.samples, packets, speech.texts), LADDER.get(name, Weather())


async def _climb(
    speech: Speech, seed: int, names: Sequence[str], at_once: int
) -> dict[tuple[str, str], Hearing]:
    """These kinds of weather, for both ears."""
    settings = config.load("stub")
    stages = [build_stage(settings, name) for name in stage_names(settings)]
    gateway = Gateway(settings, LocalPipeline(stages))
    gateway.start()
    await gateway.ready()
    hearings: dict[tuple[str, str], Hearing] = {}
    for first in range(0, len(names), at_once):
        some = [
            (name, ear) for name in names[first : first + at_once] for ear in ("omni", "aiortc")
        ]
        calls = [
            call(
                OmniEar(gateway) if ear == "omni" else AiortcEar(),
                *said_through(name, speech),
                seed,
            )
            for name, ear in some
        ]
        hearings.update(zip(some, await asyncio.gather(*calls), strict=True))
    await gateway.stop()
    return hearings


def _rows(
    speech: Speech, hearings: dict[tuple[str, str], Hearing], transcribe: Transcribe | None
) -> list[dict[str, Any]]:
    rows = []
    clean: dict[str, int] = {}  # by ear: word errors without any weather
    for (weather, ear), hearing in hearings.items():
        row: dict[str, Any] = {"weather": weather, "ear": ear}
        if transcribe:
            wrong, words = word_errors(
                speech, hearing, lambda sound: transcribe(resample(sound, HEARD_HZ, RATE_HZ)).text
            )
            clean.setdefault(ear, wrong)
            row["wer"] = round(wrong / words, 3)
            # Of errors, with one more on either side: a faultless clean run allows no ratio.
            row["wer_ratio"] = round((wrong + 1) / (clean[ear] + 1), 2)
            row["words"] = words
        rows.append({**row, **figures(speech, hearing)})
    return rows


def _show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(*(name.replace("_", " ") for name in rows[0]))
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    Console().print(table)


def _costs(args: argparse.Namespace, speech: Speech) -> list[Cost]:
    """A call to our server without models, one to its way of sound alone, and one to aiortc's, all
    at the same time."""
    stub = argparse.Namespace(url=None, runtime="local", config="stub", overrides=[])
    with server(stub) as (url, pid), contextlib.ExitStack() as stack:

        async def whole(offer: str) -> str:
            headers = {"Content-Type": "application/sdp"}
            async with httpx.AsyncClient(timeout=20) as http:
                answer = await http.post(f"{url}/v1/realtime/calls", content=offer, headers=headers)
            return answer.raise_for_status().text

        echoes = {kind: stack.enter_context(_echo(kind)) for kind in network_echo.KINDS}

        async def all_at_once() -> list[Cost]:
            costs = [cost_of_call("omni, whole server with the stub brain", pid, whole, speech)]
            for kind, (process, answer) in echoes.items():
                what = f"{kind}, sending back what it hears"
                costs.append(cost_of_call(what, process.pid, answer, speech))
            return list(await asyncio.gather(*costs))

        return asyncio.run(all_at_once())


@contextlib.contextmanager
def _echo(kind: str) -> Iterator[tuple["subprocess.Popen[str]", Answer]]:
    """A process that sends back what it hears, and what answers an offer to it."""
    command = [sys.executable, "-m", network_echo.__name__, kind]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        offers, answers = process.stdin, process.stdout
        answers.readline()  # it is up

        async def answer(offer: str) -> str:
            print(json.dumps(offer), file=offers, flush=True)
            return str(json.loads(await asyncio.to_thread(answers.readline)))

        yield process, answer
        process.terminate()


def _show_costs(costs: Sequence[Cost]) -> None:
    table = Table("cores taken by one call", "idle", "silent", "talking")
    for cost in costs:
        table.add_row(*map(str, asdict(cost).values()))
    Console().print(table)
