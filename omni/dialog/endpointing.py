"""When the user begins, pauses, goes on and ends, from speech probabilities and doubts.

Counts samples of the user's own audio, so it behaves the same on any clock. A doubt may lengthen
the pause that ends a turn, nothing shortens it.
"""

from dataclasses import dataclass
from typing import Final, Literal

from omni.config import TurnConfig
from omni.dialog.lexicon import asks_for_more, tells
from omni.dialog.options import TurnDetection

RATE_HZ = 16000
HYSTERESIS = 0.15  # speech goes on down to this much below the threshold that begins it
LOST_SAMPLES = RATE_HZ // 5  # windows follow each other closer than this
RESUME_SAMPLES = RATE_HZ * 64 // 1000  # a click in a pause does not take the turn back

Ending = Literal["finished", "doubtful", "unfinished"]
"""What the sound or the words of a turn tell of its end, from sure to none."""
ENDINGS: Final[tuple[Ending, ...]] = ("finished", "doubtful", "unfinished")


def ending_of_sound(probability: float, limits: TurnConfig) -> Ending:
    """`probability`: that the turn is complete."""
    if probability < limits.complete_threshold:
        return "unfinished"
    return "doubtful" if probability < limits.sure_threshold else "finished"


def ending_of_words(text: str, language: str) -> Ending:
    """Of all the words up to the pause; `language` is ISO 639-1."""
    if asks_for_more(text, language):
        return "unfinished"
    return "doubtful" if tells(text, language) else "finished"


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
        # Silence that ends a turn at least,
        self.unready_ms = 0  # while none of the reply is ready
        self.doubtful_ms = 0  # if its speaker may well go on
        self._run_start: int | None = None  # where the present run of voiced windows began
        self._last_voiced = self._paused_at = 0
        self._position = 0
        self._ending: Ending = "finished"

    @property
    def run_start(self) -> int | None:
        """Where the present run of voiced windows began; None in silence."""
        return self._run_start

    @property
    def padding_samples(self) -> int:
        """Sound from before its onset that belongs to a turn."""
        return self.detection.prefix_padding_ms * RATE_HZ // 1000 if self.detection else 0

    def hint(self, ending: Ending, end_sample: int) -> None:
        """What the sound or the words up to a sample tell; the greater doubt counts.

        It may come when the user has gone on: then it says nothing of the next pause.
        """
        if self.state == "paused" and end_sample >= self._paused_at:
            self._ending = max(self._ending, ending, key=ENDINGS.index)

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
        self._forget_hints()

    def _voiced(self, run_start: int, min_speech_samples: int) -> Boundary | None:
        voiced = self._position - run_start
        if self.state == "quiet" and voiced >= min_speech_samples:
            self.state = "speaking"
            return Boundary("began", run_start)
        if self.state == "paused" and voiced >= RESUME_SAMPLES:
            self.state = "speaking"
            self._forget_hints()
            return Boundary("resumed", run_start)
        return None

    def _unvoiced(self, silence: int, detection: TurnDetection) -> Boundary | None:
        if self.state == "speaking" and silence >= self.pause_ms * RATE_HZ // 1000:
            self.state, self._paused_at = "paused", self._last_voiced
            return Boundary("paused", self._last_voiced)
        if self.state == "paused" and silence >= self._end_samples(detection):
            self.stop()
            return Boundary("ended", self._last_voiced)
        return None

    def _end_samples(self, detection: TurnDetection) -> int:
        longest_ms = detection.max_silence_ms
        wait_ms = self.unready_ms
        if self._ending == "unfinished" or self.is_waiting:
            wait_ms = longest_ms
        elif self._ending == "doubtful":
            wait_ms = max(wait_ms, self.doubtful_ms)
        return max(detection.silence_duration_ms, min(wait_ms, longest_ms)) * RATE_HZ // 1000

    def _forget_hints(self) -> None:
        self._ending, self.is_waiting = "finished", False
