"""A profile's voices: a folder with NAME.wav, NAME.safetensors or both for each.

The clip is heard by the LLM, which then imitates its manner; the tensors (`codes` [n], `mel`
[frames, mels], `speaker` [size]) are what the vocoder starts from. A voice that is not there is
the plain one, so that any client's choice of a name is good.
"""

from pathlib import Path, PurePath

import soundfile
import torch
from safetensors.torch import load_file

from omni.errors import AssetError
from omni.media.audio import resample
from omni.models.minicpmo.mel import RATE_HZ
from omni.models.minicpmo.token2wav import Token2WavDims
from omni.models.minicpmo.voice import VoicePrompt

MAX_CLIP_S = 15
CODES_A_S = 25
SILENT_MEL = -11.512925  # the log of the floor 1e-5


class Voices:
    """Args:
    folder: None where there are none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def known(self, name: str) -> str:
        """The name, or none if there is nothing of that name."""
        files = (f"{name}.wav", f"{name}.safetensors")
        return name if any(map(self._find, files)) else ""

    def has_clip(self, name: str) -> bool:
        return self._find(f"{name}.wav") is not None

    def clip(self, name: str) -> torch.Tensor:
        """The first 15 s of the voice's recording, mono, 16 kHz. [n]

        Raises:
            AssetError: there is none, or it cannot be read.
        """
        path = self._find(f"{name}.wav")
        if path is None:
            raise AssetError(f"voice {name} has no recording", param=name)
        try:
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AssetError(f"{path.name} cannot be read", param=name) from error
        mono = resample(samples[: MAX_CLIP_S * rate_hz].mean(axis=1), rate_hz, RATE_HZ)
        return torch.from_numpy(mono.copy())

    def prompt(self, name: str, dims: Token2WavDims) -> VoicePrompt:
        """What the vocoder starts from; a second of silence for the plain voice.

        Raises:
            AssetError: the file has not the tensors it should.
        """
        path = self._find(f"{name}.safetensors")
        if path is None:
            codes = (dims.stream.silence_code,) * CODES_A_S
            frames = CODES_A_S * dims.encoder.stride
            mel = torch.full((frames, dims.dit.num_mels), SILENT_MEL)
            return VoicePrompt(codes, mel, torch.zeros(dims.speaker_size))
        tensors = load_file(path)
        try:
            spoken = tuple(int(code) for code in tensors["codes"])
            return VoicePrompt(spoken, tensors["mel"], tensors["speaker"])
        except KeyError as missing:
            raise AssetError(f"{path.name} has no {missing.args[0]}", param=name) from missing

    def _find(self, file: str) -> Path | None:
        """A file of the folder itself, whatever a client calls its voice."""
        if self._folder is None or PurePath(file).name != file:
            return None
        path = self._folder / file
        return path if path.is_file() else None
