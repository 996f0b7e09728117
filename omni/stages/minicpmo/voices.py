"""A profile's voices: a folder with NAME.wav, NAME.safetensors or both for each.

The recording is heard by the LLM, which then imitates its manner, and read by the vocoder, which
then sounds like it; tensors (`codes` [n], `mel` [frames, mels], `speaker` [size]) go before it
there. A voice that is not there is the plain one, so that any client's choice of a name is good.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file

from omni.errors import AssetError
from omni.media.audio import Samples, resample
from omni.models.minicpmo.cloning import Cloner
from omni.models.minicpmo.mel import RATE_HZ
from omni.models.minicpmo.token2wav import Token2WavDims
from omni.models.minicpmo.voice import VoicePrompt

MIN_CLIP_S = 1
QUIET_RMS = 1e-3  # -60 dB of full scale
CODES_A_S = 25
SILENT_MEL = -11.512925  # the log of the floor 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    samples: Samples  # [n], mono
    rate_hz: int


class Voices:
    """Args:
    folder: None where there are none.
    max_clip_s: of a recording, what comes later is left out.
    """

    def __init__(self, folder: Path | None, max_clip_s: int) -> None:
        self._folder = folder
        self._max_clip_s = max_clip_s

    @property
    def max_prompt_s(self) -> int:
        """The longest that a vocoder's prompt gets; the plain one is a second of silence."""
        return 1 if self._folder is None else self._max_clip_s

    def key(self, name: str) -> Hashable:
        """Alike for what sounds alike: all that is not there, and a file until it is replaced."""
        paths = [self._find(f"{name}{ending}") for ending in (".safetensors", ".wav")]
        return tuple((path.name, path.stat().st_mtime_ns) for path in paths if path)

    def fault(self, name: str) -> str:
        """Why its recording cannot be used; nothing where it can be, or where there is none."""
        if self._find(f"{name}.wav") is None:
            return ""
        try:
            self._recording(name)
        except AssetError as error:
            return error.message
        return ""

    def has_clip(self, name: str) -> bool:
        """There is a recording, and it can be used."""
        return self._find(f"{name}.wav") is not None and not self.fault(name)

    def clip(self, name: str) -> torch.Tensor:
        """The beginning of the voice's recording, mono, 16 kHz. [n]

        Raises:
            AssetError: there is none, or it cannot be used.
        """
        recording = self._recording(name)
        return torch.from_numpy(resample(recording.samples, recording.rate_hz, RATE_HZ).copy())

    def prompt(self, name: str, dims: Token2WavDims, cloner: Cloner | None) -> VoicePrompt:
        """What the vocoder starts from; a second of silence for the plain voice, and for one that
        has a recording alone where nobody can read it.

        Raises:
            AssetError: the file has not the tensors it should, or the recording cannot be used.
        """
        path = self._find(f"{name}.safetensors")
        if path is not None:
            return _stored(path)
        if cloner is not None and self._find(f"{name}.wav") is not None:
            recording = self._recording(name)
            return cloner.prompt(recording.samples, recording.rate_hz)
        codes = (dims.stream.silence_code,) * CODES_A_S
        mel = torch.full((CODES_A_S * dims.encoder.stride, dims.dit.num_mels), SILENT_MEL)
        return VoicePrompt(codes, mel, torch.zeros(dims.speaker_size))

    def _recording(self, name: str) -> Recording:
        path = self._find(f"{name}.wav")
        if path is None:
            raise AssetError(f"voice {name} has no recording", param=name)
        try:
            with soundfile.SoundFile(path) as file:
                rate_hz = file.samplerate
                both = file.read(self._max_clip_s * rate_hz, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise AssetError(f"{path.name} cannot be read", param=name) from error
        samples = both.mean(axis=1)
        if len(samples) < MIN_CLIP_S * rate_hz:
            raise AssetError(f"{path.name} is shorter than {MIN_CLIP_S} s", param=name)
        if not np.isfinite(samples).all():
            raise AssetError(f"{path.name} is no sound", param=name)
        if np.sqrt(np.mean(samples**2)) < QUIET_RMS:
            raise AssetError(f"{path.name} is silent", param=name)
        return Recording(samples, rate_hz)

    def _find(self, file: str) -> Path | None:
        """A file of the folder itself, whatever a client calls its voice."""
        if self._folder is None or PurePath(file).name != file:
            return None
        path = self._folder / file
        return path if path.is_file() else None


def _stored(path: Path) -> VoicePrompt:
    tensors = load_file(path)
    try:
        spoken = tuple(int(code) for code in tensors["codes"])
        return VoicePrompt(spoken, tensors["mel"], tensors["speaker"])
    except KeyError as missing:
        raise AssetError(f"{path.name} has no {missing.args[0]}", param=path.stem) from missing
