"""Keys and values of many contexts in one pool, under any transformers decoder.

Hides where a token's keys lie and how a ragged batch attends. Law: a token's position is its index
in its slot (plus what was skipped), so cutting, copying and closing a hole leave a cache that a
fresh run would have made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from omni.errors import SessionCapacity, StageError

ATTENTION = "omni_slots"


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
class Span:
    """`length` new tokens at the end of a slot."""

    slot: int
    length: int


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
        size = (shape.num_layers, num_slots, shape.num_kv_heads, slot_tokens, shape.head_dim)
        self.slot_tokens = slot_tokens
        # Zeros, for what lies behind a slot's end may be multiplied by a weight of 0: not by NaN.
        self.keys = torch.zeros(size, dtype=like.dtype, device=like.device)  # [L, S, H, T, D]
        self.values = torch.zeros_like(self.keys)
        self._inv_freq = shape.inv_freq.to(like.device)
        self._lengths = [0] * num_slots
        self._skipped = [0] * num_slots
        self._free = list(range(num_slots - 1, -1, -1))
        # One call for all decoding slots costs a copy of their keys: worth it where calls are dear.
        self.is_decode_grouped = like.device.type != "cpu"

    def acquire(self) -> int:
        """An empty slot. Raises SessionCapacity if there is none."""
        if not self._free:
            raise SessionCapacity(f"all {len(self._lengths)} model contexts are in use")
        slot = self._free.pop()
        self._lengths[slot] = self._skipped[slot] = 0
        return slot

    def release(self, slot: int) -> None:
        if slot in self._free:
            raise ValueError(f"slot {slot} is free already")
        self._free.append(slot)

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

    def extend(self, spans: Sequence[Span]) -> "Batch":
        """Make room for new tokens of several slots; the batch is then passed to the decoder.

        Raises:
            StageError: a slot would grow beyond `slot_tokens` (code `context_length_exceeded`);
                no slot has changed then.
        """
        for span in spans:
            if self._lengths[span.slot] + span.length > self.slot_tokens:
                raise StageError(
                    f"{self._lengths[span.slot]} + {span.length} tokens exceed the context of "
                    f"{self.slot_tokens}",
                    code="context_length_exceeded",
                )
        starts = [self._lengths[span.slot] for span in spans]
        skipped = [self._skipped[span.slot] for span in spans]
        for span in spans:
            self._lengths[span.slot] += span.length
        return Batch(self, spans, starts, skipped)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Rows of a batch that attend in one call: `num_rows` for each of the slots."""

    slots: slice | Tensor
    num_slots: int
    num_rows: int
    num_keys: int
    mask: Tensor | None  # [B, 1, rows, keys], true where a row may look


class Batch:
    """One ragged forward pass: rows of all spans one after the other, `positions` [1, N].

    Given to the decoder as the keyword `kv`; every layer writes its keys and attends through it.
    """

    def __init__(
        self,
        pool: SlotPool,
        spans: Sequence[Span],
        starts: Sequence[int],
        skipped: Sequence[int],
    ) -> None:
        device = pool.keys.device
        self._pool = pool
        self._slots = torch.tensor([s.slot for s in spans for _ in range(s.length)], device=device)
        rows = [start + i for s, start in zip(spans, starts, strict=True) for i in range(s.length)]
        self._rows = torch.tensor(rows, device=device)
        offsets = [skip for s, skip in zip(spans, skipped, strict=True) for _ in range(s.length)]
        self.positions = (self._rows + torch.tensor(offsets, device=device))[None]
        self._groups = list(self._group(spans, starts))

    def _group(self, spans: Sequence[Span], starts: Sequence[int]) -> "list[_Group]":
        is_decode = all(span.length == 1 for span in spans)
        if is_decode and len(spans) > 1 and self._pool.is_decode_grouped:
            num_keys = max(starts) + 1
            keys = torch.arange(num_keys, device=self._rows.device)
            is_seen = (keys <= self._rows[:, None])[:, None, None]
            return [_Group(self._slots, len(spans), 1, num_keys, is_seen)]
        groups = []
        for span, start in zip(spans, starts, strict=True):
            mask: Tensor | None = None
            if span.length > 1:
                rows = torch.arange(start, start + span.length, device=self._rows.device)
                keys = torch.arange(start + span.length, device=self._rows.device)
                mask = (keys <= rows[:, None])[None, None]
            slots = slice(span.slot, span.slot + 1)
            groups.append(_Group(slots, 1, span.length, start + span.length, mask))
        return groups

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """query [Hq, N, D], key and value [H, N, D] -> [N, Hq, D]; the keys are now cached."""
        keys, values = self._pool.keys[layer], self._pool.values[layer]
        keys[self._slots, :, self._rows] = key.transpose(0, 1)
        values[self._slots, :, self._rows] = value.transpose(0, 1)
        out, first = [], 0
        for g in self._groups:
            last = first + g.num_slots * g.num_rows
            # Query heads that share a key head become rows of it: no key is ever repeated.
            shared = query.shape[0] // key.shape[0]
            q = query[:, first:last].reshape(-1, g.num_slots, g.num_rows, query.shape[-1])
            q = q.transpose(0, 1).reshape(g.num_slots, key.shape[0], shared * g.num_rows, -1)
            mask = g.mask if g.mask is None else g.mask.repeat(1, 1, shared, 1)
            y = scaled_dot_product_attention(
                q,
                keys[g.slots, :, : g.num_keys],
                values[g.slots, :, : g.num_keys],
                attn_mask=mask,
                scale=scale,
            )
            y = y.reshape(g.num_slots, query.shape[0], g.num_rows, -1).transpose(1, 2)
            out.append(y.flatten(0, 1))
            first = last
        return torch.cat(out) if len(out) > 1 else out[0]


def _rotate(keys: Tensor, angles: Tensor) -> Tensor:
    """Rotate half-split rotary components of [..., D] by `angles` [R/2], computed in float32."""
    size = 2 * angles.shape[0]
    a, b = keys[..., :size].float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(keys.dtype)
    return torch.cat((turned, keys[..., size:]), -1)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    kv: Batch,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: [1, H, N, D] each -> [1, N, Hq, D]."""
    out = kv.attend(int(module.layer_idx), query[0], key[0], value[0], scaling)  # type: ignore[arg-type]
    return out[None], None


AttentionInterface.register(ATTENTION, _attention)
