"""Features to mel spectrogram: a causal diffusion transformer integrated by Euler steps.

Hides classifier-free guidance and the caches of every step. Noise is given, never drawn: the same
noise gives the same voice in every process. Names are the checkpoint's (`decoder.estimator.`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from omni.models.shape_graphs import ShapeGraphs

_KERNEL = 3
_TIME_SIZE = 256
_TIME_SCALE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class DiTDims:
    num_mels: int
    size: int
    depth: int
    heads: int
    head_size: int
    ffn: int
    guidance: float


@dataclass(frozen=True, slots=True, eq=False)
class DiTCache:
    """What each Euler step has seen; rows 2b and 2b + 1 are session b with and without guidance.

    Attention is newest first, as the released code keeps it.
    """

    attention: Tensor  # [steps, depth, 2B, heads, T, 2 * head size]
    convolution: Tensor  # [steps, depth, 2B, 2 * size, 2]


class Attention(nn.Module):
    def __init__(self, dims: DiTDims) -> None:
        super().__init__()
        self.heads = dims.heads
        inner = dims.heads * dims.head_size
        self.to_q = nn.Linear(dims.size, inner)
        self.to_k = nn.Linear(dims.size, inner)
        self.to_v = nn.Linear(dims.size, inner)
        self.q_norm = nn.LayerNorm(dims.head_size)
        self.k_norm = nn.LayerNorm(dims.head_size)
        self.proj = nn.Linear(inner, dims.size)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, n, hs]
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        cache = torch.cat([torch.cat([self.k_norm(k), v], dim=-1), cache], dim=2)
        k, v = cache.chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(self.q_norm(q), k, v)
        return self.proj(attended.transpose(1, 2).flatten(2)), cache


class ConvBlock(nn.Module):
    """Two causal convolutions; the indices of the sequence are the checkpoint's."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict(
            {
                "1": nn.Conv1d(size, size, _KERNEL),
                "3": nn.LayerNorm(size),
                "6": nn.Conv1d(size, size, _KERNEL),
            }
        )

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        first, second = cache.chunk(2, dim=1)  # [B, d, 2]
        x = torch.cat([first, x.transpose(1, 2)], dim=2)
        y = functional.mish(self.block["3"](self.block["1"](x).transpose(1, 2)))
        y = torch.cat([second, y.transpose(1, 2)], dim=2)
        kept = torch.cat([x[..., 1 - _KERNEL :], y[..., 1 - _KERNEL :]], dim=1)
        return self.block["6"](y).transpose(1, 2), kept


