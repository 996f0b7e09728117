"""A session's reference recording is what it sounds like; one that cannot be used is said so."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from omni.errors import AssetError
from omni.models.minicpmo.cloning import Cloner
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.stages.minicpmo import timbres
from omni.stages.minicpmo.timbres import Timbres
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, Samples, Speech, StageReport
from omni.units import VOICE_UNUSABLE
from tests.models.minicpmo.voice_models import write_voice_models
from tests.stages.minicpmo.flow import PACK, Flow, chosen, recording, tiny

NUM_UNITS = 6


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    folder = tmp_path / "voices"
    folder.mkdir()
    for name, start_s in (("anna", 3), ("ben", 20)):
        clip = recording()[start_s * 16000 :][: 3 * 16000]
        soundfile.write(folder / f"{name}.wav", clip, 16000)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny one, with what takes a voice from a recording."""
    folder = copytree(PACK, tmp_path / "checkpoint", ignore=lambda *_: ["golden", "inputs"])
    write_voice_models(folder / "token2wav")
    return folder


def said(checkpoint: Path, voices: Path, names: Sequence[str]) -> list[list[Chunk]]:
    """What sessions with these voices are told, all in the same seconds."""
    folders = (f"brain.checkpoint={checkpoint}", f"brain.duplex.voices={voices}")
    flow = Flow(tiny(*folders, "brain.think.num_slots=5"))
    told = [flow.open(f"session-{i}", voice=name) for i, name in enumerate(names)]
    for index in range(NUM_UNITS):
        for i, chunks in enumerate(told):
            chunks += flow.unit(f"session-{i}", index)
    return told


def words(chunks: Sequence[Chunk]) -> list[tuple[str, int]]:
    return [(c.text, c.num_tokens) for c in chosen(chunks)]


def sound(chunks: Sequence[Chunk]) -> Samples:
    return np.concatenate([c.samples for c in chunks if isinstance(c, Speech)])


def reports(chunks: Sequence[Chunk]) -> list[StageReport]:
    return [c for c in chunks if isinstance(c, StageReport)]


def test_a_session_sounds_like_its_recording(checkpoint: Path, voices: Path) -> None:
    """The words, which the recording sways too, are the same with and without the models that read
    it; the sound is another."""
    cloned, twin, other = said(checkpoint, voices, ["anna", "anna", "ben"])
    (plain,) = said(PACK, voices, ["anna"])
    assert words(cloned) == words(plain)
    assert sound(cloned).shape == sound(plain).shape != (0,)
    assert np.abs(sound(cloned) - sound(plain)).max() > 0.01
    assert np.array_equal(sound(cloned), sound(twin))
    assert not np.array_equal(sound(other), sound(cloned))
    assert not reports([*cloned, *other, *plain])


def test_tensors_go_before_the_recording(checkpoint: Path, voices: Path) -> None:
    vocoder = load_token2wav(PACK / "token2wav", torch.device("cpu"))
    cloner = Cloner(checkpoint / "token2wav", vocoder.dims, 1)
    reader = Voices(voices, 10)
    cloned = reader.prompt("anna", vocoder.dims, cloner)
    tensors = {"codes": torch.arange(8), "mel": torch.zeros(16, 80), "speaker": torch.ones(192)}
    save_file(tensors, voices / "anna.safetensors")
    assert len(cloned.codes) == 75
    assert reader.prompt("anna", vocoder.dims, cloner).codes == tuple(range(8))


def test_of_a_long_recording_the_beginning_is_used(checkpoint: Path, voices: Path) -> None:
    soundfile.write(voices / "long.wav", recording(), 16000)
    vocoder = load_token2wav(PACK / "token2wav", torch.device("cpu"))
    cloner = Cloner(checkpoint / "token2wav", vocoder.dims, 1)
    reader = Voices(voices, 4)
    assert len(reader.clip("long")) == 4 * 16000
    assert len(reader.prompt("long", vocoder.dims, cloner).codes) == 4 * 25


NOISE = np.random.default_rng(0).uniform(-0.1, 0.1, 32000).astype(np.float32)
RUBBISH = {
    "short": (NOISE[:15000], "shorter than 1 s"),
    "silent": (NOISE * 1e-4, "silent"),
    "broken": (np.where(np.arange(32000) == 9, np.nan, NOISE), "is no sound"),
    "text": (None, "cannot be read"),
}


def test_rubbish_is_refused_and_the_session_goes_on(checkpoint: Path, voices: Path) -> None:
    for name, (samples, _) in RUBBISH.items():
        path = voices / f"{name}.wav"
        if samples is None:
            path.write_text("this is no recording")
        else:
            soundfile.write(path, samples, 16000, subtype="FLOAT")
    *all_refused, plain = said(checkpoint, voices, [*RUBBISH, ""])
    for refused, (_, reason) in zip(all_refused, RUBBISH.values(), strict=True):
        (report,) = reports(refused)
        assert (report.stage, report.code) == ("speak", VOICE_UNUSABLE)
        assert reason in report.message
        assert words(refused) == words(plain)
        assert np.array_equal(sound(refused), sound(plain))


def test_a_voice_of_another_vocoder_is_refused_with_its_first_words(
    checkpoint: Path, voices: Path
) -> None:
    tensors = {"codes": torch.arange(8), "mel": torch.zeros(16, 40), "speaker": torch.ones(192)}
    save_file(tensors, voices / "old.safetensors")
    refused, plain = said(checkpoint, voices, ["old", ""])
    (report,) = reports(refused)
    assert report.code == VOICE_UNUSABLE
    assert "not of this vocoder" in report.message
    assert np.array_equal(sound(refused), sound(plain))


def test_a_voice_is_read_once_until_its_file_is_another(
    checkpoint: Path, voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timbres, "MAX_VOICES", 2)
    vocoder = load_token2wav(PACK / "token2wav", torch.device("cpu"))
    cloner = Cloner(checkpoint / "token2wav", vocoder.dims, 1)
    known = Timbres(vocoder, Voices(voices, 10), cloner)
    anna = known.voice("anna")
    assert known.voice("anna") is anna
    assert known.voice("nobody") is known.voice("")
    assert known.voice("anna") is anna
    known.voice("ben")  # now the plain one was not used for longest
    assert known.voice("anna") is anna
    soundfile.write(voices / "anna.wav", NOISE, 16000)
    assert known.voice("anna") is not anna


def test_models_that_belong_to_another_vocoder_are_an_error_at_start(
    checkpoint: Path, voices: Path
) -> None:
    (checkpoint / "token2wav" / "campplus.onnx").unlink()
    with pytest.raises(AssetError, match=r"has no campplus\.onnx"):
        said(checkpoint, voices, [])
