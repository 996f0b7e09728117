"""Hides how a decoded clause becomes one that starts at once and ends with a natural pause."""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 24_000
AUDIBLE = 0.01  # of full scale
LEAD_SAMPLES = RATE_HZ // 100  # kept before the first audible sample, so that no onset is clipped
TAIL_SAMPLES = RATE_HZ // 33
FADE_SAMPLES = RATE_HZ // 200
PAUSE_MS = {".": 240, "!": 240, "?": 240, "…": 300, ":": 180, ";": 180, ",": 120, "—": 140}

Sound = NDArray[np.float32]  # [samples] at 24 kHz


def audible(sound: Sound) -> tuple[int, int]:
    """The range of samples worth hearing; empty at 0 if there is none."""
    loud = np.flatnonzero(np.abs(sound) > AUDIBLE)
    if not loud.size:
        return 0, 0
    return max(0, int(loud[0]) - LEAD_SAMPLES), min(len(sound), int(loud[-1]) + TAIL_SAMPLES)


def faded(sound: Sound) -> Sound:
    """A copy whose ends come up from and go down to silence, without a click."""
    shaped = np.array(sound, np.float32)
    length = min(FADE_SAMPLES, len(shaped) // 2)
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    shaped[:length] *= ramp
    shaped[len(shaped) - length :] *= ramp[::-1]
    return shaped


def pause(phonemes: str) -> Sound:
    """Silence that the punctuation at the end of a clause asks for."""
    mark = phonemes.rstrip('"”)')[-1:]
    return np.zeros(PAUSE_MS.get(mark, 0) * RATE_HZ // 1000, np.float32)


def frozen(parts: list[Sound]) -> Sound:
    """The parts joined, read-only."""
    joined = np.concatenate([*parts, np.zeros(0, np.float32)])
    joined.setflags(write=False)
    return joined
