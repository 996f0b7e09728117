"""The decoder that `gguf.py` wrote, run by ONNX Runtime on a pool of slots.

Hides which slots share a run: contexts that each take one token go together, a longer input goes
alone. Law: a run reads and writes the slots where they lie; nothing of a cache is ever copied.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from omni.models.attention import Span
from omni.models.engine import Segment
from omni.models.kv_cache import CacheShape, SlotPool
from omni.models.onnx_session import open_session

Slots = tuple[int, int]  # first, and one past the last


class OnnxDecoder:
    """`folder`: what `gguf.convert` wrote; `num_slots` contexts of `context_tokens` each."""

    def __init__(
        self, folder: Path, num_slots: int = 4, context_tokens: int = 2048, num_threads: int = 1
    ) -> None:
        self.config = AutoConfig.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        table = load_file(folder / "embeddings.safetensors")
        self._rows, self._scales = table["rows"], table["scales"]
        shape = _shape(self.config)
        self.pool = SlotPool(shape, num_slots, context_tokens, like=torch.empty(0))
        angles = torch.arange(context_tokens + 1)[:, None] * shape.inv_freq
        self._rotation = {"cos": angles.cos().numpy(), "sin": angles.sin().numpy()}
        self._decoder = open_session(folder / "decoder.onnx", num_threads)
        self._head = open_session(folder / "head.onnx", num_threads)
        self._bindings: dict[Slots, ort.IOBinding] = {}

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a reply, by the model's config and its tokenizer's."""
        named = self.config.eos_token_id
        ids = [*(named if isinstance(named, list) else [named]), self.tokenizer.eos_token_id]
        return frozenset(i for i in ids if i is not None)

    def forward(self, segments: Sequence[Segment]) -> list[Tensor]:
        """Last hidden states [n, D] (after the final norm) of every segment; all are cached.

        Each slot may occur once, with token ids [n] as its input. On an error the slots are as
        before.

        Raises:
            StageError: a slot would outgrow its context.
        """
        before = {s.slot: self.pool.length(s.slot) for s in segments}
        self.pool.grow([Span(s.slot, len(s.input)) for s in segments])
        try:
            single = [s for s in segments if len(s.input) == 1]
            # Others have a row written behind their end by this run, which is theirs to overwrite.
            hidden = self._together(single, before) if len(single) > 1 else {}
            for segment in segments:
                if segment.slot not in hidden:
                    hidden[segment.slot] = self._alone(segment, before[segment.slot])
        except BaseException:
            for slot, length in before.items():
                self.pool.truncate(slot, length)
            raise
        return [hidden[s.slot] for s in segments]

    def logits(self, hidden: Tensor) -> Tensor:  # [N, D] -> [N, V]
        (scores,) = self._head.run(["logits"], {"hidden": hidden.numpy()})
        return torch.from_numpy(scores)

    def _alone(self, segment: Segment, start: int) -> Tensor:
        return self._run((segment.slot, segment.slot + 1), segment.input[None], [start])[0]

    def _together(self, segments: Sequence[Segment], before: dict[int, int]) -> dict[int, Tensor]:
        """One token each: a run over the slots from the first to the last of them."""
        slots = min(s.slot for s in segments), max(s.slot for s in segments) + 1
        ids = torch.zeros(slots[1] - slots[0], 1, dtype=torch.int64)
        for segment in segments:
            ids[segment.slot - slots[0]] = segment.input
        starts = [before.get(slot, self.pool.length(slot)) for slot in range(*slots)]
        hidden = self._run(slots, ids, starts)
        return {s.slot: hidden[s.slot - slots[0]] for s in segments}

    def _run(self, slots: Slots, ids: Tensor, starts: Sequence[int]) -> Tensor:
        """Hidden states [B, N, D] of ids [B, N], whose first are at `starts`."""
        x = (self._rows[ids].float() * self._scales[ids]).numpy()
        hidden = np.empty_like(x)
        last = np.array(starts, np.int32) + np.int32(ids.shape[1] - 1)
        binding = self._binding(slots)
        binding.bind_cpu_input("x", x)
        binding.bind_cpu_input("last", last)
        binding.bind_cpu_input("total", np.array(last.max() + 1, np.int32))
        _bind(binding.bind_output, "hidden", hidden)
        self._decoder.run_with_iobinding(binding)
        return torch.from_numpy(hidden)

    def _binding(self, slots: Slots) -> ort.IOBinding:
        """The cache of these slots, as every layer's input and output."""
        if slots not in self._bindings:
            binding = self._bindings[slots] = self._decoder.io_binding()
            for name, values in self._rotation.items():
                _bind(binding.bind_input, name, values)
            for kind, cache in (("key", self.pool.keys), ("value", self.pool.values)):
                for layer, slice_ in enumerate(cache[:, slice(*slots)].numpy()):
                    _bind(binding.bind_input, f"{kind}.{layer}", slice_)
                    _bind(binding.bind_output, f"new_{kind}.{layer}", slice_)
        return self._bindings[slots]


def _bind(bind: Any, name: str, values: NDArray[np.float32]) -> None:
    """By address: the array must stay where it is."""
    bind(name, "cpu", 0, np.float32, values.shape, values.ctypes.data)


def _shape(config: Any) -> CacheShape:
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    steps = torch.arange(0, size, 2) / size
    inv_freq = 1.0 / config.rope_parameters["rope_theta"] ** steps
    return CacheShape(config.num_hidden_layers, config.num_key_value_heads, size, inv_freq)