class Mlp(nn.Module):
    def __init__(self, size: int, ffn: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size, ffn)
        self.fc2 = nn.Linear(ffn, size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return y


class Block(nn.Module):
    def __init__(self, dims: DiTDims) -> None:
        super().__init__()
        self.attn = Attention(dims)
        self.conv = ConvBlock(dims.size)
        self.mlp = Mlp(dims.size, dims.ffn)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dims.size, 9 * dims.size))

    def forward(
        self, x: Tensor, time: Tensor, attention: Tensor, convolution: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows [B, n, d] at one point of time [B, 1, d]."""
        attn, mlp, conv = self.adaLN_modulation(time).chunk(3, dim=-1)  # each: shift, scale, gate
        y, attention = self.attn(_modulated(x, attn), attention)
        x = x + attn.chunk(3, dim=-1)[2] * y
        y, convolution = self.conv(_modulated(x, conv), convolution)
        x = x + conv.chunk(3, dim=-1)[2] * y
        x = x + mlp.chunk(3, dim=-1)[2] * self.mlp(_modulated(x, mlp))
        return x, attention, convolution


class FinalLayer(nn.Module):
    def __init__(self, dims: DiTDims) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dims.size, 2 * dims.size))
        self.linear = nn.Linear(dims.size, dims.num_mels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y: Tensor = self.linear(_modulated(x, self.adaLN_modulation(time)))
        return y


class TimeEmbedder(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_TIME_SIZE, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, time: Tensor) -> Tensor:
        half = _TIME_SIZE // 2
        places = torch.arange(half, device=time.device).float()
        rates = torch.exp(-math.log(10000) * places / half)
        angles = time[..., None].float() * _TIME_SCALE * rates
        angles = torch.cat([angles.cos(), angles.sin()], dim=-1)
        y: Tensor = self.mlp(angles.to(time))
        return y


class DiT(nn.Module):
    """Velocity of the mel at one time, given what it should sound like."""

    def __init__(self, dims: DiTDims) -> None:
        super().__init__()
        self.dims = dims
        self.graphs: ShapeGraphs | None = None  # of `forward`, where it can be recorded
        self.t_embedder = TimeEmbedder(dims.size)
        self.in_proj = nn.Linear(4 * dims.num_mels, dims.size)
        self.blocks = nn.ModuleList(Block(dims) for _ in range(dims.depth))
        self.final_layer = FinalLayer(dims)

    def forward(
        self, x: Tensor, time: Tensor, attention: Tensor, convolution: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[B, n, 4 * mels] to [B, n, mels], with the caches of this step."""
        embedded = self.t_embedder(time)[:, None]  # [B, 1, d]
        x = self.in_proj(x)
        kept = []
        for block, attn, conv in zip(self.blocks, attention, convolution, strict=True):
            x, attn, conv = block(x, embedded, attn, conv)
            kept.append((attn, conv))
        attentions, convolutions = zip(*kept, strict=True)
        return self.final_layer(x, embedded), torch.stack(attentions), torch.stack(convolutions)

    def empty_cache(self, num_steps: int, batch: int) -> DiTCache:
        d = self.dims
        new = self.in_proj.weight.new_zeros
        return DiTCache(
            new(num_steps, d.depth, 2 * batch, d.heads, 0, 2 * d.head_size),
            new(num_steps, d.depth, 2 * batch, 2 * d.size, _KERNEL - 1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What the mel should sound like, frame by frame."""

    features: Tensor  # [B, n, mels]
    speaker: Tensor  # [B, mels]
    prompt: Tensor  # [B, n, mels], zeros where there is no recorded mel


def integrate(dit: DiT, noise: Tensor, target: Target, cache: DiTCache) -> tuple[Tensor, DiTCache]:
    """Walk from noise to mel in as many Euler steps as the cache has.

    Args:
        noise: [B, n, mels]

    Returns:
        The mel [B, n, mels] and the grown cache.
    """
    num_steps = len(cache.attention)
    step_of = dit.graphs or dit
    speaker = target.speaker[:, None].expand_as(target.features)
    guide = torch.cat([target.features, speaker, target.prompt], dim=-1)
    guide = torch.stack([guide, torch.zeros_like(guide)], dim=1).flatten(0, 1)  # [2B, n, 3 mels]
    times = 1 - torch.cos(torch.linspace(0, 1, num_steps + 1) * 0.5 * math.pi)
    x, time = noise, times[0]
    kept = []
    for step in range(num_steps):
        delta = times[step + 1] - time
        rows = torch.cat([x.repeat_interleave(2, dim=0), guide], dim=-1)
        now = time.to(x.device).expand(len(rows))
        velocity, *states = step_of(rows, now, cache.attention[step], cache.convolution[step])
        towards, away = velocity.unflatten(0, (-1, 2)).unbind(1)
        x = x + delta.to(x) * ((1 + dit.dims.guidance) * towards - dit.dims.guidance * away)
        time = time + delta
        kept.append(states)
    attention, convolution = zip(*kept, strict=True)
    return x, DiTCache(torch.stack(attention), torch.stack(convolution))


def _modulated(x: Tensor, modulation: Tensor) -> Tensor:
    shift, scale = modulation[..., : 2 * x.shape[-1]].chunk(2, dim=-1)
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
