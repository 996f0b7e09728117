"""Whisper's features: log-mel spectrogram, 80 bands, 10 ms hop, at 16 kHz.

Hides the filter bank. Equal to the reference implementation of the Whisper paper
(https://github.com/openai/whisper, audio.py) to float32 accuracy; numpy alone.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RATE_HZ = 16000
HOP_SAMPLES = 160
NUM_MELS = 80
_FFT_SAMPLES = 400
_DYNAMIC_RANGE = 8.0


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n] at 16 kHz, n > 200, to float32 [80, n // 160], roughly in [-1, 1]."""
    padded = np.pad(samples, _FFT_SAMPLES // 2, mode="reflect")
    frames = sliding_window_view(padded, _FFT_SAMPLES)[: len(samples) - 159 : HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * _WINDOW, axis=-1)  # [frames, 201]
    power = spectrum.real**2 + spectrum.imag**2
    log_power = np.log10(np.maximum(_FILTERS @ power.T, 1e-10))
    floor = log_power.max() - _DYNAMIC_RANGE
    scaled: NDArray[np.float32] = (np.maximum(log_power, floor) / 4 + 1).astype(np.float32)
    return scaled


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear to 1000 Hz (mel 15), then 27 steps to each factor of 6.4."""
    logarithmic = 1000 * np.exp((mel - 15) * np.log(6.4) / 27)
    return np.where(mel < 15, mel * 200 / 3, logarithmic)


def _filter_bank() -> NDArray[np.float32]:
    """Triangles of equal area between neighbouring mel points, [80, 201]."""
    top_mel = 15 + np.log(RATE_HZ / 2 / 1000) * 27 / np.log(6.4)
    edges_hz = _mel_to_hz(np.linspace(0, top_mel, NUM_MELS + 2))
    bins_hz = np.linspace(0, RATE_HZ / 2, _FFT_SAMPLES // 2 + 1)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (high - low)).astype(np.float32)


_FILTERS = _filter_bank()
_WINDOW = np.hanning(_FFT_SAMPLES + 1)[:-1].astype(np.float32)
