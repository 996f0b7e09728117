"""Contexts of a decoder: the LLM's and the speech LM's, each a slot of an engine's pool.

Hides slots behind an object that knows its length and gives its slot back.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM, Qwen3ForCausalLM

from omni.models.engine import Engine, Segment


class Context:
    """What one sequence has seen. Raises SessionCapacity if the engine has no slot left."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.slot = engine.pool.acquire()

    def __len__(self) -> int:
        return self.engine.pool.length(self.slot)

    @property
    def position(self) -> int:
        """Where the next row will be."""
        return self.engine.pool.position(self.slot)

    @property
    def room(self) -> int:
        """Rows it can still take."""
        return self.engine.pool.slot_tokens - len(self)

    def clear(self) -> None:
        self.truncate(0)

    def truncate(self, length: int) -> None:
        """Forget all rows but the first so many."""
        self.engine.pool.truncate(self.slot, length)

    def close(self) -> None:
        self.engine.pool.release(self.slot)

    def drop(self, start: int, stop: int) -> None:
        """Forget rows [start, stop); later ones move to the positions that are now theirs."""
        self.engine.pool.drop(self.slot, start, stop)

    def replace(self, start: int, stop: int, rows: Tensor) -> None:
        """Put other rows [n, D] where [start, stop) was; later ones move."""
        tail = self.engine.pool.cut_tail(self.slot, stop)
        self.engine.pool.truncate(self.slot, start)
        feed(self.engine, [self], [rows])
        self.engine.pool.append(self.slot, tail)


def feed(engine: Engine, contexts: Sequence[Context], rows: Sequence[Tensor]) -> list[Tensor]:
    """Append rows [n, D] to each context; states of the new rows after the final norm. [n, D]"""
    pairs = zip(contexts, rows, strict=True)
    return engine.forward([Segment(context.slot, r) for context, r in pairs])


class LanguageModel:
    """Qwen3, or the Qwen2 of 2.6, over a pool of contexts.

    Args:
        num_contexts: sessions that can be open at once.
        context_tokens: rows each of them can hold.
    """

    def __init__(
        self, model: Qwen2ForCausalLM | Qwen3ForCausalLM, num_contexts: int, context_tokens: int
    ) -> None:
        self.head = model.lm_head
        self.table = model.model.embed_tokens
        self.engine = Engine(model.model, num_contexts, context_tokens)

    def open(self) -> Context:
        return Context(self.engine)

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """[n, D]"""
        rows: Tensor = self.table(
            torch.tensor(ids, dtype=torch.long, device=self.table.weight.device)
        )
        return rows

    def feed(self, contexts: Sequence[Context], rows: Sequence[Tensor]) -> list[Tensor]:
        return feed(self.engine, contexts, rows)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] to float32 [..., vocabulary]."""
        logits: Tensor = self.head(hidden)
        return logits.float()
