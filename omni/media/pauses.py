"""A long recording as pieces that a recogniser takes in whole, cut where nobody speaks.

Law: the pieces lie one after the other within the recording, and all that is audible is in one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni.media.audio import Samples

MIN_S: Final = 5.0
MAX_S: Final = 12.0
_STEP_S: Final = 0.02
_PAUSE_STEPS: Final = 15  # 300 ms
_FLOOR: Final = 1e-3  # root mean square; below it is silence in any recording
_BELOW_LOUD: Final = 0.06  # and so is what is 24 dB below the loud parts of this one


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Samples from `start` to `end` of the recording."""

    start: int
    end: int


def pieces(samples: Samples, rate_hz: int) -> list[Piece]:
    """The audible pieces of a recording, float32 [n], each at most `MAX_S` long."""
    step = int(rate_hz * _STEP_S)
    if not len(samples):
        return []
    level = _levels(samples, step)
    is_quiet = level < max(_FLOOR, _BELOW_LOUD * float(np.percentile(level, 95)))
    found, first = [], 0
    while first < len(level):
        last = min(first + int(MAX_S / _STEP_S), len(level))
        if last < len(level):
            last = _cut(level, is_quiet, first, last)
        loud = np.flatnonzero(~is_quiet[first:last])
        if len(loud):
            # Onsets and endings are quieter than speech: a little is kept on either side.
            start = max(first, first + int(loud[0]) - _PAUSE_STEPS)
            end = min(last, first + int(loud[-1]) + 1 + _PAUSE_STEPS)
            found.append(Piece(start * step, min(end * step, len(samples))))
        first = last
    return found


def _cut(level: NDArray[np.float32], is_quiet: NDArray[np.bool_], first: int, last: int) -> int:
    """The first pause after `MIN_S`, else the quietest place."""
    early = first + int(MIN_S / _STEP_S)
    run = np.convolve(is_quiet[early:last], np.ones(_PAUSE_STEPS), "valid")
    paused = np.flatnonzero(run == _PAUSE_STEPS)
    if len(paused):
        return early + int(paused[0]) + _PAUSE_STEPS // 2
    smooth = np.convolve(level[early:last], np.ones(_PAUSE_STEPS), "valid")
    return early + int(np.argmin(smooth)) + _PAUSE_STEPS // 2


def _levels(samples: Samples, step: int) -> NDArray[np.float32]:
    """Root mean square of every step, [ceil(n / step)]."""
    padded = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    levels: NDArray[np.float32] = np.sqrt(np.mean(padded**2, axis=1))
    return levels
