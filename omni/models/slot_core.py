"""The core that steps many contexts together: a decoder on slots, its sessions batched.

Hides scheduling and sampling. Law: greedy or seeded, a reply is the same whatever the others do,
up to the arithmetic of batched float sums.
"""

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor

from omni.models.core import ChatMessage, FinishReason, Request, Step, check_prompt, plain
from omni.models.engine import Segment
from omni.models.kv_cache import SlotPool
from omni.models.repetition import is_breaker, penalties
from omni.models.slots import Slot, SlotTable, worth_copying

PREFILL_TOKENS = 64  # prompt tokens a step takes in, of all sessions: bounds how long others wait
TOP_K, TOP_P = 40, 0.95  # llama.cpp's own, so that both cores draw alike


class Decoder(Protocol):
    """A causal language model on a pool of contexts."""

    pool: SlotPool

    def forward(self, segments: Sequence[Segment]) -> list[Tensor]:
        """Last hidden states [n, D] of every segment of token ids; all are cached."""

    def logits(self, hidden: Tensor) -> Tensor:  # [N, D] -> [N, V]
        """Scores of the token after each row."""


class SlotCore:
    """Args:
    decoder: its slots are all for this core.
    tokenizer: the model's fast one, with a chat template.
    end_ids: tokens that end a reply.
    dry_multiplier: how hard it is to repeat oneself; 0 is as easy as the model finds it.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Any,
        end_ids: Collection[int],
        dry_multiplier: float = 0.0,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._end_ids = frozenset(end_ids)
        self._dry_multiplier = dry_multiplier
        self._is_breaker = functools.cache(lambda token: is_breaker(tokenizer.decode([token])))
        self._slots = SlotTable(decoder.pool.num_slots)
        for slot in self._slots:
            slot.index = decoder.pool.acquire()
        self._jobs: dict[str, _Job] = {}

    @property
    def _context_tokens(self) -> int:
        return self._decoder.pool.slot_tokens

    def encode_chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            [_parsed(message) for message in plain(messages)],
            tools=plain(tools) or None,
            add_generation_prompt=True,
            return_dict=False,
        )
        return ids

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(
            text, add_special_tokens=False, split_special_tokens=True
        )
        return ids

    def submit(self, request: Request) -> None:
        check_prompt(request.ids, self._context_tokens)
        self.cancel(request.session_id)
        slot = self._slots.claim(request.session_id, request.ids)
        self._seed(slot, request.ids)
        # One token is always computed: the reply starts from its hidden state.
        num_cached = min(slot.match(request.ids), len(request.ids) - 1)
        self._decoder.pool.truncate(slot.index, num_cached)
        slot.cached = request.ids[:num_cached]
        self._jobs[request.session_id] = _Job(request, slot)

    def cancel(self, session_id: str) -> None:
        self._jobs.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        self.cancel(session_id)
        self._slots.free(session_id)

    def fork(self, session_id: str, new_session_id: str) -> None:
        source = self._slots.find(session_id)
        ids = source.cached if source else ()
        self._seed(self._slots.claim(new_session_id, ids), ids)

    def cached_tokens(self, session_id: str) -> int:
        slot = self._slots.find(session_id)
        return len(slot.cached) if slot else 0

    def has_work(self) -> bool:
        return bool(self._jobs)

    def step(self) -> list[Step]:
        batch = self._batch()
        if not batch:
            return []
        hidden = self._decoder.forward(
            [Segment(job.slot.index, torch.tensor(ids)) for job, ids in batch]
        )
        for job, ids in batch:
            job.slot.cached = (*job.slot.cached, *ids)
            del job.pending[: len(ids)]
        ready = [
            (job, rows[-1]) for (job, _), rows in zip(batch, hidden, strict=True) if not job.pending
        ]
        return self._advance(ready) if ready else []

    def close(self) -> None:
        self._jobs.clear()
        del self._decoder

    def _seed(self, slot: Slot, ids: Sequence[int]) -> None:
        source = worth_copying(slot, ids, self._slots)
        if source:
            length = source.match(ids)
            self._decoder.pool.copy(source.index, slot.index, length)
            slot.cached = source.cached[:length]

    def _batch(self) -> "list[tuple[_Job, list[int]]]":
        """What each waiting session computes now: its next token, or a share of the budget."""
        budget, batch = PREFILL_TOKENS, []
        for job in self._jobs.values():
            if len(job.pending) == 1:
                batch.append((job, list(job.pending)))
            elif budget:
                part = job.pending[:budget]
                budget -= len(part)
                batch.append((job, part))
        return batch

    @torch.inference_mode()
    def _advance(self, ready: "list[tuple[_Job, Tensor]]") -> list[Step]:
        """Draw the next token of every session whose context is computed."""
        drawing = [(job, row) for job, row in ready if job.request.max_tokens]
        steps = [self._finish(job, "", "length") for job, _ in ready if not job.request.max_tokens]
        if not drawing:
            return steps
        logits = self._decoder.logits(torch.stack([row for _, row in drawing]))
        for (job, _), scores in zip(drawing, logits, strict=True):
            self._dry(job, scores)
            token = job.draw(scores)
            if token in self._end_ids:
                steps.append(self._finish(job, "", "stop"))
                continue
            text = job.stream.step(self._tokenizer.backend_tokenizer, token) or ""
            job.drawn.append(token)
            if len(job.drawn) == job.request.max_tokens or self._is_full(job):
                steps.append(self._finish(job, text, "length"))
                continue
            job.pending.append(token)
            if text:
                steps.append(job.step(text, None))
        return steps

    def _dry(self, job: "_Job", scores: Tensor) -> None:
        """Take from the logits [V] of what would be said again."""
        if self._dry_multiplier:
            lost = penalties(job.drawn, self._dry_multiplier, self._is_breaker)
            for token, penalty in lost.items():
                scores[token] -= penalty

    def _is_full(self, job: "_Job") -> bool:
        return len(job.slot.cached) >= self._context_tokens

    def _finish(self, job: "_Job", text: str, reason: FinishReason) -> Step:
        del self._jobs[job.request.session_id]
        return job.step(text, reason)


class _Job:
    """One request: what of it is still to be computed, and how its tokens are drawn."""

    def __init__(self, request: Request, slot: Slot) -> None:
        self.request = request
        self.slot = slot
        self.num_cached = len(slot.cached)
        self.pending = list(request.ids[self.num_cached :])
        self.drawn: list[int] = []
        self.stream = DecodeStream(skip_special_tokens=True)
        self._generator = torch.Generator().manual_seed(request.seed)

    def step(self, text: str, reason: FinishReason | None) -> Step:
        request = self.request
        return Step(
            request.session_id,
            request.request_id,
            text,
            reason,
            len(request.ids),
            self.num_cached,
        )

    def draw(self, scores: Tensor) -> int:
        """A token id from logits [V]."""
        if self.request.temperature <= 0:
            return int(scores.argmax())
        values, ids = scores.topk(min(TOP_K, len(scores)))
        chances = (values / self.request.temperature).softmax(-1)
        chances[chances.cumsum(-1) - chances > TOP_P] = 0
        return int(ids[torch.multinomial(chances, 1, generator=self._generator)])


def _parsed(message: ChatMessage) -> ChatMessage:
    """Templates write a call's arguments as JSON themselves: they want the object, not its text."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    if not calls:
        return message
    parsed = [{**call, "arguments": json.loads(call["arguments"])} for call in calls]
    return {**message, "tool_calls": [{"type": "function", "function": call} for call in parsed]}
