"""A recording to what the vocoder starts a voice from: its S3 codes, its x-vector and its mel.

Hides the two ONNX models that lie in the official `assets/token2wav`. They run on the CPU, once for
each recording. Law: a prompt has `stride` mel frames for each code, or there is none. Source:
stepaudio2-minicpmo 0.1.1 `token2wav.py`.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from omni.errors import AssetError
from omni.media.audio import Samples, resample
from omni.models.minicpmo.mel import RATE_HZ
from omni.models.minicpmo.token2wav import Token2WavDims
from omni.models.minicpmo.voice import VoicePrompt
from omni.models.minicpmo.voice_features import SOUND_HZ, code_mel, sound_mel, speaker_fbank
from omni.models.onnx_session import open_session

TOKENIZER: Final = "speech_tokenizer_v2_25hz.onnx"
SPEAKER: Final = "campplus.onnx"


class Cloner:
    """Args:
    folder: where the two models lie.
    dims: of the vocoder that is to speak.

    Raises:
        AssetError: a model is missing, cannot be read, or takes something else.
    """

    def __init__(self, folder: Path, dims: Token2WavDims, num_threads: int) -> None:
        self._dims = dims
        self._tokenizer = _opened(folder / TOKENIZER, num_threads, ["float", "int32"])
        self._speaker = _opened(folder / SPEAKER, num_threads, ["float"])

    @classmethod
    def where_possible(cls, folder: Path, dims: Token2WavDims, num_threads: int) -> "Cloner | None":
        """None where the folder has neither model: a voice then needs its tensors."""
        if not any((folder / name).is_file() for name in (TOKENIZER, SPEAKER)):
            return None
        return cls(folder, dims, num_threads)

    def prompt(self, samples: Samples, rate_hz: int) -> VoicePrompt:
        """Take the voice from a mono recording. [n]

        Raises:
            AssetError: what the models made of it is no voice of this vocoder.
        """
        heard = torch.from_numpy(resample(samples, rate_hz, RATE_HZ).copy())
        codes = self._codes(heard)
        mel = sound_mel(
            torch.from_numpy(resample(samples, rate_hz, SOUND_HZ).copy()), self._dims.dit.num_mels
        )
        num_frames = len(codes) * self._dims.encoder.stride
        return VoicePrompt(codes, _fitted(mel, num_frames), self._vector(heard))

    def _codes(self, heard: Tensor) -> tuple[int, ...]:
        mel = code_mel(heard)[None].numpy()
        told = _run(self._tokenizer, [mel, np.array([mel.shape[2]], np.int32)])
        codes = tuple(int(code) for code in told.flatten())
        if not codes or not all(0 <= code < self._dims.num_codes for code in codes):
            raise AssetError(f"{TOKENIZER} gives codes that the vocoder has not", param=TOKENIZER)
        return codes

    def _vector(self, heard: Tensor) -> Tensor:
        told = _run(self._speaker, [speaker_fbank(heard)[None].numpy()])
        vector = torch.from_numpy(told.flatten().astype(np.float32))
        if len(vector) != self._dims.speaker_size or not vector.isfinite().all():
            raise AssetError(
                f"{SPEAKER} gives no x-vector of {self._dims.speaker_size}", param=SPEAKER
            )
        return vector


def _fitted(mel: Tensor, num_frames: int) -> Tensor:
    """Cut, or the last frame repeated, to so many. [frames, mels]"""
    missing = max(0, num_frames - len(mel))
    return torch.cat([mel, mel[-1:].expand(missing, -1)])[:num_frames]


def _opened(path: Path, num_threads: int, takes: list[str]) -> ort.InferenceSession:
    if not path.is_file():
        raise AssetError(f"{path.parent} has no {path.name}", param=path.name)
    try:
        session = open_session(path, num_threads)
    except Exception as error:  # onnxruntime's have no base of their own
        raise AssetError(f"{path.name} cannot be read", param=path.name) from error
    found = [value.type for value in session.get_inputs()]
    if found != [f"tensor({name})" for name in takes]:
        raise AssetError(f"{path.name} takes {found}, not {takes}", param=path.name)
    return session


def _run(session: ort.InferenceSession, inputs: list[np.ndarray]) -> Any:
    """The first output; inputs are known by their order, as exporters name them as they like."""
    names = [value.name for value in session.get_inputs()]
    try:
        return session.run(None, dict(zip(names, inputs, strict=True)))[0]
    except Exception as error:
        raise AssetError("a voice's model cannot read the recording") from error
