"""Half-duplex sessions of a pack, step by step."""

from collections.abc import Iterator
from typing import Any

import torch

from omni.models.minicpmo.halfduplex import HalfDuplex
from omni.models.minicpmo.parity.bench import Bench, Step, StubStream, traced
from omni.models.minicpmo.parity.options import halfduplex_rule
from omni.models.minicpmo.parity.pack import LOGITS, STATES, Item, run_lengths
from omni.models.minicpmo.rounds import ReleasedRounds
from omni.models.minicpmo.sampling import Source, greedy
from omni.models.minicpmo.scheduler import Scheduler
from omni.models.minicpmo.turns import (
    Content,
    Frame,
    HalfDuplexSession,
    Segment,
    Unit,
)
from omni.models.minicpmo.wishes import Choose, Feed, Say, Sound, Wish


class HalfDuplexRun:
    """One recorded session played again."""

    def __init__(self, bench: Bench, item: Item) -> None:
        self.bench = bench
        self.item = item
        self.tree = item.json
        self.rounds = ReleasedRounds()
        self.uniforms: dict[str, Iterator[float]] = {}
        self.num_answers = 0
        self.num_heard = 0  # sounds of the user's turn under way

    def check(self) -> None:
        session: HalfDuplexSession | None = None
        for index, step in enumerate(self.tree["steps"]):
            half = HalfDuplex(self.bench.brain, halfduplex_rule(self.tree, step))
            if step["op"] == "prefill":
                session = self._check_prefill(half, session, index, step)
            elif session is not None:
                self._check_answer(half, session, step)
        if session is not None:
            session.close()

    def _check_prefill(
        self, half: HalfDuplex, session: HalfDuplexSession | None, index: int, step: dict[str, Any]
    ) -> HalfDuplexSession:
        steps: list[Step] = []
        contents = self._contents(step)
        before = 0 if session is None else len(session.context)
        if session is None:
            sources = (self._source("llm"), self._source("tts"))
            work = half.open(contents, StubStream(), sources, self.rounds)
            session = self._run(traced(work, steps, _nothing))[0]
        else:
            self.num_heard += sum(isinstance(c, Unit | Segment) for c in contents)
            self._run(traced(half.read(session, contents), steps, _nothing))
        [(groups, states)] = [(s.wish.groups, s.answer) for s in steps if isinstance(s.wish, Feed)]
        name = f"prefill.{index:02d}"
        rows = self.bench.brain.mind.embed(groups)
        self.item.array(f"{name}.inputs_embeds", rows, STATES)
        self.item.array(f"{name}.last_logits", self.bench.brain.llm.logits(states[-1]), LOGITS)
        actual = {
            "input_ids": self._ids(groups),
            "kv_before": before,
            "n_fed": len(rows),
            "kv_after": len(session.context),
            "apm_kv_after": len(session.hearing.past),
            "audio_chunk_idx_after": self.num_heard,
            "history": self._history(),
            "text_preserve": self.rounds.system_rows,
            "position_offset": self.rounds.num_dropped,
        }
        self.item.fields(name, step, actual)
        return session

    def _check_answer(
        self, half: HalfDuplex, session: HalfDuplexSession, step: dict[str, Any]
    ) -> None:
        chunks = [c for chunk in step["chunks"] for c in chunk.get("uniforms") or []]
        self.uniforms["llm"] = iter(chunks)
        said = [u for tts in step["tts"] for u in tts.get("uniforms") or []]
        self.uniforms["tts"] = iter(said)
        name, self.num_answers = f"gen{self.num_answers}", self.num_answers + 1
        before, self.num_heard = len(session.context), 0
        steps: list[Step] = []
        text, outputs = self._run(traced(half.answer(session), steps, _nothing))
        self._check_words(name, step, steps, half.rule.condition_tokens)
        self._check_speech(name, step, steps)
        actual = {
            "bos_ids": list(next(s.wish.groups[0].ids for s in steps if isinstance(s.wish, Feed))),
            "kv_before": before,
            "kv_after": len(session.context),
            "text": text,
            "history": self._history(),
            "outputs": [[run_lengths(said.samples), said.text] for said in outputs],
            "token2wav_calls": [
                [len(s.wish.codes), s.wish.is_last, list(s.wish.codes)]
                for s in steps
                if isinstance(s.wish, Sound)
            ],
        }
        self.item.fields(name, step, actual)

    def _check_words(self, name: str, step: dict[str, Any], steps: list[Step], size: int) -> None:
        chosen = [(s.wish, s.answer) for s in steps if isinstance(s.wish, Choose)]
        logits = self.bench.brain.llm.logits(chosen[0][0].state)
        self.item.array(f"{name}.first_logits", logits, LOGITS)
        ids = [token for _, token in chosen if token not in chosen[0][0].sampler.ids.terminators]
        self.item.same(f"{name}.ids", ids, [i for c in step["chunks"] for i in c["ids"]])
        states = [s.answer[-1] for s in steps if isinstance(s.wish, Feed)][1:]
        for index in range(0, len(states), size):
            hidden = torch.stack(states[index : index + size])
            self.item.array(f"{name}.last_hidden.{index // size}", hidden, STATES)

    def _check_speech(self, name: str, step: dict[str, Any], steps: list[Step]) -> None:
        said = [(s.wish.order, s) for s in steps if isinstance(s.wish, Say)]
        self.item.same(f"{name}.num_conditions", len(said), len(step["tts"]))
        for index, ((order, done), expected) in enumerate(zip(said, step["tts"], strict=False)):
            num_marks = 1 + expected["text_finished"]
            words = order.condition[: len(order.condition) - num_marks]
            self.item.array(f"{name}.tts_condition.{index}", words, STATES)
            actual = {
                "n_condition": len(words),
                "generated": done.answer,
                "text_start_pos_after": done.num_rows,
            }
            self.item.fields(f"{name}.tts.{index}", expected, actual)

    def _run(self, work: Any) -> tuple[Any, list[Any]]:
        scheduler = Scheduler(self.bench.brain)
        job = scheduler.submit(work)
        while not job.is_done:
            scheduler.step()
        return job.result, job.outputs

    def _contents(self, step: dict[str, Any]) -> list[Content]:
        is_system = step["desc"]["role"] == "system"
        is_streamed = self.tree["stream_input"] and not is_system
        contents: list[Content] = []
        for kind, value, *rest in step["desc"]["content"]:
            if kind == "text":
                contents.append(value)
            elif kind == "image":
                limit = step["kwargs"].get("max_slice_nums", 1)
                contents.append(Frame(self.bench.pack.inputs[value], limit))
            else:
                samples = self.bench.pack.sound(value)
                if rest[0]:
                    samples = samples[rest[0][0] : rest[0][1]]
                contents.append(Unit(samples) if is_streamed else Segment(samples))
        return contents

    def _ids(self, groups: Any) -> list[int]:
        """Ids as written: embeddings stand in places of `<unk>`."""
        unknown = self.bench.tokens.ids.unk
        return [i for g in groups for i in (g.ids if g.embeds is None else [unknown] * len(g))]

    def _history(self) -> list[dict[str, Any]]:
        return [
            {"length": e.length, "type": e.kind, "round": e.round_index}
            for e in self.rounds.entries
        ]

    def _source(self, which: str) -> Source:
        is_drawn = {
            "llm": self.tree["llm_sampling"]["do_sample"],
            "tts": self.tree["tts_sampler"] == "uniform",
        }
        return (lambda: next(self.uniforms[which])) if is_drawn[which] else greedy


def check_halfduplex(bench: Bench, item: Item) -> None:
    HalfDuplexRun(bench, item).check()


def _nothing(wish: Wish) -> None:
    """Every wish is answered by the models."""
