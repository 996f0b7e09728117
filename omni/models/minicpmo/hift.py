"""Mel to waveform: HiFT, a neural source filter whose output is turned back by an inverse STFT.

Hides the harmonic source. Random phases and breath noise come from the caller, so that silence in
them is reproducible. Names are the checkpoint's; weight norm is folded when it is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, prod

import torch
from torch import Tensor, nn
from torch.nn import functional

_MAX_MAGNITUDE = 100.0
_SNAKE_EPS = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class HiFTDims:
    num_mels: int
    channels: int
    f0_channels: int
    num_harmonics: int  # beside the fundamental
    rate_hz: int
    sine_amplitude: float
    noise_amplitude: float
    voiced_above_hz: float
    up_rates: tuple[int, ...]
    up_kernels: tuple[int, ...]
    fft: int
    hop: int
    kernels: tuple[int, ...]
    dilations: tuple[tuple[int, ...], ...]
    source_kernels: tuple[int, ...]
    source_dilations: tuple[tuple[int, ...], ...]
    slope: float
    limit: float

    @property
    def frame_samples(self) -> int:
        return prod(self.up_rates) * self.hop


@dataclass(frozen=True, slots=True, eq=False)
class SourceNoise:
    """Randomness of the source: where each overtone starts, and the breath."""

    phase: Tensor  # [B, 1 + harmonics], in turns; the fundamental's is 0
    breath: Tensor  # [B, samples, 1 + harmonics], unit variance


NoiseOf = Callable[[int], SourceNoise]  # randomness for so many samples


def no_noise(dims: HiFTDims) -> NoiseOf:
    """Randomness of a source without breath, whose overtones start together."""
    overtones = dims.num_harmonics + 1
    return lambda n: SourceNoise(torch.zeros(1, overtones), torch.zeros(1, n, overtones))


def seeded_noise(dims: HiFTDims, seed: int) -> NoiseOf:
    """Randomness that is the same each time it is started from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    overtones = dims.num_harmonics + 1

    def draw(num_samples: int) -> SourceNoise:
        phase = torch.rand(1, overtones, generator=generator)
        phase[:, 0] = 0
        return SourceNoise(phase, torch.randn(1, num_samples, overtones, generator=generator))

    return draw


class Snake(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return x + (x * alpha).sin() ** 2 / (alpha + _SNAKE_EPS)


class ResBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=(kernel - 1) * d // 2)
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for snake1, conv1, snake2, conv2 in parts:
            x = x + conv2(snake2(conv1(snake1(x))))
        return x


class F0Predictor(nn.Module):
    """Fundamental frequency of each mel frame."""

    def __init__(self, num_mels: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(5):
            layers += [nn.Conv1d(channels if index else num_mels, channels, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """[B, mels, T] to Hz [B, T]."""
        f0: Tensor = self.classifier(self.condnet(mel).transpose(1, 2))
        return f0.squeeze(-1).abs()


class Source(nn.Module):
    """Harmonics of the fundamental, mixed into one excitation signal."""

    def __init__(self, dims: HiFTDims) -> None:
        super().__init__()
        self.dims = dims
        self.l_linear = nn.Linear(dims.num_harmonics + 1, 1)

    def forward(self, f0: Tensor, noise: SourceNoise) -> Tensor:
        """Hz a frame [B, T] to samples [B, T * frame_samples]."""
        dims = self.dims
        scale = dims.frame_samples
        f0 = f0.repeat_interleave(scale, dim=1)[..., None]  # [B, samples, 1]
        harmonics = torch.arange(1, dims.num_harmonics + 2, device=f0.device)
        turns = (f0 * harmonics / dims.rate_hz) % 1  # [B, samples, H]
        turns[:, 0] += noise.phase
        # Phases are summed at the frame rate and interpolated, not summed sample by sample.
        turns = functional.interpolate(turns.transpose(1, 2), scale_factor=1 / scale, mode="linear")
        phase = turns.cumsum(-1) * 2 * pi
        phase = functional.interpolate(phase * scale, scale_factor=float(scale), mode="linear")
        voiced = (f0 > dims.voiced_above_hz).to(f0)  # [B, samples, 1]
        sines = phase.transpose(1, 2).sin() * dims.sine_amplitude
        breath = voiced * dims.noise_amplitude + (1 - voiced) * dims.sine_amplitude / 3
        mixed: Tensor = self.l_linear(sines * voiced + breath * noise.breath)
        return mixed.squeeze(-1).tanh()


class HiFT(nn.Module):
    def __init__(self, dims: HiFTDims) -> None:
        super().__init__()
        self.dims = dims
        self.f0_predictor = F0Predictor(dims.num_mels, dims.f0_channels)
        self.m_source = Source(dims)
        self.conv_pre = nn.Conv1d(dims.num_mels, dims.channels, 7, padding=3)
        widths = [dims.channels // 2**i for i in range(len(dims.up_rates) + 1)]
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, rate, (kernel - rate) // 2)
            for i, (rate, kernel) in enumerate(zip(dims.up_rates, dims.up_kernels, strict=True))
        )
        self.source_downs = nn.ModuleList(
            _down(dims.fft + 2, widths[i + 1], prod(dims.up_rates[i + 1 :]))
            for i in range(len(dims.up_rates))
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(width, kernel, dilations)
            for width, kernel, dilations in zip(
                widths[1:], dims.source_kernels, dims.source_dilations, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            ResBlock(width, kernel, dilations)
            for width in widths[1:]
            for kernel, dilations in zip(dims.kernels, dims.dilations, strict=True)
        )
        self.conv_post = nn.Conv1d(widths[-1], dims.fft + 2, 7, padding=3)

    def decode(self, mel: Tensor, source: Tensor) -> Tensor:
        """[B, mels, T] and its excitation [B, samples] to a waveform [B, samples]."""
        window = torch.hann_window(self.dims.fft, device=source.device)
        stft = torch.stft(source, self.dims.fft, self.dims.hop, window=window, return_complex=True)
        spectrum = torch.cat([stft.real, stft.imag], dim=1).to(mel)  # [B, fft + 2, F]
        x = self.conv_pre(mel)
        for stage, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, self.dims.slope))
            if stage == len(self.ups) - 1:
                x = functional.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[stage](self.source_downs[stage](spectrum))
            blocks = range(stage * len(self.dims.kernels), (stage + 1) * len(self.dims.kernels))
            x = torch.stack([self.resblocks[i](x) for i in blocks]).mean(0)
        x = self.conv_post(functional.leaky_relu(x)).float()
        bins = self.dims.fft // 2 + 1
        magnitude = x[:, :bins].exp().clamp(max=_MAX_MAGNITUDE)
        phase = x[:, bins:].sin()
        wave = torch.istft(
            torch.complex(magnitude * phase.cos(), magnitude * phase.sin()),
            self.dims.fft, self.dims.hop, window=window,
        )  # fmt: skip
        return wave.clamp(-self.dims.limit, self.dims.limit)


def _down(inputs: int, outputs: int, rate: int) -> nn.Conv1d:
    if rate == 1:
        return nn.Conv1d(inputs, outputs, 1)
    return nn.Conv1d(inputs, outputs, 2 * rate, rate, padding=rate // 2)
