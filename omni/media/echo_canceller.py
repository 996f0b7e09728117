"""Our own voice taken out of the microphone, for clients that do not do it themselves.

WebRTC's AEC3 (`pywebrtc-audio`), which finds the echo's delay. Hides the reference: what we have
played, on the wall clock, read at the microphone's own pace. Law: what goes in comes out, sample
for sample, at most 10 ms later.
"""

from typing import Final

import numpy as np
from pywebrtc_audio import AudioProcessor

from omni.media.audio import Framer, Resampler
from omni.types import Samples, frozen_array

RATE_HZ: Final = 16000
PLAYED_HZ: Final = 24000
FRAME_SAMPLES: Final = RATE_HZ // 100  # what AEC3 works on
KEPT_SAMPLES: Final = 2 * RATE_HZ
MAX_DRIFT_SAMPLES: Final = RATE_HZ // 10  # of the microphone's clock, its jitter included


class EchoCanceller:
    """One call's. Times are in ms of the wall clock."""

    def __init__(self) -> None:
        self._aec = AudioProcessor(sample_rate=RATE_HZ, echo_cancellation=True)
        self._resampler = Resampler(PLAYED_HZ, RATE_HZ)
        self._framer = Framer(FRAME_SAMPLES)
        self._played: Samples = np.zeros(KEPT_SAMPLES, np.float32)
        self._played_end = 0  # wall clock in samples
        self._heard_end = 0  # the same, of the microphone's last sample

    def play(self, samples: Samples, now_ms: float) -> None:
        """Sound released now, float32 [n] at 24 kHz; played as soon as what came before was."""
        now = int(now_ms * RATE_HZ / 1000)
        silence = np.zeros(min(max(0, now - self._played_end), KEPT_SAMPLES), np.float32)
        new = self._resampler.push(samples)
        self._played = np.concatenate([self._played, silence, new])[-KEPT_SAMPLES:]
        self._played_end = max(self._played_end, now) + len(new)

    def clear(self, now_ms: float) -> None:
        """What was not played by now never is."""
        unplayed = self._played_end - int(now_ms * RATE_HZ / 1000)
        if unplayed > 0:
            self._played = np.concatenate(
                [np.zeros(unplayed, np.float32), self._played[:-unplayed]]
            )
            self._played_end -= unplayed

    def clean(self, samples: Samples, now_ms: float) -> Samples:
        """The microphone's sound, float32 [n] at 16 kHz, without ours."""
        now = int(now_ms * RATE_HZ / 1000)
        self._heard_end += len(samples)
        if abs(now - self._heard_end) > MAX_DRIFT_SAMPLES:
            self._heard_end = now
        frames = self._framer.push(samples)
        if not len(frames):
            return np.zeros(0, np.float32)
        rest = self._framer.num_waiting
        far = self._until(self._heard_end - rest, frames.size)
        near = np.ascontiguousarray(frames.reshape(-1))
        return frozen_array(self._aec.process(near, far))

    def _until(self, end: int, num_samples: int) -> Samples:
        """What was played in so many samples before `end`."""
        at = len(self._played) - (self._played_end - end)
        padded = np.pad(self._played, (num_samples, max(0, at - len(self._played))))
        return np.ascontiguousarray(padded[max(0, at) : max(0, at) + num_samples])
