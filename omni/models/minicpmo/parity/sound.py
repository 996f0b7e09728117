"""The ear against a pack: streamed units as sessions push them, and finished sounds."""

import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from omni.models.minicpmo import mel
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.halfduplex import HalfDuplex
from omni.models.minicpmo.parity.bench import Bench, StubStream, traced
from omni.models.minicpmo.parity.pack import LOGITS, STATES, Item
from omni.models.minicpmo.sampling import greedy
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.turns import HalfDuplexRule, Unit
from omni.models.minicpmo.unit import UNIT_SAMPLES, DuplexRule, SystemPrompt, UnitInput
from omni.models.minicpmo.wishes import Decide, Hear, Wish, Work

_CACHE = re.compile(r"([kv])_layer(\d+)_last(\d+)\.(\d+)")
_FIRST = re.compile(r"chunk00_first(\d+)")
_CLIP_START = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One unit that went through the ear."""

    mel: Tensor
    left: int
    right: int
    hidden: Tensor
    embeds: Tensor
    keys: list[Tensor]
    values: list[Tensor]


class Listener:
    """Answers what a session wishes to hear, and notes it; a duplex session only ever listens."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.units: list[Heard] = []

    def run(self, work: Work[Any]) -> Any:
        return run(self.bench.brain, traced(work, [], self._answer))

    def _answer(self, wish: Wish) -> Any:
        if isinstance(wish, Decide):
            return self.bench.tokens.ids.listen
        if not isinstance(wish, Hear):
            return None
        ear, past = self.bench.brain.ear, wish.past
        [hidden] = ear.stream([past], [wish.chunk])
        embeds = ear.embed(hidden)
        chunk = wish.chunk
        unit = Heard(chunk.frames, chunk.left, chunk.right, hidden, embeds, past.keys, past.values)
        self.units.append(replace(unit, keys=list(past.keys), values=list(past.values)))
        return embeds


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """A duplex session that heard all of a pack's recording."""

    units: list[Heard]
    first_samples: Tensor
    buffer_lengths: list[int]


def listen(bench: Bench) -> Listening:
    """Push the recording through a duplex session, second by second."""
    listener = Listener(bench)
    duplex = Duplex(bench.brain, DuplexRule(is_spoken=False))
    prompt = SystemPrompt("<|im_start|>system\n", "<|im_end|>")
    session = listener.run(duplex.open(prompt, None, greedy, greedy))
    recording = bench.pack.sound("audio_stream")
    first = torch.empty(0)
    lengths: list[int] = []
    for start in range(0, len(recording) - UNIT_SAMPLES + 1, UNIT_SAMPLES):
        samples = recording[start : start + UNIT_SAMPLES]
        listener.run(duplex.unit(session, UnitInput(samples)))
        first = session.hearing.mel.samples if not lengths else first
        lengths.append(len(session.hearing.mel.samples))
    session.close()
    return Listening(listener.units, first, lengths)


def check_mel_stream(bench: Bench, item: Item) -> None:
    item.array("mel_filters", torch.from_numpy(mel.FILTERS), STATES)
    heard = bench.once(listen)
    for index, unit in enumerate(heard.units):
        item.array(f"mel.{index:02d}", unit.mel, STATES)
    for key in item.keys:
        match = _FIRST.fullmatch(key)
        if match:
            item.array(key, heard.first_samples[: int(match[1])], STATES)


def check_apm_stream(bench: Bench, item: Item) -> None:
    units = bench.once(listen).units
    for index, unit in enumerate(units):
        item.array(f"hidden.{index:02d}", unit.hidden, STATES)
    item.array("embeds", torch.stack([unit.embeds for unit in units]), STATES)
    for name in item.keys:
        match = _CACHE.fullmatch(name)
        if match:
            unit = units[int(match[4])]
            states = (unit.keys if match[1] == "k" else unit.values)[int(match[2])]
            item.array(name, states[:, -int(match[3]) :], LOGITS)


def check_audio_stream(bench: Bench, item: Item) -> None:
    heard = bench.once(listen)
    for index, expected in enumerate(item.json["units"]):
        unit = heard.units[index]
        frames_a_unit = UNIT_SAMPLES // mel.HOP
        actual = {
            "unit": index,
            "frames": unit.mel.shape[1],
            "core_start": index * frames_a_unit,
            "core_end": (index + 1) * frames_a_unit,
            "prefix_extra_frames": unit.left,
            "suffix_extra_frames": unit.right,
            "buffer_len_samples": heard.buffer_lengths[index],
            "n_embeds": len(unit.embeds),
            "apm_kv_after": unit.keys[0].shape[1],
        }
        item.fields(f"u{index:02d}", expected, actual)


def check_apm_halfduplex(bench: Bench, item: Item) -> None:
    listener = Listener(bench)
    half = HalfDuplex(bench.brain, HalfDuplexRule())
    session = listener.run(half.open(["."], StubStream(), (greedy, greedy)))
    for index, expected in enumerate(item.json):
        start = index * UNIT_SAMPLES
        samples = bench.pack.stream((start, start + UNIT_SAMPLES))
        listener.run(half.read(session, [Unit(samples)]))
        unit = listener.units[-1]
        item.array(f"mel.{index}", unit.mel, STATES)
        item.array(f"embeds.{index}", unit.embeds, STATES)
        actual = {"frames": unit.mel.shape[1], "kv": unit.keys[0].shape[1]}
        item.fields(f"u{index}", expected, actual)
    session.close()


def check_apm_offline(bench: Bench, item: Item) -> None:
    ear = bench.brain.ear
    for case in item.json:
        name, chunk_s = case["case"], case["chunk_length"]
        clips = _clips(bench, case)
        embeds = ear.clips(clips, chunk_s if chunk_s > 0 else None)
        item.array(f"{name}.embeds", embeds[0], STATES)
        item.array(f"{name}.mel", mel.clip(clips[0][: mel.PIECE_SAMPLES]), STATES)
        for index, rows in enumerate(embeds):
            item.array(f"{name}.embeds.{index}", rows, STATES)
        item.fields(name, case, {"n_embeds": len(embeds[0])} if len(embeds) == 1 else {})


def _clips(bench: Bench, case: dict[str, Any]) -> list[Tensor]:
    """The sounds of a case (a pack's README, 3.6)."""
    samples = case["samples"]
    if isinstance(samples, list):
        starts = [0, 30000]
        return [bench.pack.stream((s, s + n)) for s, n in zip(starts, samples, strict=True)]
    if case["case"] == "ref_audio":
        return [bench.pack.sound("ref_audio")]
    start = 0 if samples > mel.PIECE_SAMPLES else _CLIP_START
    return [bench.pack.stream((start, start + samples))]
