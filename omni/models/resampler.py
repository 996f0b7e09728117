"""The MiniCPM resampler: any number of patches of a picture, or of frames, read by 64 queries.

Hides sin-cos positions in two dimensions (pictures) and three (frames packed into groups). They
are computed in float32 and not kept in checkpoints. Tensor names are the checkpoint's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_HEAD_SIZE = 128
_TABLE_SIDE = 70
_NORM_EPS = 1e-6


class Resampler(nn.Module):
    def __init__(self, num_queries: int, size: int, input_size: int) -> None:
        super().__init__()
        self.size = size
        self.query = nn.Parameter(torch.empty(num_queries, size))
        self.proj = nn.Parameter(torch.empty(size, size))
        self.kv_proj = nn.Linear(input_size, size, bias=False)
        self.attn = nn.MultiheadAttention(size, size // _HEAD_SIZE, batch_first=True)
        self.ln_q = nn.LayerNorm(size, eps=_NORM_EPS)
        self.ln_kv = nn.LayerNorm(size, eps=_NORM_EPS)
        self.ln_post = nn.LayerNorm(size, eps=_NORM_EPS)
        self._table = torch.empty(0, 0, size)

    def forward(
        self, x: Tensor, sizes: Tensor, temporal_ids: Sequence[Sequence[int]] | None = None
    ) -> Tensor:
        """Compress pictures, or groups of video frames, to a fixed number of vectors.

        Args:
            x: one vector a patch, padding after the last one. [B, L, input]
            sizes: rows and columns of patches of each picture. [B, 2]
            temporal_ids: the frames, in order, packed into groups, each with its time in 0.1 s
                (-1: a picture without time). None packs nothing and adds no time.

        Returns:
            [B or groups, queries, size]
        """
        times = temporal_ids if temporal_ids is not None else [[-1]] * len(x)
        if sum(map(len, times)) != len(x):
            raise ValueError(f"{sum(map(len, times))} temporal ids for {len(x)} frames")
        kv = self.ln_kv(self.kv_proj(x))  # [B, L, D]
        grids = sizes.tolist()
        keys: list[Tensor] = []
        values: list[Tensor] = []
        frame = 0
        for group in times:
            frames = range(frame, frame + len(group))
            frame += len(group)
            positions = torch.cat(
                [self._positions(grids[i], time) for i, time in zip(frames, group, strict=True)]
            )
            value = torch.cat([kv[i, : grids[i][0] * grids[i][1]] for i in frames])
            values.append(value)
            keys.append(value + positions.to(value))
        return self._read(keys, values)

    def _read(self, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Let the queries attend to ragged groups. [groups, queries, D]"""
        lengths = torch.tensor([len(key) for key in keys], device=keys[0].device)
        key = nn.utils.rnn.pad_sequence(keys, batch_first=True)  # [G, L, D]
        value = nn.utils.rnn.pad_sequence(values, batch_first=True)
        padding = torch.arange(key.shape[1], device=key.device) >= lengths[:, None]
        query = self.ln_q(self.query).expand(len(keys), -1, -1)  # [G, Q, D]
        out, _ = self.attn(
            query, key, value, key_padding_mask=padding if padding.any() else None,
            need_weights=False,
        )  # fmt: skip
        read: Tensor = self.ln_post(out) @ self.proj
        return read

    def _positions(self, grid: list[int], time: int) -> Tensor:
        """What is added to the keys of one frame. [rows * columns, D]"""
        rows, columns = grid
        longest = max(rows, columns, _TABLE_SIDE)
        if longest > self._table.shape[0] or self._table.device != self.query.device:
            self._table = table_2d(longest, self.size).to(self.query.device)
        table = self._table[:rows, :columns].reshape(-1, self.size)
        return table if time < 0 else table + sin_cos(time, self.size).to(table)


def sin_cos(position: Tensor | int, size: int) -> Tensor:
    """Sines then cosines of `position` times 10000^(-i / (size/2)). [..., size]

    All in torch's float32, as in the released code: at late times the last bit of a frequency
    is a visible part of a turn.
    """
    omega = 1.0 / 10000 ** (torch.arange(size // 2, dtype=torch.float32) / (size / 2))
    angle = torch.as_tensor(position, dtype=torch.float32)[..., None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def table_2d(side: int, size: int) -> Tensor:
    """Positions of a square grid: the column's half first, then the row's. [side, side, size]"""
    axis = sin_cos(torch.arange(side), size // 2)  # [side, D/2]
    return torch.cat([axis[None].expand(side, -1, -1), axis[:, None].expand(-1, side, -1)], dim=-1)
