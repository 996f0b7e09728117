"""Our own voice coming back is known for what it is; somebody else's is not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from omni.media.audio import resample
from omni.media.echo import MIN_LIKENESS, WINDOW_MS, EchoGuard
from omni.types import Samples

HERE = Path(__file__).parent
WINDOW = WINDOW_MS * 16


def voice(name: str, rate_hz: int) -> Samples:
    samples, own_hz = soundfile.read(HERE / name, dtype="float32", always_2d=True)
    return resample(samples[:, 0].copy(), own_hz, rate_hz)


OURS = voice("arctic_a0024.wav", 24000)
THEIRS = voice("weather_question.wav", 16000)


def likenesses(microphone: Samples) -> list[float]:
    """Likeness of each 32 ms of a microphone that listens while `OURS` is played."""
    guard, out, end = EchoGuard(), [], 0
    for start in range(0, len(OURS) - 480, 480):
        now_ms = start / 24
        guard.play(OURS[start : start + 480], now_ms)
        while end + 512 <= now_ms * 16 and end + 512 <= len(microphone):
            end += 512
            window = microphone[max(0, end - WINDOW) : end]
            if end >= WINDOW and np.sqrt(np.mean(window**2)) > 0.01:
                out.append(guard.likeness(window, now_ms))
    return out


def echo(delay_ms: int, level_db: float) -> Samples:
    heard = resample(OURS, 24000, 16000)
    quiet = heard * np.float32(10 ** (level_db / 20))
    return np.concatenate([np.zeros(delay_ms * 16, np.float32), quiet])


@pytest.mark.parametrize("delay_ms", [0, 40, 250, 500])
def test_an_echo_ten_decibels_down_is_ours_at_any_delay(delay_ms: int) -> None:
    found = likenesses(echo(delay_ms, -10))
    assert len(found) > 20
    assert np.mean(np.array(found) > MIN_LIKENESS) > 0.95


def test_an_echo_from_a_room_is_ours() -> None:
    rng = np.random.default_rng(0)
    times_s = np.arange(1600) / 16000
    room = rng.normal(0, 1, 1600) * np.exp(-times_s / 0.02) * 0.07  # as loud as the direct sound
    room[0] = 1
    heard = np.convolve(echo(60, -10), room)[: len(echo(60, -10))].astype(np.float32)
    assert np.mean(np.array(likenesses(heard)) > MIN_LIKENESS) > 0.8


def test_another_voice_is_not_ours() -> None:
    assert max(likenesses(THEIRS)) < MIN_LIKENESS - 0.1


def test_a_voice_over_our_echo_is_not_ours() -> None:
    back = echo(60, -16)[: len(THEIRS)]
    both = THEIRS[: len(back)] + back
    loud = np.array(likenesses(both))
    assert np.mean(loud < MIN_LIKENESS) > 0.75


def test_what_was_cleared_is_not_expected_back() -> None:
    guard = EchoGuard()
    guard.play(OURS[:24000], 0)
    guard.clear(300)
    window = resample(OURS[:24000], 24000, 16000)[10000:14096]
    assert guard.likeness(window, 1000) < MIN_LIKENESS
