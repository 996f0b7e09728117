"""`omni eval turns`: how well it takes turns, from scripted calls recorded on both sides.

Hides nothing of the figures: definitions are in omni/evaluation/panel.py. `omni eval network` is
in eval_network.py.
"""

import argparse
import asyncio
import json
import os
import sys
from functools import reduce
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from omni import assets, config
from omni.commands import eval_network
from omni.commands.background import add_server_arguments, server
from omni.commands.talk import read_sound
from omni.config import OmniConfig
from omni.errors import ConfigError, OmniError
from omni.evaluation.lines import Transport, calling
from omni.evaluation.outcomes import Outcomes, outcomes_from
from omni.evaluation.panel import Panel, Reading, Transcribe
from omni.evaluation.recording import RATE_HZ, Recording
from omni.evaluation.script import Performance
from omni.evaluation.sounds import Kind, Repertoire, Say
from omni.media.audio import resample
from omni.types import Samples

TALKATIVE: Final = {
    "instructions": "You love to talk. Answer every question at great length: "
    "at least eight long sentences. No lists, no markdown."
}


EPILOG: Final = """\
kinds of recordings for `turns`, any file that libsndfile reads, one voice at its usual level:
  question     something to be answered
  pause        a sentence with one pause in it, which is not to be taken for its end
  interrupt    said over the reply, which is to stop
  backchannel  "mm-hm", "right": said over the reply, which is to go on
  tic          a cough, "um": over the reply and in silence; to be left alone
  side         talk to somebody else, at the level at which it reaches the microphone

  omni eval turns interrupt=wait.wav interrupt=stop.wav tic=cough.wav --out call.wav --details
  omni eval turns --events 7 --seed 1 --json > 1.json
  omni eval turns --events 7 --seed 2 --json --add 1.json     # both, pooled
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("turns", "network"), help="what to measure")
    parser.add_argument(
        "recordings",
        nargs="*",
        metavar="KIND=FILE",
        help=f"use recordings of your own; kinds: {', '.join(get_args(Kind))}",
    )
    parser.add_argument("--transport", choices=get_args(Transport), default="websocket")
    parser.add_argument("--events", type=int, default=20, help="of each class (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same script")
    parser.add_argument(
        "--add",
        type=Path,
        action="append",
        default=[],
        metavar="EARLIER.json",
        help="pool the figures with those of an earlier --json, to measure in shorter pieces",
    )
    parser.add_argument("--out", type=Path, metavar="CALL.wav", help="keep both sides, in stereo")
    parser.add_argument("--details", action="store_true", help="tell of every single event, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_server_arguments(parser)
    eval_network.add_arguments(parser.add_argument_group("for `network`"))


def run(args: argparse.Namespace) -> int:
    settings = config.load(args.config, args.overrides)
    if args.what == "network":
        transcribe = None if args.cpu else _recogniser(settings)
        return eval_network.run(args, _voice(settings), transcribe)
    earlier = [_earlier(path) for path in args.add]
    repertoire = Repertoire(_voice(settings), args.seed, _recordings(args.recordings))
    repertoire.rehearse()
    with server(args) as (url, _):
        try:
            panel, recording = asyncio.run(_perform(args, url, repertoire, settings))
        except OmniError as error:
            print(f"omni: {error.message}", file=sys.stderr)
            return 1
    if args.out:
        soundfile.write(args.out, np.stack([recording.user, recording.agent], axis=1), RATE_HZ)
    outcomes = reduce(Outcomes.plus, earlier, panel.outcomes())
    report = {"transport": args.transport, "seed": args.seed, **outcomes.figures()}
    report["outcomes"] = outcomes.as_dict()
    if args.details:
        report["events"] = panel.details()
    print(json.dumps(report)) if args.json else _show(report)
    return 0


async def _perform(
    args: argparse.Namespace, url: str, repertoire: Repertoire, settings: OmniConfig
) -> tuple[Panel, Recording]:
    key = os.environ.get("OMNI_API_KEY")
    async with calling(url, args.transport, TALKATIVE, key) as recording:
        marks = await Performance(recording, repertoire, args.events, args.seed).play()
    return Panel(recording, marks, _recogniser(settings)), recording


def _recordings(given: list[str]) -> dict[Kind, list[Samples]]:
    found: dict[Kind, list[Samples]] = {}
    for item in given:
        kind, separator, path = item.partition("=")
        if not separator or kind not in get_args(Kind):
            raise ConfigError(f"a recording is given as KIND=FILE, not {item!r}", param=item)
        found.setdefault(kind, []).append(read_sound(Path(path)))  # type: ignore[arg-type]
    return found


def _earlier(path: Path) -> Outcomes:
    try:
        return outcomes_from(json.loads(path.read_text())["outcomes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot read figures from {path}: {error}", param="add") from error


def _voice(settings: OmniConfig) -> Say:
    """The profile's own voice, or without one bursts as long as the text."""
    if "kokoro.onnx" not in settings.files:
        return _burst
    from omni.models.embedded.kokoro import Kokoro

    voice = Kokoro(
        assets.resolve(settings, "kokoro.onnx"),
        assets.resolve(settings, "kokoro/vocab.json"),
        assets.folder(settings, "kokoro/voices"),
        num_threads=2,
    )

    def say(text: str, name: str) -> tuple[Samples, list[int]]:
        utterance = voice.synthesise(text, name, 1.0)
        return utterance.samples, [word.start_ms for word in utterance.words]

    return say


def _burst(text: str, _voice: str) -> tuple[Samples, list[int]]:
    noise = np.random.default_rng(len(text)).normal(0, 0.1, int(0.06 * len(text) * RATE_HZ))
    starts = [0, *(60 * (at + 1) for at, letter in enumerate(text) if letter == " ")]
    return np.asarray(noise, np.float32), starts


def _recogniser(settings: OmniConfig) -> Transcribe | None:
    if not any(name.startswith("whisper/") for name in settings.files):
        return None
    from omni.models.embedded.whisper import Whisper

    whisper = Whisper(assets.folder(settings, "whisper"), num_threads=2)

    def hear(samples: Samples) -> Reading:
        transcript = whisper.transcribe(resample(samples, RATE_HZ, 16000), language="en")
        return Reading(transcript.text, transcript.decoded)

    return hear


def _show(report: dict[str, Any]) -> None:
    console = Console()
    table = Table("figure", "value")
    for name, value in report.items():
        if name not in ("counts", "events", "outcomes"):
            table.add_row(name, "-" if value is None else str(value))
    console.print(table)
    console.print("events:", report["counts"])
    for event in report.get("events", []):
        console.print(event)
