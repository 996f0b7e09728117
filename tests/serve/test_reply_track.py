"""The reply's packets on virtual time: one every 20 ms, whatever stands still."""

import asyncio

import numpy as np
import pytest

from omni.serve.libopus import OpusDecoder
from omni.serve.reply_track import MAX_LATE_FRAMES, ReplyTrack
from omni.types import Samples


class Listener:
    """Takes packets as a sender does."""

    def __init__(self, track: ReplyTrack) -> None:
        self.track = track
        self.times: list[int] = []
        self.payloads: list[bytes] = []
        self._task = asyncio.create_task(self._listen())

    async def tick(self, now_s: float) -> None:
        await asyncio.sleep(0)
        self.track.tick(now_s)
        for _ in range(2 * MAX_LATE_FRAMES):
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        while True:
            packet = await self.track.recv()
            self.times.append(packet.pts)
            self.payloads.append(bytes(packet))

    def heard(self) -> Samples:
        decoder = OpusDecoder(24000)
        return np.concatenate([decoder.decode(payload) for payload in self.payloads])


def frames(num: int) -> list[Samples]:
    time = np.arange(num * 480) / 24000
    return list((0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32).reshape(-1, 480))


async def test_a_packet_every_20_ms_sound_or_none() -> None:
    listener = Listener(ReplyTrack())
    for n in range(100):
        if n == 30:
            listener.track.push(frames(1)[0][:100])
        await listener.tick(7 + n * 0.02 + 0.004 * (n % 3 - 1))
    assert listener.times == [n * 960 for n in range(100)]


@pytest.mark.parametrize("stall_ms", [100, 150, 200])
async def test_a_stall_of_the_loop_loses_no_sound(stall_ms: int) -> None:
    heard = []
    for gap_s in (0.0, stall_ms / 1000):
        listener = Listener(ReplyTrack())
        for frame in frames(40):
            listener.track.push(frame)
        for n in range(20):
            await listener.tick(n * 0.02)
        for n in range(20, 60):
            if n * 0.02 >= 0.4 + gap_s:
                await listener.tick(n * 0.02)
        assert listener.times == [n * 960 for n in range(60)]
        heard.append(listener.heard())
    np.testing.assert_array_equal(*heard)


async def test_after_a_longer_stall_time_is_skipped_not_hurried() -> None:
    listener = Listener(ReplyTrack())
    await listener.tick(0.0)
    await listener.tick(1.0)
    assert listener.times == [0, 50 * 960]


async def test_a_cleared_reply_fades_out() -> None:
    track = ReplyTrack()
    listener = Listener(track)
    for frame in frames(20):
        track.push(frame)
    for n in range(10):
        await listener.tick(n * 0.02)
    track.clear()
    for n in range(10, 20):
        await listener.tick(n * 0.02)
    loudness = np.abs(listener.heard().reshape(-1, 480)).max(1)
    assert loudness[5] > 0.25
    assert loudness[12:].max() < 0.05


async def test_a_reply_that_nobody_takes_is_bounded() -> None:
    track = ReplyTrack()
    for _ in range(300):
        track.push(np.ones(480, np.float32))
    listener = Listener(track)
    for n in range(300):
        await listener.tick(n * 0.02)
    loud = np.abs(listener.heard().reshape(-1, 480)).max(1) > 0.1
    assert loud.sum() <= 105


async def test_frames_join_without_clicks() -> None:
    listener = Listener(ReplyTrack())
    for frame in frames(120):
        listener.track.push(frame)
    for n in range(120):
        await listener.tick(n * 0.02)
    heard = listener.heard()[12000:48000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(heard * np.blackman(len(heard)))) ** 2
    at = int(spectrum.argmax())
    line = spectrum[at - 8 : at + 9].sum()
    assert at * 24000 / len(heard) == pytest.approx(440, abs=1)
    assert 10 * np.log10((spectrum.sum() - line) / line) < -35
