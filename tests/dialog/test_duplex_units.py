"""Units keep their beat, whatever comes early, late or not at all."""

import numpy as np
import pytest

from omni.config_duplex import DuplexConfig
from omni.dialog.duplex_units import UNIT_SAMPLES, CutUnit, Units
from omni.dialog.sessions import halved

FRAME = 320


def sound(num_samples: int, start: int = 0) -> np.ndarray:
    return (np.arange(start, start + num_samples) % 1000 / 1000).astype(np.float32)


class Microphone:
    """Feeds frames in real time and takes whatever units are due; answers them after a while."""

    def __init__(self, config: DuplexConfig | None = None, slot_ms: float | None = None) -> None:
        self.units = Units(config or DuplexConfig(), slot_ms)
        self.now_ms = 0.0
        self.num_fed = 0
        self.taken: list[tuple[float, CutUnit]] = []
        self.answer_ms: float | None = 0.0  # None: never

    def run(self, ms: int, *, is_open: bool = True) -> None:
        for _ in range(ms // 20):
            self.now_ms += 20
            if is_open:
                self.units.feed(sound(FRAME, self.num_fed), self.now_ms)
                self.num_fed += FRAME
            self.take()

    def take(self) -> None:
        while unit := self.units.take(self.now_ms):
            self.taken.append((self.now_ms, unit))
        if self.answer_ms is not None:
            for at_ms, unit in self.taken:
                if self.now_ms - at_ms >= self.answer_ms:
                    self.units.answered(unit.index)

    @property
    def times(self) -> list[float]:
        return [at_ms for at_ms, _ in self.taken]


def test_a_unit_a_second_and_no_sample_lost() -> None:
    microphone = Microphone()
    microphone.run(5000)
    assert microphone.times == [1000, 2000, 3000, 4000, 5000]
    assert [unit.index for _, unit in microphone.taken] == list(range(5))
    heard = np.concatenate([unit.samples for _, unit in microphone.taken])
    np.testing.assert_array_equal(heard, sound(5 * UNIT_SAMPLES))


def test_a_slow_model_gets_the_newest_seconds() -> None:
    """Three seconds for each unit: what waits for more than two is left out, oldest first."""
    microphone = Microphone(DuplexConfig(num_in_flight=1))
    microphone.answer_ms = 3000
    microphone.run(20_000)
    indices = [unit.index for _, unit in microphone.taken]
    assert indices == sorted(indices)
    assert len(indices) < 10
    lateness = [at_ms - unit.due_ms for at_ms, unit in microphone.taken]
    assert max(lateness) <= DuplexConfig().late_ms


def test_sound_that_comes_all_at_once_is_not_late() -> None:
    microphone = Microphone()
    microphone.answer_ms = 500
    microphone.units.feed(sound(10 * UNIT_SAMPLES), 0.0)
    microphone.run(4000, is_open=False)
    assert [unit.index for _, unit in microphone.taken] == list(range(10))


def test_the_beat_goes_on_without_sound() -> None:
    microphone = Microphone()
    microphone.run(1500)
    microphone.run(4000, is_open=False)
    assert microphone.times == [1000, 2000, 3000, 4000, 5000]
    half = microphone.taken[1][1].samples
    np.testing.assert_array_equal(half[:8000], sound(8000, 16000))
    assert not half[8000:].any()


def test_there_is_no_beat_before_the_first_sound() -> None:
    microphone = Microphone()
    microphone.run(3000, is_open=False)
    assert microphone.taken == []


def test_a_unit_that_nobody_answers_is_overdue() -> None:
    microphone = Microphone()
    microphone.answer_ms = None
    microphone.run(16_000)
    assert not microphone.units.is_overdue(microphone.now_ms)
    microphone.run(100)
    assert microphone.units.is_overdue(microphone.now_ms)
    microphone.units.restart()
    assert not microphone.units.is_overdue(microphone.now_ms)
    microphone.run(2000)
    assert len(microphone.taken) > 2


def test_closing_early_fills_the_unit_with_silence() -> None:
    microphone = Microphone()
    microphone.run(1400)
    microphone.units.close_early(microphone.now_ms)
    microphone.take()
    at_ms, unit = microphone.taken[1]
    assert at_ms == 1400
    np.testing.assert_array_equal(unit.samples[:6400], sound(6400, 16000))
    assert not unit.samples[6400:].any()
    microphone.run(1000)
    assert microphone.times == [1000, 1400, 2400]


def test_hardly_begun_units_are_not_closed_early() -> None:
    microphone = Microphone()
    microphone.run(1100)
    microphone.units.close_early(microphone.now_ms)
    microphone.take()
    assert microphone.times == [1000]


@pytest.mark.parametrize("slot_ms", [0.0, 250.0, 740.0])
def test_units_end_in_their_slot(slot_ms: float) -> None:
    microphone = Microphone(slot_ms=slot_ms)
    microphone.now_ms = 333.0
    microphone.run(5000)
    assert len(microphone.times) == 5
    for at_ms in microphone.times:
        late_ms = (at_ms - slot_ms) % 1000
        assert late_ms <= 20 or late_ms >= 980


def test_slots_are_spread() -> None:
    slots = sorted(halved(number) for number in range(16))
    assert slots == [number / 16 for number in range(16)]
    first = [halved(number) for number in range(3)]
    assert first == [0.0, 0.5, 0.25]
