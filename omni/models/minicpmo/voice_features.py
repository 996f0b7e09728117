"""What a recording looks like to the three models that take a voice from it.

Hides the front ends they were trained with: Whisper's spectrum of 128 mels for the S3 tokenizer,
Kaldi's filter bank for CAM++, and CosyVoice's mel, which the flow makes. Sources: openai-whisper
`audio.py`, Kaldi `feature-fbank.h`, stepaudio2-minicpmo 0.1.1 `token2wav.py`.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from omni.models.minicpmo.mel import HOP, RATE_HZ, normalise, slaney_filters

CODE_MELS: Final = 128
FBANK_MELS: Final = 80
SOUND_HZ: Final = 24000
_CODE_WINDOW: Final = 400
_CODE_RANGE: Final = 8.0
_SOUND_WINDOW: Final = 1920
_SOUND_HOP: Final = 480
_SOUND_MAX_HZ: Final = 8000.0

_CODE_FILTERS = torch.from_numpy(slaney_filters(_CODE_WINDOW, CODE_MELS, RATE_HZ)).float()
_FBANK_FILTERS = mel_filter_bank(
    num_frequency_bins=257,
    num_mel_filters=FBANK_MELS,
    min_frequency=20.0,
    max_frequency=RATE_HZ / 2,
    sampling_rate=RATE_HZ,
    mel_scale="kaldi",
    triangularize_in_mel_space=True,
)
_FBANK_WINDOW = window_function(400, "povey", periodic=False)


def code_mel(samples: Tensor) -> Tensor:
    """Whisper's log-mel of sound at 16 kHz as it is, without padding. [n] to [128, n // 160]"""
    window = torch.hann_window(_CODE_WINDOW)
    stft = torch.stft(samples, _CODE_WINDOW, HOP, window=window, return_complex=True)[:, :-1]
    log_mel = (_CODE_FILTERS.T @ stft.abs() ** 2).clamp(min=1e-10).log10()
    return normalise(log_mel, log_mel.max().item() - _CODE_RANGE)


def speaker_fbank(samples: Tensor) -> Tensor:
    """Kaldi's log filter bank of sound at 16 kHz, less its mean over time. [n] to [T, 80]"""
    log_mel = spectrogram(
        samples.numpy(),
        _FBANK_WINDOW,
        frame_length=400,
        hop_length=HOP,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=_FBANK_FILTERS,
        log_mel="log",
        mel_floor=float(np.finfo(np.float32).eps),
        remove_dc_offset=True,
    )
    frames = torch.from_numpy(log_mel.T.astype(np.float32))
    return frames - frames.mean(dim=0, keepdim=True)


def sound_mel(samples: Tensor, num_mels: int) -> Tensor:
    """Log-mel of sound at 24 kHz as the flow makes it, 50 frames a second. [n] to [n // 480, M]"""
    filters = slaney_filters(_SOUND_WINDOW, num_mels, SOUND_HZ, _SOUND_MAX_HZ)
    edge = (_SOUND_WINDOW - _SOUND_HOP) // 2
    padded = functional.pad(samples[None], (edge, edge), mode="reflect")[0]
    window = torch.hann_window(_SOUND_WINDOW)
    stft = torch.stft(
        padded, _SOUND_WINDOW, _SOUND_HOP, window=window, center=False, return_complex=True
    )
    magnitude = (stft.abs() ** 2 + 1e-9).sqrt()
    return (torch.from_numpy(filters).float().T @ magnitude).clamp(min=1e-5).log().T
