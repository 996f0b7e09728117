"""When the user begins, pauses, goes on and ends, from speech probabilities alone.

Counts samples of the user's own audio, so it behaves the same on any clock. A semantic hint may
lengthen the pause that ends a turn, never shorten it.
"""

from dataclasses import dataclass
from typing import Literal

from omni.dialog.options import TurnDetection

RATE_HZ = 16000
HYSTERESIS = 0.15  # speech goes on down to this much below the threshold that begins it
LOST_SAMPLES = RATE_HZ // 5  # windows follow each other closer than this
RESUME_SAMPLES = RATE_HZ * 64 // 1000  # a click in a pause does not take the turn back


@dataclass(frozen=True, slots=True, eq=False)
class Boundary:
    """`began` at the onset; `paused` and `ended` at the last voiced sample; `resumed` at the new
    onset."""

    kind: Literal["began", "paused", "resumed", "ended"]
    at_sample: int


class Endpointer:
    """One user's voice as a state machine: quiet → speaking ⇄ paused → quiet.

    Args:
        detection: thresholds, changeable at any time by assignment; None: nothing is found.
        pause_ms: silence after which a likely end is announced as `paused`; changeable, too.
    """

    def __init__(self, detection: TurnDetection | None, pause_ms: int) -> None:
        self.detection = detection
        self.state: Literal["quiet", "speaking", "paused"] = "quiet"
        self.pause_ms = pause_ms
        self.is_waiting = False  # for the words of the present pause, which may ask for more
        self.unready_ms = 0  # silence that ends a turn at least: none of the reply is ready before
        self._run_start: int | None = None  # where the present run of voiced windows began
        self._last_voiced = 0
        self._position = 0
        self._sounds_unfinished = False

    @property
    def run_start(self) -> int | None:
        """Where the present run of voiced windows began; None in silence."""
        return self._run_start

    @property
    def padding_samples(self) -> int:
        """Sound from before its onset that belongs to a turn."""
        return self.detection.prefix_padding_ms * RATE_HZ // 1000 if self.detection else 0

    def hint(self, is_complete: bool) -> None:
        """What the sound or the words of the present turn tell; one doubt is enough."""
        self._sounds_unfinished = self._sounds_unfinished or not is_complete

    def feed(self, end_sample: int, probability: float, min_speech_ms: int) -> Boundary | None:
        """Take in the speech probability of the window that ends at `end_sample`.

        `min_speech_ms`: voiced sound that counts as a beginning.
        """
        previous, self._position = self._position, end_sample
        if end_sample - previous > LOST_SAMPLES:  # nobody listened meanwhile
            previous, self._run_start = end_sample, None
        if self.detection is None:
            self.stop()
            return None
        threshold = self.detection.threshold - (HYSTERESIS if self._run_start is not None else 0)
        if probability >= threshold:
            self._last_voiced = end_sample
            if self._run_start is None:
                self._run_start = previous
            return self._voiced(self._run_start, min_speech_ms * RATE_HZ // 1000)
        self._run_start = None
        return self._unvoiced(end_sample - self._last_voiced, self.detection)

    def stop(self) -> None:
        """Forget the present turn."""
        self.state, self._run_start = "quiet", None
        self._sounds_unfinished = self.is_waiting = False

    def _voiced(self, run_start: int, min_speech_samples: int) -> Boundary | None:
        voiced = self._position - run_start
        if self.state == "quiet" and voiced >= min_speech_samples:
            self.state = "speaking"
            return Boundary("began", run_start)
        if self.state == "paused" and voiced >= RESUME_SAMPLES:
            self.state = "speaking"
            self._sounds_unfinished = self.is_waiting = False
            return Boundary("resumed", run_start)
        return None

    def _unvoiced(self, silence: int, detection: TurnDetection) -> Boundary | None:
        if self.state == "speaking" and silence >= self.pause_ms * RATE_HZ // 1000:
            self.state = "paused"
            return Boundary("paused", self._last_voiced)
        if self.state == "paused" and silence >= self._end_samples(detection):
            self.stop()
            return Boundary("ended", self._last_voiced)
        return None

    def _end_samples(self, detection: TurnDetection) -> int:
        wait_ms = detection.silence_duration_ms
        if self._sounds_unfinished or self.is_waiting:
            wait_ms = max(wait_ms, detection.max_silence_ms)
        wait_ms = max(wait_ms, min(self.unready_ms, detection.max_silence_ms))
        return wait_ms * RATE_HZ // 1000
