"""A transformers decoder over a slot pool: one forward for many contexts, ragged, no padding.

Hides how new tokens of several contexts share one pass. Law: what a row computes is what it would
compute alone in a fresh context, whatever is in the batch and however the input was cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omni.models.attention import ATTENTION, Span
from omni.models.decode_graphs import DecodeGraphs
from omni.models.kv_cache import CacheShape, SlotPool


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """New input at the end of a slot: token ids [n], or embeddings [n, D]."""

    slot: int
    input: Tensor


class Engine:
    """Runs `decoder` (a Qwen2Model, Qwen3Model, LlamaModel, without its head) on `pool`.

    The caller acquires and cuts slots through `pool`, and puts the head it wants on the hidden
    states it needs.
    """

    def __init__(self, decoder: Any, num_slots: int, slot_tokens: int) -> None:
        decoder.set_attn_implementation(ATTENTION)
        self._decoder = decoder.eval()
        self._embed = decoder.get_input_embeddings()
        norm = decoder.norm.weight
        self.pool = SlotPool(CacheShape.of(decoder), num_slots, slot_tokens, like=norm)
        self.graphs = DecodeGraphs.where_possible(decoder, self.pool)

    @torch.inference_mode()
    def forward(self, segments: Sequence[Segment]) -> list[Tensor]:
        """Last hidden states [n, D] (after the final norm) of every segment; all are cached.

        Each slot may occur once. On an error the slots are as before.

        Raises:
            StageError: a slot would outgrow its context.
        """
        spans = [Span(s.slot, s.input.shape[0]) for s in segments]
        if len({s.slot for s in spans}) < len(spans) or any(s.length == 0 for s in spans):
            raise ValueError("segments must be of different slots, none empty")
        embeddings = self._embed_all(segments)
        before = [self.pool.length(s.slot) for s in spans]
        batch = self.pool.extend(spans)
        try:
            if self.graphs and len(embeddings) == len(spans):
                rows = {s.slot: row for s, row in zip(spans, embeddings, strict=True)}
                return [row[None] for row in self.graphs.run(rows).values()]
            hidden = self._decoder(
                inputs_embeds=embeddings[None],
                position_ids=batch.positions,
                use_cache=False,
                kv=batch,
            ).last_hidden_state[0]
        except BaseException:
            for span, length in zip(spans, before, strict=True):
                self.pool.truncate(span.slot, length)
            raise
        return list(hidden.split([s.length for s in spans]))

    def _embed_all(self, segments: Sequence[Segment]) -> Tensor:
        if all(not s.input.is_floating_point() for s in segments):
            ids = torch.cat([s.input for s in segments])
            embeddings: Tensor = self._embed(ids)
            return embeddings
        return torch.cat(
            [s.input if s.input.is_floating_point() else self._embed(s.input) for s in segments]
        )
