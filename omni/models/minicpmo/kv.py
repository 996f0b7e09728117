"""Keys and values of the ear, of several sessions side by side under Whisper's layers.

Hides how sessions that have heard differently long share one pass. Attention is both ways, so the
decoders' slot pool does not fit. Law: what a session hears does not depend on its neighbours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


class KeyValues:
    """What one session has heard: for every layer, keys and values [heads, T, head size]."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def __len__(self) -> int:
        return self.keys[0].shape[1] if self.keys else 0

    @property
    def num_bytes(self) -> int:
        return sum(rows.nbytes for rows in (*self.keys, *self.values))

    def clear(self) -> None:
        self.keys, self.values = [], []

    def append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        if layer == len(self.keys):
            self.keys.append(keys)
            self.values.append(values)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], keys], dim=1)
            self.values[layer] = torch.cat([self.values[layer], values], dim=1)


class Batch:
    """The cache of one pass over several sessions; new rows are padded at the right.

    Args:
        sessions: grow by their share of the new rows as the layers run.
        counts: how many of the new rows are each session's.
    """

    def __init__(self, sessions: Sequence[KeyValues], counts: Sequence[int]) -> None:
        self.sessions = sessions
        self.counts = counts
        self.totals = [len(session) + n for session, n in zip(sessions, counts, strict=True)]

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Store new rows [B, heads, n, size]; return all of them, [B, heads, longest, size]."""
        for row, (session, count) in enumerate(zip(self.sessions, self.counts, strict=True)):
            session.append(layer, keys[row, :, :count], values[row, :, :count])
        return (
            self._padded([session.keys[layer] for session in self.sessions]),
            self._padded([session.values[layer] for session in self.sessions]),
        )

    def mask(self) -> Tensor | None:
        """True where there is anything to look at [B, 1, n, longest]; None if nothing is padded."""
        longest = max(self.totals)
        if min(self.totals) == longest:
            return None
        mask = torch.arange(longest) < torch.tensor(self.totals)[:, None, None]
        return mask[:, None].expand(-1, 1, max(self.counts), -1)

    def _padded(self, rows: list[Tensor]) -> Tensor:
        longest = max(self.totals)
        return torch.stack([functional.pad(r, (0, 0, 0, longest - r.shape[1])) for r in rows])
