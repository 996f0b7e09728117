"""Cuts the user's turn into seconds while it is spoken.

Hides where a turn begins and ends within them. Laws: no sample of a turn is handed out twice, nor
left out; what lies between two turns never is; a last, shorter second is filled up with silence.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from omni.dialog.turn import RATE_HZ
from omni.media.buffer import SampleBuffer
from omni.types import Samples, frozen_array

UNIT_SAMPLES: Final = RATE_HZ
MAX_COMMIT_S: Final = 120  # of what was said since the last turn, the newest


class TurnUnits:
    """One session's microphone."""

    def __init__(self) -> None:
        self._buffer = SampleBuffer(MAX_COMMIT_S * RATE_HZ)
        self._free_from = 0  # what lies before was handed out, or cleared
        self.is_open = False

    @property
    def position(self) -> int:
        return self._buffer.position

    @property
    def num_uncommitted(self) -> int:
        """Samples since the last turn."""
        return self._buffer.position - self._free_from

    def feed(self, samples: Samples) -> None:
        self._buffer.append(samples)

    def begin(self, at_sample: int) -> None:
        """A turn began there, or where the last one ended; nothing happens in an open one."""
        if not self.is_open:
            self.is_open, self._free_from = True, max(at_sample, self._free_from)

    def whole(self) -> Iterator[Samples]:
        """The whole seconds of the open turn that were not handed out yet. [16000]"""
        while self.is_open and self.num_uncommitted >= UNIT_SAMPLES:
            yield self._take(self._free_from + UNIT_SAMPLES)

    def until(self, end_sample: int) -> Iterator[Samples]:
        """All of the open turn up to a sample, the last second filled up. [16000]"""
        end = min(end_sample, self.position)
        while self.is_open and self._free_from < end:
            yield self._take(min(end, self._free_from + UNIT_SAMPLES))

    def end(self) -> None:
        """The turn is over; the silence after it belongs to none."""
        self.is_open = False
        self._free_from = self.position

    def last(self, num_samples: int) -> Samples:
        """The newest sound, whether it was handed out or not."""
        return self._buffer.slice(self.position - num_samples, self.position)

    def _take(self, end: int) -> Samples:
        samples = self._buffer.slice(self._free_from, end)
        self._free_from = end
        missing = UNIT_SAMPLES - len(samples)
        return frozen_array(np.pad(samples, (0, missing))) if missing else samples
