"""Whisper's log-mel spectrum, of finished clips and exactly as it streams.

Hides how a frame is known to be final and which loudness it is measured against: the loudest
frame of the last 20 to 30 s, or none in the first 5 s (the rule MiniCPM-o 4.5 was trained with).
Law: streamed frames are those of the whole buffer recomputed at every unit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

RATE_HZ = 16000
HOP = 160
NUM_MELS = 80
PIECE_SAMPLES = 30 * RATE_HZ
_WINDOW = 400
_HALF = _WINDOW // 2
_MAX_BUFFER = PIECE_SAMPLES
_DROPPED = 10 * RATE_HZ
_DYNAMIC_AFTER = 5 * RATE_HZ
_FLOOR = -10.0
_RANGE = 8.0


def slaney_filters(
    window: int, num_mels: int, rate_hz: int, max_hz: float | None = None
) -> np.ndarray:
    """Slaney's triangles over the bins of a window. [window // 2 + 1, M], float64"""
    return mel_filter_bank(
        num_frequency_bins=1 + window // 2,
        num_mel_filters=num_mels,
        min_frequency=0.0,
        max_frequency=rate_hz / 2 if max_hz is None else max_hz,
        sampling_rate=rate_hz,
        norm="slaney",
        mel_scale="slaney",
    )


FILTERS = slaney_filters(_WINDOW, NUM_MELS, RATE_HZ)
_FILTERS = torch.from_numpy(FILTERS).float()


def spectrum(samples: Tensor) -> Tensor:
    """Log10 mel power of every full window, without padding: [80, (n - 400) // 160 + 1]."""
    window = torch.hann_window(_WINDOW)
    stft = torch.stft(samples, _WINDOW, HOP, window=window, center=False, return_complex=True)
    power = stft.abs() ** 2
    return (_FILTERS.T @ power).clamp(min=1e-10).log10()


def normalise(log_mel: Tensor, floor: float) -> Tensor:
    return (log_mel.clamp(min=floor) + 4.0) / 4.0


def clip(samples: Tensor) -> Tensor:
    """Spectrum of one finished piece of at most 30 s. [80, ceil(n / 160)]

    The released code pads every piece to 30 s; frames that lie wholly in the padding are neither
    kept nor the loudest, so half a window of it is enough.
    """
    if not 0 < len(samples) <= PIECE_SAMPLES:
        raise ValueError(f"a piece has 1 to {PIECE_SAMPLES} samples, not {len(samples)}")
    num_frames = -(-len(samples) // HOP)
    padded = functional.pad(
        samples, (0, min(num_frames * HOP + _WINDOW, PIECE_SAMPLES) - len(samples))
    )
    padded = functional.pad(padded[None], (_HALF, _HALF), mode="reflect")[0]
    log_mel = spectrum(padded)[:, :num_frames]
    return normalise(log_mel, log_mel.max().item() - _RANGE)


@dataclass(frozen=True, slots=True, eq=False)
class MelChunk:
    """Frames of one unit, with the context the encoder's convolutions need on both sides."""

    frames: Tensor  # [80, T]
    left: int
    right: int


class MelStream:
    """Spectrum of a sound that keeps coming.

    Args:
        context_frames: frames repeated on either side of a unit's own (2, or 0 in half duplex).
    """

    def __init__(self, context_frames: int) -> None:
        self.context = context_frames
        self.samples = torch.empty(0)
        self.maxima = torch.empty(0)  # loudest bin of each final frame of the buffer
        self.start = 0  # next frame to give out, counted in the buffer
        self.is_first = True

    def push(self, samples: Tensor, num_frames: int) -> MelChunk:
        """Append `samples` and give out the next `num_frames`, with context where there is any.

        Raises:
            ValueError: a frame asked for is not final yet.
        """
        self._append(samples)
        left = 0 if self.is_first else self.context
        first, last = self.start - left, self.start + num_frames + self.context
        if last * HOP + _HALF - HOP > len(self.samples):
            raise ValueError(f"{len(self.samples)} samples are too few for frame {last - 1}")
        from_frame = min(first, len(self.maxima))
        fresh = spectrum(self._window_from(from_frame))  # [80, F]
        floor = self._floor(fresh, from_frame)
        self.start += num_frames
        self.is_first = False
        frames = fresh[:, first - from_frame : last - from_frame]
        return MelChunk(normalise(frames, floor), left, self.context)

    def _append(self, samples: Tensor) -> None:
        self.samples = torch.cat([self.samples, samples])
        if len(self.samples) >= _MAX_BUFFER:
            self.samples = self.samples[_DROPPED:]
            self.start -= _DROPPED // HOP
            self.maxima = self.maxima[_DROPPED // HOP :]
            # The new first frames see a reflection of what follows instead of what was dropped.
            edge = functional.pad(self.samples[None, : 2 * _WINDOW], (_HALF, 0), mode="reflect")[0]
            edge_frames = -(-_HALF // HOP)
            self.maxima[:edge_frames] = spectrum(edge)[:, :edge_frames].amax(0)

    def _window_from(self, frame: int) -> Tensor:
        """The samples under `frame` and all that follow, reflected at the buffer's ends."""
        start = frame * HOP - _HALF
        padded = functional.pad(
            self.samples[None, max(start, 0) :], (max(-start, 0), _HALF), mode="reflect"
        )
        return padded[0, : -HOP if len(self.samples) % HOP == 0 else None]

    def _floor(self, fresh: Tensor, from_frame: int) -> float:
        """What is quieter is raised to this; remembers the maxima of frames that are now final."""
        maxima = torch.cat([self.maxima[:from_frame], fresh.amax(0)])
        num_final = (len(self.samples) - _HALF) // HOP + 1
        self.maxima = maxima[:num_final]
        is_dynamic = len(self.samples) >= _DYNAMIC_AFTER
        return maxima.max().item() - _RANGE if is_dynamic else _FLOOR
