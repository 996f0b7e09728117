import numpy as np
import pytest

from omni import assets
from omni.models.embedded.smart_turn import WINDOW_SAMPLES, SmartTurn

pytestmark = pytest.mark.models

PAUSE = np.zeros(3200, np.float32)


@pytest.fixture(scope="module")
def smart_turn(embedded):
    return SmartTurn(assets.resolve(embedded, "smart_turn.onnx"), num_threads=1)


@pytest.mark.parametrize(
    ("name", "end_s"),
    [
        ("weather_question.wav", 1.86),
        ("dangerous_situation.wav", 4.93),
        ("arctic_a0024.wav", 3.84),
        ("fr_mer_jaune.wav", 3.90),
        ("es_homenaje.wav", 3.33),
        ("jfk.flac", 11.0),
    ],
)
def test_a_finished_sentence_ends_the_turn(smart_turn, recording, name, end_s):
    said = recording(name)[: int(end_s * 16000)]
    assert smart_turn.probability(np.concatenate([said, PAUSE])) > 0.75


@pytest.mark.parametrize(
    ("name", "cut_s"),
    [
        ("weather_question.wav", 1.0),
        ("dangerous_situation.wav", 3.4),
        ("arctic_a0024.wav", 2.77),
        ("librispeech_1995-1837-0001.wav", 4.4),
        ("jfk.flac", 6.7),
    ],
)
def test_half_a_sentence_does_not(smart_turn, recording, name, cut_s):
    said = recording(name)[: int(cut_s * 16000)]
    assert smart_turn.probability(np.concatenate([said, PAUSE])) < 0.25


def test_only_the_last_8_s_count(smart_turn, recording):
    said = recording("jfk.flac")
    assert len(said) > WINDOW_SAMPLES
    assert smart_turn.probability(said) == smart_turn.probability(said[-WINDOW_SAMPLES:])


def test_loudness_does_not_change_the_verdict(smart_turn, recording):
    said = recording("weather_question.wav")
    assert smart_turn.probability(said * np.float32(0.03)) > 0.75
