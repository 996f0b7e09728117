"""Speech codes to mel-rate features: the streaming conformer in front of the flow decoder.

Hides look-ahead, causal convolutions and caches at two rates. Every tensor has a batch dimension,
caches too; sessions are stacked and split by the caller. Names are the checkpoint's (`encoder.`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_LOOKAHEAD_KERNEL = 3
_UP_KERNEL = 5


@dataclass(frozen=True, slots=True, eq=False)
class EncoderDims:
    size: int
    heads: int
    ffn: int
    num_token_layers: int
    num_frame_layers: int
    lookahead: int
    stride: int  # frames a token


@dataclass(frozen=True, slots=True, eq=False)
class EncoderCache:
    """Oldest first. Keys and values lie side by side in the last dimension."""

    lookahead: Tensor  # [B, d, 2]
    up: Tensor  # [B, d, 4]
    tokens: Tensor  # [layers, B, heads, T, 2 * head size]
    frames: Tensor  # [layers, B, heads, T * stride, 2 * head size]


class RelativeAttention(nn.Module):
    """Self-attention whose scores know how far apart two rows are (Transformer-XL)."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.linear_pos = nn.Linear(size, size, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(heads, size // heads))
        self.pos_bias_v = nn.Parameter(torch.empty(heads, size // heads))

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """[B, n, d] and keys and values so far; returns [B, n, d] and them with the new ones."""
        n, size = x.shape[1:]
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, n, hs]
            for layer in (self.linear_q, self.linear_k, self.linear_v)
        )
        cache = torch.cat([cache, torch.cat([k, v], dim=-1)], dim=2)  # [B, heads, T, 2 hs]
        k, v = cache.chunk(2, dim=-1)
        total = k.shape[2]
        distances = torch.arange(total - 1, -n, -1, device=x.device)  # oldest key .. newest
        table = self.linear_pos(relative_positions(distances, size).to(x))
        table = table.unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [heads, R, hs]
        by_distance = (q + self.pos_bias_v[:, None]) @ table.transpose(-1, -2)  # [B, heads, n, R]
        # Query i and key j are total - n + i - j apart, which is row n - 1 - i + j of the table.
        index = torch.arange(n - 1, -1, -1, device=x.device)[:, None] + torch.arange(
            total, device=x.device
        )
        by_place = by_distance.gather(-1, index.expand(*by_distance.shape[:2], -1, -1))
        by_content = (q + self.pos_bias_u[:, None]) @ k.transpose(-1, -2)
        weights = ((by_content + by_place) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.linear_out((weights @ v).transpose(1, 2).flatten(2)), cache


class FeedForward(nn.Module):
    def __init__(self, size: int, ffn: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size, ffn)
        self.w_2 = nn.Linear(ffn, size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(functional.silu(self.w_1(x)))
        return y


class ConformerLayer(nn.Module):
    """A conformer layer without its convolution."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(dims.size, dims.heads)
        self.feed_forward = FeedForward(dims.size, dims.ffn)
        self.norm_mha = nn.LayerNorm(dims.size, eps=1e-12)
        self.norm_ff = nn.LayerNorm(dims.size, eps=1e-12)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        attended, cache = self.self_attn(self.norm_mha(x), cache)
        x = x + attended
        return x + self.feed_forward(self.norm_ff(x)), cache


class Embed(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(size, size), nn.LayerNorm(size, eps=1e-5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(x) * math.sqrt(x.shape[-1])
        return y


class LookAhead(nn.Module):
    """Mixes every row with the next few; gives out only rows that have all of theirs."""

    def __init__(self, size: int, lookahead: int) -> None:
        super().__init__()
        self.lookahead = lookahead
        self.conv1 = nn.Conv1d(size, size, lookahead + 1)
        self.conv2 = nn.Conv1d(size, size, _LOOKAHEAD_KERNEL)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """[B, n + lookahead, d] to [B, n, d]."""
        y = functional.leaky_relu(self.conv1(x.transpose(1, 2)))  # [B, d, n]
        y = torch.cat([cache, y], dim=2)
        mixed: Tensor = self.conv2(y).transpose(1, 2)
        return x[:, : mixed.shape[1]] + mixed, y[..., 1 - _LOOKAHEAD_KERNEL :]


class Upsample(nn.Module):
    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(size, size, _UP_KERNEL)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """[B, n, d] to [B, n * stride, d]."""
        y = torch.cat([cache, x.transpose(1, 2).repeat_interleave(self.stride, dim=2)], dim=2)
        return self.conv(y).transpose(1, 2), y[..., 1 - _UP_KERNEL :]


class FlowEncoder(nn.Module):
    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.dims = dims
        self.embed = Embed(dims.size)
        self.pre_lookahead_layer = LookAhead(dims.size, dims.lookahead)
        self.encoders = nn.ModuleList(ConformerLayer(dims) for _ in range(dims.num_token_layers))
        self.up_layer = Upsample(dims.size, dims.stride)
        self.up_embed = Embed(dims.size)
        self.up_encoders = nn.ModuleList(ConformerLayer(dims) for _ in range(dims.num_frame_layers))
        self.after_norm = nn.LayerNorm(dims.size, eps=1e-5)

    def forward(self, x: Tensor, cache: EncoderCache) -> tuple[Tensor, EncoderCache]:
        """Encode the next tokens.

        Args:
            x: their embeddings, the look-ahead included (see `flush`). [B, n + lookahead, d]

        Returns:
            [B, n * stride, d] and the grown cache.
        """
        x, lookahead = self.pre_lookahead_layer(x, cache.lookahead)
        x, tokens = _through(self.encoders, x, cache.tokens)
        x, up = self.up_layer(x, cache.up)
        x, frames = _through(self.up_encoders, self.up_embed(x), cache.frames)
        return self.after_norm(x), EncoderCache(lookahead, up, tokens, frames)

    def flush(self, x: Tensor) -> Tensor:
        """Put silence where the look-ahead of the last tokens would be."""
        return functional.pad(x, (0, 0, 0, self.dims.lookahead))

    def empty_cache(self, batch: int) -> EncoderCache:
        d = self.dims
        new = self.after_norm.weight.new_zeros
        states = (batch, d.heads, 0, 2 * d.size // d.heads)
        return EncoderCache(
            new(batch, d.size, _LOOKAHEAD_KERNEL - 1),
            new(batch, d.size, _UP_KERNEL - 1),
            new(d.num_token_layers, *states),
            new(d.num_frame_layers, *states),
        )


def relative_positions(distances: Tensor, size: int) -> Tensor:
    """Sine and cosine of each distance, interleaved. [R, size]"""
    rates = torch.exp(torch.arange(0, size, 2).float() * -(math.log(10000.0) / size))
    angles = distances.float()[:, None] * rates.to(distances.device)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _through(layers: nn.ModuleList, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
    grown = []
    for layer, states in zip(layers, cache, strict=True):
        x, states = layer(x, states)
        grown.append(states)
    return x, torch.stack(grown)
