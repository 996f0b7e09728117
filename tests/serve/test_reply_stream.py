"""The reply's packets on virtual time: one every 20 ms, whatever stands still."""

import numpy as np
import pytest

from omni.serve.libopus import OpusDecoder
from omni.serve.reply_stream import ReplyStream
from omni.types import Samples


class Listener:
    """Takes packets as a sender does."""

    def __init__(self) -> None:
        self.stream = ReplyStream(self._take)
        self.times: list[int] = []
        self.payloads: list[bytes] = []

    def _take(self, payload: bytes, ticks: int) -> None:
        self.times.append(ticks)
        self.payloads.append(payload)

    def heard(self) -> Samples:
        decoder = OpusDecoder(24000)
        return np.concatenate([decoder.decode(payload) for payload in self.payloads])


def frames(num: int) -> list[Samples]:
    time = np.arange(num * 480) / 24000
    return list((0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32).reshape(-1, 480))


def test_a_packet_every_20_ms_sound_or_none() -> None:
    listener = Listener()
    for n in range(100):
        if n == 30:
            listener.stream.push(frames(1)[0][:100])
        listener.stream.tick(7 + n * 0.02 + 0.004 * (n % 3 - 1))
    assert listener.times == [n * 960 for n in range(100)]


@pytest.mark.parametrize("stall_ms", [100, 150, 200])
def test_a_stall_of_the_loop_loses_no_sound(stall_ms: int) -> None:
    heard = []
    for gap_s in (0.0, stall_ms / 1000):
        listener = Listener()
        for frame in frames(40):
            listener.stream.push(frame)
        for n in range(20):
            listener.stream.tick(n * 0.02)
        for n in range(20, 60):
            if n * 0.02 >= 0.4 + gap_s:
                listener.stream.tick(n * 0.02)
        assert listener.times == [n * 960 for n in range(60)]
        heard.append(listener.heard())
    np.testing.assert_array_equal(*heard)


def test_after_a_longer_stall_time_is_skipped_not_hurried() -> None:
    listener = Listener()
    listener.stream.tick(0.0)
    listener.stream.tick(1.0)
    assert listener.times == [0, 50 * 960]


def test_a_cleared_reply_fades_out() -> None:
    listener = Listener()
    for frame in frames(20):
        listener.stream.push(frame)
    for n in range(10):
        listener.stream.tick(n * 0.02)
    listener.stream.clear()
    for n in range(10, 20):
        listener.stream.tick(n * 0.02)
    loudness = np.abs(listener.heard().reshape(-1, 480)).max(1)
    assert loudness[5] > 0.25
    assert loudness[12:].max() < 0.05


def test_a_reply_that_nobody_takes_is_bounded() -> None:
    listener = Listener()
    for _ in range(300):
        listener.stream.push(np.ones(480, np.float32))
    for n in range(300):
        listener.stream.tick(n * 0.02)
    loud = np.abs(listener.heard().reshape(-1, 480)).max(1) > 0.1
    assert loud.sum() <= 105


def test_frames_join_without_clicks() -> None:
    listener = Listener()
    for frame in frames(120):
        listener.stream.push(frame)
    for n in range(120):
        listener.stream.tick(n * 0.02)
    heard = listener.heard()[12000:48000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(heard * np.blackman(len(heard)))) ** 2
    at = int(spectrum.argmax())
    line = spectrum[at - 8 : at + 9].sum()
    assert at * 24000 / len(heard) == pytest.approx(440, abs=1)
    assert 10 * np.log10((spectrum.sum() - line) / line) < -35
