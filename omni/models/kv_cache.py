"""Keys and values of many contexts in one pool, under any transformers decoder.

Hides where a token's keys lie. Law: a token's position is its index in its slot (plus what was
skipped), so cutting, copying and closing a hole leave a cache that a fresh run would have made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omni.errors import SessionCapacity, StageError
from omni.models.attention import Batch, Cache, Span, ragged, together


@dataclass(frozen=True, slots=True, eq=False)
class CacheShape:
    """What a decoder keeps for each token. `inv_freq` [R/2] are its rotary frequencies; the first
    R of a key's `head_dim` components are rotated, half against half."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    inv_freq: Tensor

    @classmethod
    def of(cls, decoder: Any) -> "CacheShape":
        """The shape of a transformers decoder (Qwen2, Qwen3, Llama and their like).

        Raises:
            StageError: its rotary frequencies change with the length, or it attends by windows.
        """
        config = decoder.config
        rope = (config.rope_parameters or {}).get("rope_type", "default")
        if rope in ("dynamic", "longrope"):
            raise StageError(f"{rope} rotary embedding cannot be cached by slots")
        if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
            raise StageError("sliding-window layers cannot be cached by slots")
        head_dim = getattr(config, "head_dim", None)
        return cls(
            config.num_hidden_layers,
            config.num_key_value_heads,
            head_dim or config.hidden_size // config.num_attention_heads,
            decoder.rotary_emb.inv_freq.float(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Tokens taken from the end of a slot; the first was at index `start`."""

    start: int
    keys: Tensor  # [L, H, T, D]
    values: Tensor


class SlotPool:
    """`num_slots` contexts of at most `slot_tokens` tokens each; memory is fixed from the start.

    Slots are handed out by `acquire` and `fork` and hold nothing of their former user's that a
    new one could read.
    """

    def __init__(self, shape: CacheShape, num_slots: int, slot_tokens: int, like: Tensor) -> None:
        # A row more than is used: where a recorded step writes for a slot that has no part in it.
        size = (shape.num_layers, num_slots, shape.num_kv_heads, slot_tokens + 1, shape.head_dim)
        self.slot_tokens = slot_tokens
        # Zeros, for what lies behind a slot's end may be multiplied by a weight of 0: not by NaN.
        self.keys = torch.zeros(size, dtype=like.dtype, device=like.device)  # [L, S, H, T, D]
        self.values = torch.zeros_like(self.keys)
        self._inv_freq = shape.inv_freq.to(like.device)
        self._lengths = [0] * num_slots
        self._skipped = [0] * num_slots
        self._free = list(range(num_slots))
        # One call for all decoding slots costs a copy of their keys: worth it where calls are dear.
        self.is_decode_grouped = like.device.type != "cpu"

    def acquire(self) -> int:
        """An empty slot. Raises SessionCapacity if there is none."""
        if not self._free:
            raise SessionCapacity(f"all {len(self._lengths)} model contexts are in use")
        slot = min(self._free)  # steps go over the slots up to the last that has a part in them
        self._free.remove(slot)
        self._lengths[slot] = self._skipped[slot] = 0
        return slot

    def release(self, slot: int) -> None:
        if slot in self._free:
            raise ValueError(f"slot {slot} is free already")
        self._free.append(slot)

    @property
    def cache(self) -> Cache:
        return self.keys, self.values

    @property
    def num_slots(self) -> int:
        return len(self._lengths)

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each slot holds."""
        return self._lengths

    def length(self, slot: int) -> int:
        """Tokens the slot holds."""
        return self._lengths[slot]

    def truncate(self, slot: int, length: int) -> None:
        """Forget all tokens from index `length` on."""
        if not 0 <= length <= self._lengths[slot]:
            raise ValueError(f"slot {slot} has {self._lengths[slot]} tokens, not {length}")
        self._lengths[slot] = length
        if length == 0:
            self._skipped[slot] = 0

    def skip(self, slot: int, num_positions: int) -> None:
        """Leave positions unused: later tokens are that much further from earlier ones."""
        self._skipped[slot] += num_positions

    def position(self, slot: int) -> int:
        """Where the slot's next token will be."""
        return self._lengths[slot] + self._skipped[slot]

    def cut_tail(self, slot: int, start: int) -> Tail:
        """Take out all tokens from index `start` on, to be put back with `append`."""
        rows = slice(start, self._lengths[slot])
        tail = Tail(
            start, self.keys[:, slot, :, rows].clone(), self.values[:, slot, :, rows].clone()
        )
        self.truncate(slot, start)
        return tail

    def append(self, slot: int, tail: Tail) -> None:
        """Put a tail after what the slot now holds, its keys rotated to where they come to lie."""
        start = self._lengths[slot]
        end = start + tail.keys.shape[2]
        if end > self.slot_tokens:
            raise StageError(
                f"{end} tokens exceed the context of {self.slot_tokens}",
                code="context_length_exceeded",
            )
        self.keys[:, slot, :, start:end] = _rotate(tail.keys, self._inv_freq * (start - tail.start))
        self.values[:, slot, :, start:end] = tail.values
        self._lengths[slot] = end

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the target hold the source's first `length` tokens, and nothing else."""
        if not 0 <= length <= self._lengths[source]:
            raise ValueError(f"slot {source} has {self._lengths[source]} tokens, not {length}")
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]
        self._lengths[target] = length
        self._skipped[target] = self._skipped[source]

    def fork(self, slot: int) -> int:
        """A new slot with the same tokens. Raises SessionCapacity if there is none."""
        new = self.acquire()
        self.copy(slot, new, self._lengths[slot])
        return new

    def drop(self, slot: int, start: int, end: int) -> None:
        """Take out tokens `start..end` and close the hole.

        Keys after it are rotated from position p to p - (end - start), values only move; what the
        later tokens had read from the dropped ones stays in them (MiniCPM-o's sliding windows).
        """
        length = self._lengths[slot]
        if not 0 <= start <= end <= length:
            raise ValueError(f"slot {slot} has {length} tokens, no {start}..{end}")
        tail = self.cut_tail(slot, end)
        self._lengths[slot] = start
        self.append(slot, tail)

    def grow(self, spans: Sequence[Span]) -> list[int]:
        """Make room for new tokens of several slots; returns where each span begins.

        Raises:
            StageError: a slot would grow beyond `slot_tokens` (code `context_length_exceeded`);
                no slot has changed then.
        """
        starts = [self._lengths[span.slot] for span in spans]
        for start, span in zip(starts, spans, strict=True):
            if start + span.length > self.slot_tokens:
                raise StageError(
                    f"{start} + {span.length} tokens exceed the context of {self.slot_tokens}",
                    code="context_length_exceeded",
                )
        for span in spans:
            self._lengths[span.slot] += span.length
        return starts

    def extend(self, spans: Sequence[Span]) -> Batch:
        """`grow`, and the batch that is then passed to a transformers decoder."""
        starts = self.grow(spans)
        skipped = [self._skipped[span.slot] for span in spans]
        if self.is_decode_grouped and len(spans) > 1 and all(span.length == 1 for span in spans):
            slots, rows, ahead = (
                torch.tensor(numbers, device=self.keys.device)
                for numbers in ([span.slot for span in spans], starts, skipped)
            )
            return together(self.cache, slots, rows, rows + ahead, max(starts) + 1)
        return ragged(self.cache, spans, starts, skipped)


def _rotate(keys: Tensor, angles: Tensor) -> Tensor:
    """Rotate half-split rotary components of [..., D] by `angles` [R/2], computed in float32."""
    size = 2 * angles.shape[0]
    a, b = keys[..., :size].float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(keys.dtype)
    return torch.cat((turned, keys[..., size:]), -1)
