"""Cuts the microphone into units of a second, and keeps their beat.

Hides what happens when sound or answers come late. Laws: a unit is handed out as soon as it is
whole and fewer than `num_in_flight` are unanswered; one that waited `late_ms` beyond its beat is
left out, oldest first; where no sound comes, a unit is filled up with silence, so that the beat
goes on.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from omni.config_duplex import DuplexConfig
from omni.types import Chunk, Samples, Speech, frozen_array
from omni.units import Chosen

RATE_HZ: Final = 16000
UNIT_MS: Final = 1000
UNIT_SAMPLES: Final = RATE_HZ * UNIT_MS // 1000
GAP_MS: Final = 300  # without sound, after which a unit that is due is filled up
MAX_TIMED: Final = 16  # units whose answer is still waited for, to be timed
MIN_EARLY_SAMPLES: Final = RATE_HZ // 5  # a unit closed early holds at least this


@dataclass(frozen=True, slots=True, eq=False)
class CutUnit:
    """`due_ms`: when its last sample was heard, or would have been at the pace of the beat."""

    index: int
    samples: Samples  # [16000]
    due_ms: float


class Units:
    """Args:
    config: how many may be under way, and how late one may begin.
    slot_ms: where in the second units should end, on the wall's clock; None lets them be.
    """

    def __init__(self, config: DuplexConfig, slot_ms: float | None = None) -> None:
        self._config = config
        self._slot_ms = slot_ms
        self._parts: list[Samples] = []
        self._num_waiting = 0  # samples of the unit being filled
        self._whole: deque[CutUnit] = deque()
        self._in_flight: deque[tuple[int, float]] = deque()  # index, and when it was handed out
        self._due_ms: dict[int, float] = {}  # of those that were handed out lately
        self._heard_ms: float | None = None  # when sound came last; None before the first
        self._cut_ms = 0.0  # when the last unit was due
        self.next_index = 0
        self.num_left_out = 0  # since the model last answered

    def feed(self, samples: Samples, now_ms: float) -> None:
        """Sound of the user's: float32 [n] at 16 kHz, any n."""
        if self._heard_ms is None:
            self.start(now_ms)
        self._heard_ms = now_ms
        self._append(samples, now_ms)

    def start(self, now_ms: float) -> None:
        """Begin the beat, with or without sound."""
        if self._heard_ms is not None:
            return
        self._heard_ms = self._cut_ms = now_ms
        if self._slot_ms is not None:
            lead_ms = (now_ms - self._slot_ms) % UNIT_MS
            self._append(np.zeros(int(lead_ms * RATE_HZ / 1000), np.float32), now_ms)
            self._cut_ms -= lead_ms

    def take(self, now_ms: float) -> CutUnit | None:
        """The next unit to be sent, if one may be."""
        self._fill(now_ms)
        while self._whole and now_ms - self._whole[0].due_ms > self._config.late_ms:
            self._whole.popleft()
            self.num_left_out += 1
        if not self._whole or len(self._in_flight) >= self._config.num_in_flight:
            return None
        unit = self._whole.popleft()
        self._in_flight.append((unit.index, now_ms))
        self._due_ms[unit.index] = unit.due_ms
        self._due_ms.pop(unit.index - MAX_TIMED, None)
        return unit

    def answered(self, index: int) -> None:
        """The model is done with a unit, and so with all before it."""
        while self._in_flight and self._in_flight[0][0] <= index:
            self._in_flight.popleft()
        self.num_left_out = 0

    def out_after_ms(self, chunk: Chunk, now_ms: float) -> float | None:
        """How long after it was due a unit's answer came, if this is the end of it: silence, or
        the sound of what was said."""
        match chunk:
            case Speech() | Chosen(is_listen=True, is_turn_end=False):
                due_ms = self._due_ms.pop(chunk.unit_index, None)
                return None if due_ms is None else now_ms - due_ms
            case _:
                return None

    def is_overdue(self, now_ms: float) -> bool:
        """A unit was handed out so long ago that nobody works on it any more."""
        waited_ms = now_ms - self._in_flight[0][1] if self._in_flight else 0.0
        return waited_ms > self._config.overdue_ms

    def close_early(self, now_ms: float) -> None:
        """The user has stopped speaking: fill the unit up, rather than wait for its end."""
        if self._num_waiting >= MIN_EARLY_SAMPLES:
            missing = UNIT_SAMPLES - self._num_waiting
            self._append(np.zeros(missing, np.float32), now_ms)

    def restart(self) -> None:
        """Nothing that was handed out will be answered; what waits is for another context."""
        self._in_flight.clear()
        self._due_ms.clear()
        self._whole.clear()
        self.clear()

    def clear(self) -> None:
        """Forget the sound that is in no whole unit yet."""
        self._parts, self._num_waiting = [], 0

    def _append(self, samples: Samples, now_ms: float) -> None:
        self._parts.append(samples)
        self._num_waiting += len(samples)
        while self._num_waiting >= UNIT_SAMPLES:
            sound = np.concatenate(self._parts)
            unit, rest = sound[:UNIT_SAMPLES], sound[UNIT_SAMPLES:]
            self._parts, self._num_waiting = [rest], len(rest)
            # Sound that comes faster than it was spoken is not late for waiting its turn.
            is_ahead = self._cut_ms + UNIT_MS > now_ms and bool(self._whole)
            self._cut_ms = self._cut_ms + UNIT_MS if is_ahead else now_ms
            frozen = frozen_array(unit.astype(np.float32))
            self._whole.append(CutUnit(self.next_index, frozen, self._cut_ms))
            self.next_index += 1

    def _fill(self, now_ms: float) -> None:
        if self._heard_ms is None or self._whole or now_ms - self._heard_ms < GAP_MS:
            return
        if now_ms - self._cut_ms >= UNIT_MS:
            missing = UNIT_SAMPLES - self._num_waiting
            self._append(np.zeros(missing, np.float32), now_ms)
