"""Transformers' causal decoders fed with rows of embeddings, several sequences in one pass.

Hides padding, positions and masks. Law: feeding rows in any grouping gives the same states.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import LlamaModel, Qwen3ForCausalLM, Qwen3Model

from omni.models.minicpmo.kv import Batch, KeyValues


@torch.inference_mode()
def feed(
    model: Qwen3Model | LlamaModel, sequences: Sequence[KeyValues], rows: Sequence[Tensor]
) -> list[Tensor]:
    """Append embeddings to each sequence's context.

    Args:
        sequences: grow by their rows.
        rows: new embeddings of each sequence, at least one. [n, D]

    Returns:
        States of the new rows after the final norm. [n, D]
    """
    batch = Batch(sequences, [len(r) for r in rows])
    padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)  # [B, n, D]
    hidden: Tensor = model(
        inputs_embeds=padded,
        position_ids=batch.positions().to(padded.device),
        attention_mask=batch.causal_mask().to(padded.device),
        past_key_values=batch,
        use_cache=True,
    ).last_hidden_state
    return [h[: len(r)] for h, r in zip(hidden, rows, strict=True)]


class LanguageModel:
    """Qwen3 with contexts of its own making."""

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        self.model = model.model
        self.head = model.lm_head
        self.device = model.lm_head.weight.device

    def embed(self, ids: Sequence[int]) -> Tensor:
        """[n, D]"""
        with torch.inference_mode():
            rows: Tensor = self.model.embed_tokens(torch.tensor(ids, device=self.device))
        return rows

    def feed(self, sequences: Sequence[KeyValues], rows: Sequence[Tensor]) -> list[Tensor]:
        return feed(self.model, sequences, rows)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] to float32 [..., vocabulary]."""
        logits: Tensor = self.head(hidden)
        return logits.float()

    def drop(self, sequence: KeyValues, start: int, stop: int) -> None:
        """Forget rows [start, stop); later ones move to the positions that are now theirs."""
        sequence.cut(start, stop)
        sequence.rotate(self.model.rotary_emb, start, start - stop)
