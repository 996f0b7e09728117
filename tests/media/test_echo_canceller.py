"""Our own voice is taken out of a microphone, loudspeaker and room included; a user's is not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from omni.media.audio import resample
from omni.media.echo_canceller import RATE_HZ, EchoCanceller
from omni.types import Samples

HERE = Path(__file__).parent
LEAD_MS = 160


def voice(name: str, rate_hz: int) -> Samples:
    samples, own_hz = soundfile.read(HERE / name, dtype="float32", always_2d=True)
    return resample(samples[:, 0].copy(), own_hz, rate_hz)


OURS = np.tile(voice("arctic_a0024.wav", 24000), 3)
THEIRS = voice("weather_question.wav", RATE_HZ)


def echo(delay_ms: int, level_db: float = -10, ours: Samples = OURS) -> Samples:
    """`ours` as a microphone hears it: so much later and fainter, with a room's tail of 0.2 s."""
    rng, num = np.random.default_rng(0), RATE_HZ // 5
    room = rng.normal(0, 1, num) * np.exp(-np.arange(num) / (0.04 * RATE_HZ))
    room[0] = 4
    gain = 10 ** (level_db / 20) / np.sqrt(np.sum(room**2))
    sound = gain * np.convolve(resample(ours, 24000, RATE_HZ), room)
    return np.pad(sound, (delay_ms * RATE_HZ // 1000, 0)).astype(np.float32)


def cleaned(
    microphone: Samples, jitter_ms: float = 0.0, frame: int = 320, ours: Samples = OURS
) -> Samples:
    """What is left of it, told in frames that arrive a little late, while `ours` is played."""
    rng, canceller, num_played = np.random.default_rng(1), EchoCanceller(), 0
    out = []
    for start in range(0, len(microphone) - frame, frame):
        now_ms = 5000 + start * 1000 / RATE_HZ
        while num_played < min(len(ours), (now_ms - 5000 + LEAD_MS) * 24):
            canceller.play(ours[num_played : num_played + 480], now_ms)
            num_played += 480
        late_ms = frame * 1000 / RATE_HZ + rng.uniform(0, jitter_ms)
        out.append(canceller.clean(microphone[start : start + frame], now_ms + late_ms))
    return np.concatenate(out)


def level_db(sound: Samples) -> float:
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


@pytest.mark.parametrize("delay_ms", [30, 80, 150])
@pytest.mark.parametrize(("jitter_ms", "frame"), [(0, 320), (15, 320), (15, 1000)])
def test_our_voice_is_gone(delay_ms: int, jitter_ms: float, frame: int) -> None:
    heard = echo(delay_ms)
    left = cleaned(heard, jitter_ms, frame)
    assert level_db(left) < level_db(heard) - 15  # from the first word on
    assert level_db(left[4 * RATE_HZ :]) < level_db(heard[4 * RATE_HZ :]) - 25


@pytest.mark.parametrize("delay_ms", [30, 80, 150])
def test_a_user_who_speaks_meanwhile_is_heard(delay_ms: int) -> None:
    microphone, start = echo(delay_ms), 5 * RATE_HZ
    end = start + len(THEIRS)
    microphone[start:end] += THEIRS
    left = cleaned(microphone)[start:end]
    assert level_db(left) > level_db(THEIRS) - 6
    matches = np.correlate(np.pad(left, (0, 400)), THEIRS, "valid")
    likeness = matches.max() / np.sqrt(np.sum(left**2) * np.sum(THEIRS**2))
    assert likeness > 0.5  # and next to none without the user


def test_nothing_is_lost_of_a_user_who_speaks_alone() -> None:
    canceller, out = EchoCanceller(), []
    for start in range(0, len(THEIRS), 333):
        out.append(canceller.clean(THEIRS[start : start + 333], 5000 + start / 16))
    heard = np.concatenate(out)
    assert len(THEIRS) - 160 < len(heard) <= len(THEIRS)
    assert level_db(heard) == pytest.approx(level_db(THEIRS), abs=1)
