"""The ledger of a reply's sound: what was generated, released to the wire, and played.

Laws: never more than `lead_ms` is released ahead of what the user can have heard; the rest waits
here and can be taken back to the word. Lowered, held and restored, it loses and repeats nothing.
Counts samples; is told the time.
"""

from collections import deque

import numpy as np

from omni.media.script import RATE_HZ as RATE_HZ
from omni.media.script import Script
from omni.types import Samples, Speech, Word, frozen_array

FRAME_SAMPLES = RATE_HZ // 50  # 20 ms


class Playout:
    """One reply on its way to the user's ear.

    Args:
        lead_ms: sound released ahead of real time, at most.
        late_ms: what may be released late, if it was there in time, and is still heard when it
            should have been: whoever takes it makes up for stalls of that length.
        cushion_ms: a first piece shorter than this is begun later by what it lacks, or as soon as
            the next is there: better than a hole behind it.
    """

    def __init__(self, lead_ms: int, late_ms: int = 0, cushion_ms: int = 0) -> None:
        self._late_ms = late_ms
        self._cushion_ms = cushion_ms
        self._came_ms = 0.0  # the first piece
        self._is_waited_for = True  # for lack of sound, or on purpose: since the last release
        self._full_lead_ms = self._lead_ms = lead_ms
        self._gain = self._wanted_gain = 1.0  # of the last sample released, and of the next frame's
        self._waiting: deque[Samples] = deque()
        self.script = Script()
        self._origin_ms: float | None = None  # when sample 0 is played, shifted by any stall
        self.generated_samples = 0
        self.released_samples = 0
        self.is_complete = False  # the last piece has arrived

    @property
    def is_drained(self) -> bool:
        """Everything there will ever be has been released."""
        return self.is_complete and self.released_samples == self.generated_samples

    @property
    def text(self) -> str:
        """The words that have been turned into sound."""
        return self.script.text

    def push(self, speech: Speech, now_ms: float = 0.0) -> None:
        if not self.generated_samples:
            self._came_ms = now_ms
        self.script.add(speech)
        if len(speech.samples):
            self._waiting.append(speech.samples)
        self.generated_samples += len(speech.samples)
        self.is_complete = self.is_complete or speech.is_last

    def duck(self, gain: float, lead_ms: int) -> None:
        """Lower the voice within a frame, and keep the lead short: less to take back, or to wait
        for, when the reply is held or interrupted."""
        self._wanted_gain, self._lead_ms = gain, min(lead_ms, self._full_lead_ms)

    def hold(self) -> None:
        """Fade out within a frame, then release nothing until `duck` or `restore`."""
        self._wanted_gain = 0.0
        if not self.released_samples:
            self._gain = 0.0

    def restore(self) -> None:
        """Speak up again, from where it was left."""
        self._wanted_gain, self._lead_ms = 1.0, self._full_lead_ms

    def release(self, now_ms: float) -> list[Samples]:
        """The frames due by now, 20 ms each (the last may be shorter), oldest first.

        A frame is cut short only at the reply's end; a tail that may still grow waits.
        """
        if self._origin_ms is not None and not self.is_drained:
            # A stall is heard as silence: the clock of the reply stands still with it, or what
            # comes after would run further ahead than the lead.
            behind_ms = now_ms - self._origin_ms - self.released_samples * 1000 / RATE_HZ
            if self._is_waited_for or behind_ms > self._late_ms:
                self._origin_ms += max(0.0, behind_ms)
        frames = []
        while (frame := self._next_frame(now_ms)) is not None:
            frames.append(frame)
        self._is_waited_for = self._is_held or not self._is_ahead(now_ms)
        return frames

    def played_samples(self, now_ms: float) -> int:
        """Samples the user can have heard by now."""
        if self._origin_ms is None:
            return 0
        elapsed = int((now_ms - self._origin_ms) * RATE_HZ / 1000)
        return max(0, min(self.released_samples, elapsed))

    def text_until(self, num_samples: int) -> str:
        """The text whose words were all sounded within the first `num_samples`."""
        return self.script.text_until(num_samples)

    def text_begun(self, num_samples: int) -> str:
        """The text whose words have begun within the first `num_samples`."""
        return self.script.text_begun(num_samples)

    def words_between(self, start_samples: int, end_samples: int) -> tuple[Word, ...]:
        """Words that begin in [start, end), times from the reply's start."""
        return self.script.words_between(start_samples, end_samples)

    def _next_frame(self, now_ms: float) -> Samples | None:
        if self._is_held:
            return None
        available = self.generated_samples - self.released_samples
        if not available or (available < FRAME_SAMPLES and not self.is_complete):
            return None
        if self._origin_ms is None:
            if not self.is_complete and now_ms < self._begins_ms:
                return None
            self._origin_ms = now_ms
        return None if self._is_ahead(now_ms) else self._cut(min(FRAME_SAMPLES, available))

    @property
    def _begins_ms(self) -> float:
        generated_ms = self.generated_samples * 1000 / RATE_HZ
        return self._came_ms + max(0.0, self._cushion_ms - generated_ms)

    @property
    def _is_held(self) -> bool:
        return self._gain == self._wanted_gain == 0

    def _is_ahead(self, now_ms: float) -> bool:
        """As far as may be released has been."""
        if self._origin_ms is None:
            return False
        return self.released_samples * 1000 / RATE_HZ >= now_ms - self._origin_ms + self._lead_ms

    def _cut(self, num_samples: int) -> Samples:
        parts, missing = [], num_samples
        while missing:
            head = self._waiting.popleft()
            parts.append(head[:missing])
            if len(head) > missing:
                self._waiting.appendleft(head[missing:])
            missing -= len(parts[-1])
        self.released_samples += num_samples
        return frozen_array(self._with_gain(np.concatenate(parts)))

    def _with_gain(self, frame: Samples) -> Samples:
        before, self._gain = self._gain, self._wanted_gain
        if before == self._gain == 1:
            return frame
        return frame * np.linspace(before, self._gain, len(frame), dtype=np.float32)
