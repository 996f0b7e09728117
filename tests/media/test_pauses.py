"""Where a long recording is cut."""

from itertools import pairwise

import numpy as np
import pytest

from omni.media.audio import Samples
from omni.media.pauses import MAX_S, pieces

RATE_HZ = 16000


def sound(*parts: tuple[float, float]) -> Samples:
    """Noise of (seconds, level), one after the other."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, level, int(seconds * RATE_HZ)) for seconds, level in parts]
    return np.concatenate(noise).astype(np.float32)


@pytest.mark.parametrize(
    "recording",
    [
        sound((40, 0.1)),
        sound((3, 0.1), (0.5, 0), (9, 0.2), (2, 0), (1, 0.1)),
        sound((0.2, 0), (30, 0.01), (0.4, 0.0001), (13, 0.01)),
        sound((0.013, 0.1)),
    ],
)
def test_pieces_hold_all_that_is_audible_in_order(recording: Samples) -> None:
    found = pieces(recording, RATE_HZ)
    covered = np.zeros(len(recording), bool)
    for before, after in pairwise(found):
        assert before.end <= after.start
    for piece in found:
        assert 0 < piece.end - piece.start <= MAX_S * RATE_HZ
        covered[piece.start : piece.end] = True
    assert covered[np.abs(recording) > 0.005].all()


def test_a_cut_falls_into_a_pause() -> None:
    recording = sound((7, 0.1), (0.6, 0), (7, 0.1))
    first, second = pieces(recording, RATE_HZ)
    assert first.end / RATE_HZ == pytest.approx(7.3, abs=0.31)
    assert second.start / RATE_HZ == pytest.approx(7.3, abs=0.31)


def test_a_noisy_pause_is_still_the_quietest_place() -> None:
    recording = sound((8, 0.1), (0.4, 0.04), (8, 0.1))
    assert pieces(recording, RATE_HZ)[0].end / RATE_HZ == pytest.approx(8.2, abs=0.25)


def test_silence_has_no_pieces() -> None:
    assert pieces(np.zeros(RATE_HZ * 30, np.float32), RATE_HZ) == []
    assert pieces(np.zeros(0, np.float32), RATE_HZ) == []
