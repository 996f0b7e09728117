"""How new tokens of many contexts attend to their own, in one pass of any transformers decoder.

Hides which rows go together in one call. Law: a row sees the rows of its slot up to itself, and
nothing of any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "omni_slots"

Cache = tuple[Tensor, Tensor]  # keys and values of all slots, each [layers, slots, heads, rows, D]
Places = tuple[Tensor, Tensor]  # slot and row of every new token, each [N]


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """`length` new tokens at the end of a slot."""

    slot: int
    length: int


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
        self, cache: Cache, places: Places, positions: Tensor, groups: Sequence[_Group]
    ) -> None:
        self._cache = cache
        self._places = places
        self.positions = positions
        self._groups = groups

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """query [Hq, N, D], key and value [H, N, D] -> [N, Hq, D]; the keys are now cached."""
        keys, values = (part[layer] for part in self._cache)
        slots, rows = self._places
        keys[slots, :, rows] = key.transpose(0, 1)
        values[slots, :, rows] = value.transpose(0, 1)
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


def ragged(
    cache: Cache, spans: Sequence[Span], starts: Sequence[int], skipped: Sequence[int]
) -> Batch:
    """Spans of any length, a call for each; `skipped`: how far positions are ahead of rows."""
    device = cache[0].device
    counts = torch.tensor([span.length for span in spans], device=device)
    slots = torch.tensor([span.slot for span in spans], device=device).repeat_interleave(counts)
    indices = [start + i for s, start in zip(spans, starts, strict=True) for i in range(s.length)]
    rows = torch.tensor(indices, device=device)
    positions = rows + torch.tensor(skipped, device=device).repeat_interleave(counts)
    groups = [_alone(s, start, device) for s, start in zip(spans, starts, strict=True)]
    return Batch(cache, (slots, rows), positions[None], groups)


def together(cache: Cache, slots: Tensor, rows: Tensor, positions: Tensor, num_keys: int) -> Batch:
    """One token for each of the slots [S] at its row [S], in one call on a copy of their keys."""
    return Batch(cache, (slots, rows), positions[None], [_decode(slots, rows, num_keys)])


def from_first(cache: Cache, rows: Tensor, positions: Tensor, num_keys: int) -> Batch:
    """One token for each of the first S slots, without a copy. Its shapes depend on S and
    `num_keys` alone, so that the work on it can be recorded."""
    slots = torch.arange(len(rows), device=rows.device)
    group = _decode(slice(0, len(rows)), rows, num_keys)
    return Batch(cache, (slots, rows), positions[None], [group])


def _decode(slots: slice | Tensor, rows: Tensor, num_keys: int) -> _Group:
    is_seen = torch.arange(num_keys, device=rows.device) <= rows[:, None]
    return _Group(slots, len(rows), 1, num_keys, is_seen[:, None, None])


def _alone(span: Span, start: int, device: torch.device) -> _Group:
    """A span that attends in a call of its own."""
    end = start + span.length
    mask: Tensor | None = None
    if span.length > 1:
        rows = torch.arange(start, end, device=device)
        mask = (torch.arange(end, device=device) <= rows[:, None])[None, None]
    return _Group(slice(span.slot, span.slot + 1), 1, span.length, end, mask)


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
