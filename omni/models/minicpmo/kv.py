"""Keys and values of one sequence, and several sequences side by side under a transformers model.

Hides how sequences of different lengths share one forward pass: `Batch` is what a model sees as
its cache. Law: a sequence's result does not depend on its neighbours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KeyValues:
    """What one sequence has in context: for every layer, keys and values [heads, T, head size].

    `skipped` positions were passed over: the next row is at `len + skipped`.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def __len__(self) -> int:
        return self.keys[0].shape[1] if self.keys else 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        if layer == len(self.keys):
            self.keys.append(keys)
            self.values.append(values)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], keys], dim=1)
            self.values[layer] = torch.cat([self.values[layer], values], dim=1)

    def cut(self, start: int, stop: int | None = None) -> "KeyValues":
        """Take rows [start, stop) out and return them; what follows closes up."""
        stop = len(self) if stop is None else stop
        taken = KeyValues()
        for states, removed in ((self.keys, taken.keys), (self.values, taken.values)):
            for layer, rows in enumerate(states):
                removed.append(rows[:, start:stop])
                states[layer] = torch.cat([rows[:, :start], rows[:, stop:]], dim=1)
        return taken

    def extend(self, rows: "KeyValues") -> None:
        for layer, (keys, values) in enumerate(zip(rows.keys, rows.values, strict=True)):
            self.append(layer, keys, values)

    def rotate(self, rotary: nn.Module, start: int, offset: int) -> None:
        """Move keys from row `start` on by `offset` positions: RoPE turns them by the difference.

        Source: rotations compose, R(p + d) = R(d) R(p); values carry no position.
        """
        if not self.keys or start >= len(self) or offset == 0:
            return
        position = torch.tensor([[abs(offset)]], device=self.keys[0].device)
        cos, sin = rotary(self.keys[0].float(), position)  # [1, 1, head size]
        if offset < 0:
            sin = -sin
        for layer, keys in enumerate(self.keys):
            moved = keys[:, start:].float()
            first, second = moved.chunk(2, dim=-1)
            moved = moved * cos + torch.cat([-second, first], dim=-1) * sin
            self.keys[layer] = torch.cat([keys[:, :start], moved.to(keys)], dim=1)


class Batch:
    """The cache of one forward pass over several sequences; new rows are padded at the right.

    Args:
        sequences: grow by their share of the new rows as the layers run.
        counts: how many of the new rows are each sequence's.
    """

    def __init__(self, sequences: Sequence[KeyValues], counts: Sequence[int]) -> None:
        self.sequences = sequences
        self.counts = counts
        self.pasts = [len(sequence) for sequence in sequences]
        self.longest = max(past + n for past, n in zip(self.pasts, counts, strict=True))

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Store new rows [B, heads, n, size]; return all of them, [B, heads, longest, size]."""
        for row, (sequence, count) in enumerate(zip(self.sequences, self.counts, strict=True)):
            sequence.append(layer, keys[row, :, :count], values[row, :, :count])
        return (
            self._padded([sequence.keys[layer] for sequence in self.sequences]),
            self._padded([sequence.values[layer] for sequence in self.sequences]),
        )

    def get_seq_length(self) -> int:
        return max(self.pasts)

    def positions(self) -> Tensor:
        """Position of each new row. [B, n]"""
        starts = [past + s.skipped for past, s in zip(self.pasts, self.sequences, strict=True)]
        return torch.tensor(starts)[:, None] + torch.arange(max(self.counts))

    def causal_mask(self) -> Tensor:
        """True where a new row may look: at its past and itself. [B, 1, n, longest]"""
        last = torch.tensor(self.pasts)[:, None] + torch.arange(max(self.counts))
        return (torch.arange(self.longest) <= last[..., None])[:, None]

    def full_mask(self) -> Tensor | None:
        """True where there is anything to look at; None if nothing is padded."""
        totals = torch.tensor(self.pasts) + torch.tensor(self.counts)
        if (totals == self.longest).all():
            return None
        mask = torch.arange(self.longest) < totals[:, None, None]  # [B, 1, longest]
        return mask[:, None].expand(-1, 1, max(self.counts), -1)

    def _padded(self, rows: list[Tensor]) -> Tensor:
        return torch.stack([F.pad(r, (0, 0, 0, self.longest - r.shape[1])) for r in rows])
