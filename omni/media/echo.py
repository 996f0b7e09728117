"""Is what the microphone hears our own voice? Compares its sound with what we have just played.

For clients without an echo canceller. Hides the delay between playing and hearing, which it finds
anew each time, and the rate at which sounds are compared. Law: two voices at once are not an echo
unless ours is much the louder of them.
"""

from typing import Final

import numpy as np

from omni.types import Samples

RATE_HZ: Final = 8000  # of the comparison: speech has its power below 4 kHz
PLAYED_FACTOR: Final = 3  # 24 kHz
HEARD_FACTOR: Final = 2  # 16 kHz
WINDOW_MS: Final = 256  # heard sound that is compared
MAX_DELAY_MS: Final = 700  # player, loudspeaker, room, microphone and the way back
KEPT_MS: Final = 2 * (WINDOW_MS + MAX_DELAY_MS)
MIN_LIKENESS: Final = 0.5  # other voices stay below 0.4; an echo from a live room is over 0.5
QUIET: Final = 3e-5  # root mean square of sound too faint to be compared


class EchoGuard:
    """What we have played lately, on a time line of the wall clock."""

    def __init__(self) -> None:
        self._played: Samples = np.zeros(KEPT_MS * RATE_HZ // 1000, np.float32)
        self._end_ms = -1e9  # when its last sample is played

    def play(self, samples: Samples, now_ms: float) -> None:
        """Sound released now, float32 [n] at 24 kHz; played as soon as what came before was."""
        gap_ms = min(max(0.0, now_ms - self._end_ms), KEPT_MS)
        new = _slower(samples, PLAYED_FACTOR)
        silence = np.zeros(int(gap_ms * RATE_HZ / 1000), np.float32)
        size = len(self._played)
        self._played = np.concatenate([self._played, silence, new])[-size:]
        self._end_ms = max(self._end_ms, now_ms) + len(new) * 1000 / RATE_HZ

    def clear(self, now_ms: float) -> None:
        """What was not played by now never is."""
        unplayed = int(max(0.0, self._end_ms - now_ms) * RATE_HZ / 1000)
        if unplayed:
            kept = self._played[: len(self._played) - unplayed]
            self._played = np.concatenate([np.zeros(unplayed, np.float32), kept])
            self._end_ms = now_ms

    def likeness(self, heard: Samples, end_ms: float) -> float:
        """How much of a sound, float32 [n] at 16 kHz and heard until `end_ms`, is ours: 0 to 1.

        The largest normalised correlation over all delays.
        """
        if end_ms - self._end_ms > WINDOW_MS + MAX_DELAY_MS:
            return 0.0
        heard = _slower(heard, HEARD_FACTOR)
        played = self._until(end_ms, len(heard) + MAX_DELAY_MS * RATE_HZ // 1000)
        # Differences weigh high frequencies up: else any two vowels of one pitch are alike.
        heard, played = np.diff(heard), np.diff(played)
        if _level(heard) < QUIET or _level(played) < QUIET:
            return 0.0
        return _correlation(heard, played)

    def is_echo(self, heard: Samples, end_ms: float) -> bool:
        return self.likeness(heard, end_ms) >= MIN_LIKENESS

    def _until(self, end_ms: float, num_samples: int) -> Samples:
        """The sound played in the time that ends at `end_ms`."""
        end = len(self._played) + int((end_ms - self._end_ms) * RATE_HZ / 1000)
        padded = np.pad(self._played, (num_samples, max(0, end - len(self._played))))
        return padded[max(0, end) : max(0, end) + num_samples]


def _slower(samples: Samples, factor: int) -> Samples:
    """Mean of every `factor` samples: a crude low pass is enough to compare by."""
    size = len(samples) // factor * factor
    return np.asarray(samples[:size].reshape(-1, factor).mean(axis=1), np.float32)


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


def _correlation(heard: Samples, played: Samples) -> float:
    size = 1 << (len(heard) + len(played)).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size))
    products = np.fft.irfft(spectrum, size)[: len(played) - len(heard) + 1]
    sums = np.concatenate([[0.0], np.cumsum(played.astype(np.float64) ** 2)])
    powers = sums[len(heard) :] - sums[: len(played) - len(heard) + 1]
    floor = 1e-3 * float(powers.max()) + 1e-12  # where next to nothing was played, nothing is alike
    scale = np.sqrt(np.maximum(powers, floor) * float(np.sum(heard**2)))
    return float(np.max(np.abs(products) / scale)) if len(products) else 0.0
