"""`omni bench minicpm-o`: how many duplex sessions a device carries, and where a unit's time goes.

Hides how the brain is come by (a checkpoint, or random weights of its sizes) and how the figures
are laid out; what is measured, and how, is `omni.evaluation.units`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from omni.errors import ConfigError
from omni.evaluation.units import Load, Ran, run_load
from omni.media.slicing import Pixels
from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import load as load_checkpoint
from omni.models.minicpmo.config import read_config
from omni.models.minicpmo.hift import seeded_noise
from omni.models.minicpmo.memory import GIB, needs
from omni.models.minicpmo.random_weights import (
    CODES_A_SECOND,
    PROMPT_S,
    official,
    placeholder_tokens,
    random_model,
    random_token2wav,
    random_voice,
)
from omni.models.minicpmo.token2wav import Stream, Token2Wav
from omni.models.minicpmo.token2wav_files import load_token2wav, read_dims
from omni.models.minicpmo.tokens import Tokens

IN_TIME_MS: Final = 800  # a unit that takes no longer leaves room for the next
PICTURE_PIXELS: Final = 448


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One number of sessions; of each stage p50 and p95 of its share in a unit."""

    sessions: int
    unit_p50_ms: float
    unit_p95_ms: float
    stages_ms: dict[str, tuple[float, ...]]
    tokens_per_s: float
    codes_per_s: float
    memory_gib: float


def run(args: argparse.Namespace) -> int:
    counts = sorted(int(count) for count in str(args.sessions or "1,4,8,16,32").split(","))
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    bench = _Bench(_brain(args, device, max(counts)), device, args.units, args.words)
    audio = bench.rows(counts, None)
    both = bench.rows(counts, _picture())
    report = {
        "device": _name(device),
        "weights": "random" if args.random_weights else str(args.checkpoint),
        "units_per_session": args.units,
        "words_per_unit": args.words,
        "audio": [_plain(row) for row in audio],
        "audio_and_frame": [_plain(row) for row in both],
        "most_sessions": {"audio": _most(audio), "audio_and_frame": _most(both)},
    }
    print(json.dumps(report)) if args.json else _show(report, audio, both)
    return 0


class _Bench:
    def __init__(self, brain: Brain, device: torch.device, num_units: int, num_words: int) -> None:
        self._brain = brain
        self._device = device
        self._num_units = num_units
        self._num_words = num_words

    def rows(self, counts: Sequence[int], picture: Pixels | None) -> list[Row]:
        """Measure numbers of sessions in ascending order, until they are far too many."""
        rows: list[Row] = []
        for count in counts:
            load = Load(count, self._num_units, self._num_words, picture)
            rows.append(self._row(load, run_load(self._brain, load, self._stream, self._finish)))
            if rows[-1].unit_p95_ms > 2 * IN_TIME_MS:
                break
        return rows

    def _row(self, load: Load, ran: Ran) -> Row:
        p50, p95 = ran.percentiles()
        num_units = len(ran.units)
        num_codes = sum(len(unit.job.outputs[0].codes) for unit in ran.units)
        return Row(
            load.num_sessions,
            round(p50, 1),
            round(p95, 1),
            {name: tuple(round(ms, 1) for ms in ran.percentiles(name)) for name in ran.stages},
            round(num_units * load.num_words / ran.wall_s, 1),
            round(num_codes / ran.wall_s, 1),
            round(_memory_bytes(self._device) / GIB, 2),
        )

    def _stream(self, index: int) -> Stream:
        vocoder = self._brain.vocoder
        assert isinstance(vocoder, Token2Wav)
        if index == 0:
            self._voice = vocoder.voice(random_voice(vocoder.dims, self._device))
        return Stream(self._voice, seeded_noise(vocoder.dims.hift, index))

    def _finish(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _brain(args: argparse.Namespace, device: torch.device, num_sessions: int) -> Brain:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    folder = args.checkpoint
    room = Room(num_sessions, args.rows)
    if folder is None and not args.random_weights:
        raise ConfigError("name a --checkpoint, or ask for --random-weights", param="checkpoint")
    if folder is None:
        config, dims = official()
        tokens = placeholder_tokens()
    else:
        config, dims = read_config(folder), read_dims(folder / "token2wav")
        tokens = Tokens(folder)
    needed = needs(config, dims, dtype, room, PROMPT_S * CODES_A_SECOND * dims.encoder.stride)
    print(
        f"{needed.num_weights / 1e9:.2f} billion weights with the vocoder's: "
        f"{needed.weights_bytes / GIB:.2f} GiB; {num_sessions} sessions: up to "
        f"{needed.sessions_bytes / GIB:.2f} GiB",
        file=sys.stderr,
    )
    needed.check(device)
    if args.random_weights:
        model, vocoder = random_model(config, device, dtype), random_token2wav(dims, device)
    else:
        model = load_checkpoint(folder, device, dtype)
        vocoder = load_token2wav(folder / "token2wav", device)
    return Brain(model, tokens, vocoder, room)


def _picture() -> Pixels:
    """A square of noise: one tile."""
    size = (PICTURE_PIXELS, PICTURE_PIXELS, 3)
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {psutil.cpu_count()} cores, {torch.get_num_threads()} threads"


def _most(rows: Sequence[Row]) -> int:
    """The most sessions of those tried that are in time."""
    return max((row.sessions for row in rows if row.unit_p95_ms <= IN_TIME_MS), default=0)


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__slots__}


def _show(report: dict[str, Any], audio: Sequence[Row], both: Sequence[Row]) -> None:
    console = Console()
    console.print(
        f"{report['device']}, weights: {report['weights']}, "
        f"{report['words_per_unit']} words a unit, {report['units_per_session']} units a session; "
        "ms, p50 (p95)"
    )
    for title, rows in (("audio", audio), ("audio and a frame", both)):
        table = Table("sessions", *(str(row.sessions) for row in rows), title=title)
        table.add_row("unit", *(f"{row.unit_p50_ms} ({row.unit_p95_ms})" for row in rows))
        for name in rows[0].stages_ms:
            table.add_row(name, *("{} ({})".format(*row.stages_ms[name]) for row in rows))
        table.add_row("tokens/s", *(str(row.tokens_per_s) for row in rows))
        table.add_row("codes/s", *(str(row.codes_per_s) for row in rows))
        table.add_row("GiB", *(str(row.memory_gib) for row in rows))
        console.print(table)
    console.print(f"most sessions with p95 ≤ {IN_TIME_MS} ms: {report['most_sessions']}")
