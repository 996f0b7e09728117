import numpy as np
import pytest

from omni import assets
from omni.models.embedded.silero import WINDOW_SAMPLES, Silero, VadState

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def silero(embedded):
    return Silero(assets.resolve(embedded, "silero_vad.onnx"))


def windows(samples):
    whole = len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES
    return samples[:whole].reshape(-1, WINDOW_SAMPLES)


def probabilities(silero, samples):
    state, heard = VadState.fresh(), []
    for window in windows(samples):
        probability, state = silero.step(state, window)
        heard.append(probability)
    return np.array(heard)


@pytest.mark.parametrize("name", ["jfk.flac", "arctic_a0024.wav", "fr_mer_jaune.wav"])
def test_speech_is_heard(silero, recording, name):
    assert (probabilities(silero, recording(name)) > 0.5).mean() > 0.55


@pytest.mark.parametrize("name", ["dog_bark.wav", "cough.wav"])
def test_noises_are_not_speech(silero, recording, name):
    assert probabilities(silero, recording(name)).max() < 0.3


@pytest.mark.parametrize("level", [0.0, 0.001, 0.1])
def test_silence_and_white_noise_are_not_speech(silero, level):
    noise = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * np.float32(level)
    assert probabilities(silero, noise).max() < 0.3


def test_speech_is_heard_where_it_is(silero, recording):
    """weather_question.wav begins with 0.45 s of silence."""
    speech = np.flatnonzero(probabilities(silero, recording("weather_question.wav")) > 0.5)
    assert speech[0] * WINDOW_SAMPLES / 16000 == pytest.approx(0.45, abs=0.1)


def test_streams_do_not_disturb_each_other(silero, recording):
    one, other = recording("arctic_a0024.wav"), recording("jfk.flac")
    states, heard = [VadState.fresh(), VadState.fresh()], []
    for pair in zip(windows(one), windows(other), strict=False):
        for stream, window in enumerate(pair):
            probability, states[stream] = silero.step(states[stream], window)
            heard.append(probability)
    expected = probabilities(silero, one)
    np.testing.assert_array_equal(np.array(heard[::2]), expected)


def test_the_past_matters(silero, recording):
    """The state carries the stream: without it the same window sounds different."""
    window = windows(recording("arctic_a0024.wav"))[12]
    state = VadState.fresh()
    for before in windows(recording("arctic_a0024.wav"))[:12]:
        _, state = silero.step(state, before)
    assert silero.step(state, window)[0] != silero.step(VadState.fresh(), window)[0]
