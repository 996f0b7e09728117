"""The user's recent sound, addressed by sample position since the session began.

Positions never shift: what is asked for by position is what was said then, or silence if it is
gone. Keeps a bounded time and forgets the oldest.
"""

import numpy as np

from omni.types import Samples, frozen_array


class SampleBuffer:
    """A ring of float32 samples.

    Args:
        capacity_samples: how many of the newest samples are kept.
    """

    def __init__(self, capacity_samples: int) -> None:
        self._ring = np.zeros(capacity_samples, np.float32)
        self.position = 0  # samples ever appended

    def append(self, samples: Samples) -> None:
        newest = samples[-len(self._ring) :]
        self.position += len(samples)
        start = (self.position - len(newest)) % len(self._ring)
        first = min(len(newest), len(self._ring) - start)
        self._ring[start : start + first] = newest[:first]
        self._ring[: len(newest) - first] = newest[first:]

    def slice(self, start_sample: int, end_sample: int) -> Samples:
        """Samples [start, end) as a read-only copy, less what is no longer or not yet held."""
        start = max(start_sample, self.position - len(self._ring), 0)
        end = min(end_sample, self.position)
        if end <= start:
            return frozen_array(np.zeros(0, np.float32))
        return frozen_array(self._ring[np.arange(start, end) % len(self._ring)])
