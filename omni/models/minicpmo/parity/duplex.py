"""Duplex sessions of a pack, run unit by unit as a stage would run them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omni.media import slicing
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.parity.bench import Bench, Step, StubStream, traced
from omni.models.minicpmo.parity.options import duplex_rule, system_prompt
from omni.models.minicpmo.parity.pack import LOGITS, STATES, Item, run_lengths
from omni.models.minicpmo.prompt import Group
from omni.models.minicpmo.sampling import Source, greedy
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.unit import (
    DuplexSession,
    UnitInput,
    UnitOutput,
)
from omni.models.minicpmo.wishes import Decide, Feed, Hear, HearClip, Say, See, Sound, Wish

_SECOND = 24000
_OTHER_FEEDS = 3  # of a unit: what it perceives, that it speaks, its end


class DuplexRun:
    """One recorded session played again."""

    def __init__(self, bench: Bench, item: Item) -> None:
        self.bench = bench
        self.item = item
        self.tree = item.json
        self.duplex = Duplex(bench.brain, duplex_rule(item.json))
        self.script: Iterator[int] = iter(())
        self.uniforms: dict[str, Iterator[float]] = {}

    def check(self) -> None:
        session = self._open()
        for index, unit in enumerate(self.tree["inputs"]):
            self._check_unit(session, index, unit)
        last = self.bench.brain.llm.engine.pool
        for layer in range(last.keys.shape[0]):
            keys = last.keys[
                layer, session.thinking.context.slot, :, : len(session.thinking.context)
            ]
            self.item.array(f"final_kv.k{layer}", keys, LOGITS)
        session.close()

    def _open(self) -> DuplexSession:
        expected = self.tree["expect"]["prepare"]
        steps: list[Step] = []
        stream = StubStream() if self.duplex.rule.is_spoken else None
        prompt = system_prompt(self.tree, self.bench)
        work = self.duplex.open(prompt, stream, self._source("llm"), self._source("tts"))
        session: DuplexSession = run(self.bench.brain, traced(work, steps, self._answer))
        for step in steps:
            if isinstance(step.wish, HearClip):
                self.item.array("prepare.ref_embeds", step.answer, STATES)
        self.item.fields(
            "prepare",
            expected | {"feeds": _flat(expected["feeds"])},
            {
                "feeds": _fed(steps),
                "kv_len": len(session.thinking.context),
                "system_preserve_length": session.thinking.window.system_rows,
            },
        )
        self.item.same("context_filter_ids", *self._filter(session))
        return session

    def _filter(self, session: DuplexSession) -> tuple[bool, bool]:
        """The pack lists what is never re-told; it must be so here, or never be a token said."""
        listed = self.tree.get("context_filter_ids")
        if listed is None:
            return True, True
        return set(listed) <= session.thinking.window.unsaid, True

    def _check_unit(self, session: DuplexSession, index: int, given: dict[str, Any]) -> None:
        expected = self.tree["expect"]["units"][index]
        if self.tree["sampler"] == "script":
            self.script = iter(self.tree["script"][index])
        calls = expected.get("llm_uniforms") or []
        self.uniforms["llm"] = iter([number for call in calls for number in call])
        self.uniforms["tts"] = iter((expected.get("tts") or {}).get("uniforms") or [])
        before = {
            "kv_before": len(session.thinking.context),
            "turn_ended_before": not session.thinking.is_turn_open,
        }
        spoken_before = (len(session.speaking.context), session.speaking.context.position)
        steps: list[Step] = []
        work = self.duplex.unit(session, self._input(given))
        output: UnitOutput = run(self.bench.brain, traced(work, steps, self._answer))
        name = f"u{index:02d}"
        flat = expected | {"feeds": _flat(expected["feeds"])}
        self.item.fields(name, flat, before | self._values(session, steps, output))
        self._check_speech(name, expected, steps, spoken_before)
        self._check_window(name, expected, session)
        self._check_arrays(name, steps)

    def _input(self, given: dict[str, Any]) -> UnitInput:
        frames = given.get("frames") or []
        limits = given.get("max_slice_nums", 1)
        if isinstance(limits, int):
            limits = [limits] * len(frames)
        pictures = [self.bench.pack.inputs[key] for key in frames]
        samples = given.get("audio") and self.bench.pack.stream(given["audio"])
        forced = bool(given.get("force_listen"))
        return UnitInput(samples, list(zip(pictures, limits, strict=True)), forced)

    def _values(
        self, session: DuplexSession, steps: list[Step], output: UnitOutput
    ) -> dict[str, Any]:
        """Our side of everything discrete a pack says of a unit."""
        feeds = [s for s in steps if isinstance(s.wish, Feed)]
        # The release counts the unit's end as generated, the demo does not.
        generated = feeds[-1] if self.tree["variant"] == "release" else feeds[-2]
        wave = self._wave(output)
        return {
            "feeds": _fed(steps),
            "n_prefill_segments": len(_groups(feeds[:1])),
            "kv_after_prefill": feeds[0].num_rows,
            "kv_after_generate": generated.num_rows,
            "kv_after_unit": len(session.thinking.context),
            "sampled": [s.answer for s in steps if isinstance(s.wish, Decide)],
            "total_ids": [i for group in _groups(feeds[1:]) for i in group.ids],
            "is_listen": output.is_listen,
            "end_of_turn": output.is_turn_end,
            "text": output.text,
            "n_tokens": max(0, len(feeds) - _OTHER_FEEDS),
            "n_tts_tokens": len(output.codes),
            "condition_ids": list(output.ids),
            "turn_ended_after": not session.thinking.is_turn_open,
            "token2wav_calls": [
                [len(s.wish.codes), s.wish.is_last, list(s.wish.codes)]
                for s in steps
                if isinstance(s.wish, Sound)
            ],
            "token2wav_buffer_after": session.speaking.codes,
            "tts_text_start_pos_after": session.speaking.context.position,
            "tts_kv_after": len(session.speaking.context),
            "audio_rle": None if wave is None else run_lengths(wave),
            "mode": _mode(feeds[0]).upper(),
            "tgt_sizes": self._tile_sizes(steps),
        }

    def _tile_sizes(self, steps: list[Step]) -> list[list[int]]:
        """Rows and columns of patches of every tile that was looked at."""
        rule = self.bench.brain.eye.slicing
        seen = [s.wish for s in steps if isinstance(s.wish, See)]
        tiles = [tile for see in seen for tile in slicing.cut(see.picture, see.max_slices, rule)]
        return [list(slicing.patch_size(tile, rule)) for tile in tiles]

    def _wave(self, output: UnitOutput) -> Tensor | None:
        """What the recorded classes returned: at least a second, silence first; the release
        nothing where it said nothing."""
        missing = 0 if output.is_turn_end else max(0, _SECOND - len(output.samples))
        if len(output.samples):
            return functional.pad(output.samples, (missing, 0))
        is_nothing = self.tree["variant"] == "release" and not output.is_listen
        return None if is_nothing else torch.zeros(_SECOND)

    def _check_speech(
        self, name: str, expected: dict[str, Any], steps: list[Step], before: tuple[int, int]
    ) -> None:
        said = [(s.wish.order, s) for s in steps if isinstance(s.wish, Say)]
        self.item.same(f"{name}.speaks", bool(said), "tts" in expected)
        for order, step in said:
            actual = {
                "kv_before": before[0],
                "text_start_pos": before[1],
                "min_new_tokens": order.min_codes and order.max_codes + 1,  # "more than it may say"
                "max_new_token": order.max_codes + 1,
                "n_condition": len(order.condition),
                "codes": step.answer,
                "kv_after": step.num_rows,
            }
            self.item.fields(f"{name}.tts", expected.get("tts", {}), actual)
            self.item.array(f"{name}.tts_condition", order.condition, STATES)
        fed = [s.answer[-1] for s in steps if isinstance(s.wish, Feed)]
        if said and len(fed) > 3:
            self.item.array(f"{name}.condition_hidden", torch.stack(fed[2:-1]), STATES)

    def _check_window(self, name: str, expected: dict[str, Any], session: DuplexSession) -> None:
        window, decode = session.thinking.window, self.bench.tokens.decode
        is_context = window.rule.kind == "context"
        state = {
            "system_preserve_length": window.system_rows,
            "preserve_prefix_length": window.prefix_rows if is_context else 0,
            "previous_ids": list(window.told),
            "previous_text": decode(window.previous),
            "dropped_units": window.num_dropped,
            "sliding_events": window.num_slides,
        }
        self.item.fields(f"{name}.window", expected.get("window", {}), state)
        units = [
            {
                "unit_id": unit.index,
                "length": unit.num_rows,
                "is_listen": unit.is_listen,
                "text": decode(unit.said),
            }
            for unit in window.units
        ]
        if "units_in_window" in expected:
            listed = [{k: unit[k] for k in units[0]} for unit in expected["units_in_window"]]
            self.item.same(f"{name}.units_in_window", units, listed)

    def _check_arrays(self, name: str, steps: list[Step]) -> None:
        llm = self.bench.brain.llm
        decided = [s.wish.state for s in steps if isinstance(s.wish, Decide)]
        read = next(s.answer[-1] for s in steps if isinstance(s.wish, Feed))
        kind, states = ("step", torch.stack(decided)) if decided else ("prefill", read[None])
        logits = llm.logits(states)
        special = [self.bench.tokens.encode(text)[0] for text in self.tree.get("special_order", [])]
        self.item.array(f"{name}.{kind}_logits", logits, LOGITS)
        self.item.array(f"{name}.{kind}_special", logits[:, special], LOGITS)
        self.item.top(f"{name}.{kind}_top8", logits, 8)
        for step in steps:
            if isinstance(step.wish, Hear):
                self.item.array(f"{name}.audio_embeds", step.answer, STATES)
        tiles = [tile for s in steps if isinstance(s.wish, See) for tile in s.answer]
        if tiles:
            self.item.array(f"{name}.image_embeds", torch.stack(tiles), STATES)

    def _source(self, which: str) -> Source:
        kind = self.tree["sampler"] if which == "llm" else self.tree["tts_sampler"]
        return (lambda: next(self.uniforms[which])) if kind == "uniform" else greedy

    def _answer(self, wish: Wish) -> Any:
        """A scripted run replaces the sampler, and nothing else."""
        is_scripted = self.tree["sampler"] == "script" and isinstance(wish, Decide)
        return next(self.script) if is_scripted else None


def check_duplex(bench: Bench, item: Item) -> None:
    DuplexRun(bench, item).check()


def _groups(feeds: Sequence[Step]) -> list[Group]:
    return [group for s in feeds if isinstance(s.wish, Feed) for group in s.wish.groups]


def _fed(steps: Sequence[Step]) -> list[Any]:
    """Rows in the order they were fed: ids, and runs of embeddings."""
    rows: list[Any] = []
    for group in _groups(steps):
        rows += group.ids if group.embeds is None else [len(group)]
    return rows


def _flat(feeds: Sequence[Sequence[Any]]) -> list[Any]:
    return [row for _, rows in feeds for row in (rows if isinstance(rows, list) else [rows])]


def _mode(prefill: Step) -> str:
    seen = {group.modality for group in _groups([prefill])} - {"text"}
    return {"audio": "audio", "image": "vision"}.get("".join(seen), "omni")
