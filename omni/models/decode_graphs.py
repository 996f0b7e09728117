"""Decode steps recorded once and replayed: one launch for a token of every session, not a thousand.

Hides shapes: a step is recorded for the first S slots and K keys of a pool, in powers of two, and
serves all that are not larger. A slot that has no part in a step writes one row behind its end,
which nobody reads. Law: a row computes what it would compute in `Engine.forward` without this.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from omni.models.attention import from_first
from omni.models.kv_cache import SlotPool

MIN_KEYS: Final = 256
WARM_UP_RUNS: Final = 2  # libraries choose their kernels, which cannot be done while recording

Recorder = Callable[[Callable[[], Any]], Callable[[], Any]]
"""Takes work on tensors that stay where they are; returns what does the same work again."""


def cuda_graph(work: Callable[[], Any]) -> Callable[[], Any]:
    """Record work on the current CUDA device, as PyTorch's notes on CUDA graphs say. Other threads
    may go on using the device meanwhile."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_RUNS):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = work()

    def replay() -> Any:
        graph.replay()
        return output

    return replay


class DecodeGraphs:
    """Args:
    decoder: a transformers decoder whose attention goes through slot pools.
    pool: its contexts, none in use yet: recording writes to them.
    record: `cuda_graph`.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Any, pool: SlotPool, record: Recorder) -> None:
        self._decoder = decoder
        self._pool = pool
        num_slots, device = pool.keys.shape[1], pool.keys.device
        size = decoder.config.hidden_size
        self._embeddings = torch.zeros(1, num_slots, size, dtype=pool.keys.dtype, device=device)
        self._rows = torch.zeros(num_slots, dtype=torch.long, device=device)
        self._positions = torch.zeros_like(self._rows)
        self._steps = {
            (slots, keys): record(self._step(slots, keys))
            for slots in _powers(1, num_slots)
            for keys in _powers(MIN_KEYS, pool.slot_tokens)
        }

    @classmethod
    def where_possible(cls, decoder: Any, pool: SlotPool) -> "DecodeGraphs | None":
        """On CUDA; None elsewhere, or where the decoder does what cannot be recorded."""
        if pool.keys.device.type != "cuda":
            return None
        try:
            return cls(decoder, pool, cuda_graph)
        except RuntimeError:
            logging.getLogger(__name__).warning("decode steps are not recorded", exc_info=True)
            return None

    def run(self, embeddings: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """One token for each of these slots: embeddings [D] in, last hidden states [D] out.

        The pool has been extended by the tokens already.
        """
        pool, lengths = self._pool, self._pool.lengths
        num_slots = _at_least(max(embeddings) + 1, 1, len(lengths))
        num_keys = _at_least(max(lengths[slot] for slot in embeddings), MIN_KEYS, pool.slot_tokens)
        # A slot's new token is its last row; of the others, the row behind their last.
        rows = [length - (slot in embeddings) for slot, length in enumerate(lengths[:num_slots])]
        positions = [pool.position(slot) - 1 for slot in range(num_slots)]
        self._rows[:num_slots] = torch.tensor(rows)
        self._positions[:num_slots] = torch.tensor(positions).clamp(min=0)
        chosen = torch.tensor(list(embeddings), device=self._rows.device)
        self._embeddings[0, chosen] = torch.stack(list(embeddings.values()))
        hidden = self._steps[num_slots, num_keys]()[chosen]  # a copy: the next step writes there
        return dict(zip(embeddings, hidden, strict=True))

    def _step(self, num_slots: int, num_keys: int) -> Callable[[], Tensor]:
        def work() -> Tensor:
            rows, positions = self._rows[:num_slots], self._positions[:num_slots]
            batch = from_first(self._pool.cache, rows, positions, num_keys)
            hidden: Tensor = self._decoder(
                inputs_embeds=self._embeddings[:, :num_slots],
                position_ids=batch.positions,
                use_cache=False,
                kv=batch,
            ).last_hidden_state[0]
            return hidden

        return work


def _powers(first: int, last: int) -> list[int]:
    """first, 2 first, 4 first, … last."""
    powers = []
    while first < last:
        powers.append(first)
        first *= 2
    return [*powers, last]


def _at_least(number: int, first: int, last: int) -> int:
    return next(power for power in _powers(first, last) if power >= number)
