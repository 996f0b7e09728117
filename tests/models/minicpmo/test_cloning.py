"""A recording becomes a voice: spectra by the released code's own libraries, and the way through
small stand-ins of its two models."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from omni.errors import AssetError
from omni.models.minicpmo import voice_features
from omni.models.minicpmo.cloning import SPEAKER, TOKENIZER, Cloner
from omni.models.minicpmo.random_weights import official
from omni.models.minicpmo.token2wav_files import load_token2wav, read_dims
from omni.types import Samples
from tests.models.minicpmo.conftest import PACK
from tests.models.minicpmo.voice_models import speaker, tokenizer, write_voice_models

GOLDEN = PACK.parent / "voice" / "features.npz"
DIMS = read_dims(PACK / "token2wav")
EVERY = 7


def recording(start_s: int = 3, num_samples: int = 2 * 16000 + 77) -> Samples:
    """Of the pack's sound, at 16 kHz."""
    with np.load(PACK / "inputs" / "inputs.npz") as inputs:
        sound = inputs["audio_stream"].astype(np.float32) / 32768
    return np.asarray(sound[start_s * 16000 :][:num_samples])


@pytest.fixture
def cloner(tmp_path: Path) -> Cloner:
    write_voice_models(tmp_path)
    return Cloner(tmp_path, DIMS, num_threads=1)


def test_spectra_are_those_of_the_released_code() -> None:
    heard = recording()
    at_24_khz = np.interp(np.arange(len(heard) * 1.5 - 2) / 1.5, np.arange(len(heard)), heard)
    found = {
        "code_mel": voice_features.code_mel(torch.from_numpy(heard))[:, ::EVERY],
        "speaker_fbank": voice_features.speaker_fbank(torch.from_numpy(heard))[::EVERY],
        "sound_mel": voice_features.sound_mel(
            torch.from_numpy(at_24_khz.astype(np.float32)), num_mels=80
        )[::EVERY],
    }
    with np.load(GOLDEN) as golden:
        assert set(golden) == set(found)
        for name, spectrum in found.items():
            np.testing.assert_allclose(spectrum.numpy(), golden[name], atol=2e-3, err_msg=name)


@pytest.mark.parametrize("num_samples", [16000, 16001, 16000 + 480, 47 * 640, 47 * 640 - 1])
def test_a_prompt_has_the_frames_of_its_codes(cloner: Cloner, num_samples: int) -> None:
    prompt = cloner.prompt(recording(num_samples=num_samples), 16000)
    assert len(prompt.codes) == -(-(num_samples // 160) // 4)  # 25 a second, the last one shorter
    assert prompt.mel.shape == (2 * len(prompt.codes), 80)
    assert prompt.speaker.shape == (192,)


def test_the_last_frame_is_repeated_where_the_mel_is_shorter(cloner: Cloner) -> None:
    heard = recording(num_samples=16000 + 480)  # 103 frames of 10 ms: 26 codes; 51 frames of 20 ms
    prompt = cloner.prompt(heard, 16000)
    assert torch.equal(prompt.mel[51], prompt.mel[50])
    assert not torch.equal(prompt.mel[50], prompt.mel[49])


def test_what_the_models_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[1, 128, T] with its length, [1, T, 80] without a mean over time."""
    given = []
    monkeypatch.setattr(
        "omni.models.minicpmo.cloning._run",
        lambda session, inputs: given.append(inputs) or np.zeros((1, 192), np.int32),
    )
    write_voice_models(tmp_path)
    Cloner(tmp_path, DIMS, 1).prompt(recording(), 16000)
    (mel, length), (fbank,) = given
    assert mel.shape == (1, 128, 200)
    assert (length.dtype, length.tolist()) == (np.int32, [200])
    assert fbank.shape == (1, 198, 80)
    assert mel.dtype == fbank.dtype == np.float32
    assert np.abs(fbank.mean(axis=1)).max() < 1e-4


def test_the_rate_of_a_recording_does_not_matter(cloner: Cloner) -> None:
    seconds = np.arange(48000 * 2) / 48000
    tone = (0.3 * np.sin(2 * np.pi * 220 * seconds) * (1 + seconds)).astype(np.float32)
    one, other = cloner.prompt(tone, 48000), cloner.prompt(tone[::2].copy(), 24000)
    assert len(one.codes) == len(other.codes) == 50
    assert torch.nn.functional.cosine_similarity(one.speaker, other.speaker, dim=0) > 0.99
    low = slice(2, 90)  # not the edges of the recording
    torch.testing.assert_close(one.mel[low, :20], other.mel[low, :20], atol=0.2, rtol=0)


def test_two_recordings_are_two_voices(cloner: Cloner) -> None:
    vocoder = load_token2wav(PACK / "token2wav", torch.device("cpu"))
    one, other = (vocoder.voice(cloner.prompt(recording(at), 16000)) for at in (3, 20))
    assert not torch.allclose(one.speaker, other.speaker)
    assert one.state.dit.attention.shape == other.state.dit.attention.shape
    assert not torch.allclose(one.state.dit.attention, other.state.dit.attention)


def test_a_folder_without_the_models_takes_no_voices(tmp_path: Path) -> None:
    assert Cloner.where_possible(tmp_path, DIMS, 1) is None
    onnx.save(tokenizer(10), tmp_path / TOKENIZER)
    with pytest.raises(AssetError, match=f"has no {SPEAKER}"):
        Cloner.where_possible(tmp_path, DIMS, 1)


def spoil_file(folder: Path) -> None:
    (folder / SPEAKER).write_bytes(b"no model")


def swap(folder: Path) -> None:
    (folder / TOKENIZER).write_bytes((folder / SPEAKER).read_bytes())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(spoil_file, f"{SPEAKER} cannot be read"), (swap, f"{TOKENIZER} takes")],
)
def test_other_models_are_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    write_voice_models(tmp_path)
    spoil(tmp_path)
    with pytest.raises(AssetError, match=message):
        Cloner(tmp_path, DIMS, 1)


def test_codes_and_vectors_of_another_vocoder_are_refused(tmp_path: Path) -> None:
    write_voice_models(tmp_path, num_codes=10**6)
    with pytest.raises(AssetError, match="codes that the vocoder has not"):
        Cloner(tmp_path, DIMS, 1).prompt(loud(), 16000)
    onnx.save(tokenizer(6561), tmp_path / TOKENIZER)
    onnx.save(speaker(512), tmp_path / SPEAKER)
    with pytest.raises(AssetError, match="no x-vector of 192"):
        Cloner(tmp_path, DIMS, 1).prompt(recording(), 16000)


def loud() -> Samples:
    """For which the stand-in gives codes beyond 6561."""
    return np.asarray(np.random.default_rng(0).uniform(-1, 1, 16000) * 1e4, np.float32)


def test_the_official_sizes_are_those_the_models_give() -> None:
    _, dims = official()
    assert (dims.num_codes, dims.speaker_size, dims.dit.num_mels) == (6561, 192, 80)
    assert dims.encoder.stride * 25 == 24000 // 480
