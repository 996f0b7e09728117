"""Beep and flash: sound and pictures made at one instant get the same time in the session."""

import asyncio
import itertools
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import httpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, rtcrtpsender
from numpy.typing import NDArray
from PIL import Image

from omni.dialog.session import Session
from omni.media.video import Pace
from omni.serve import camera
from omni.serve.media_clock import VIDEO_HZ, Kind, MediaClock
from omni.serve.rtp import OPUS_HZ
from omni.types import Samples
from tests.serve.conftest import Live
from tests.serve.packets import TYPES
from tests.serve.test_webrtc import SDP, Caller

FLASH_HZ = 10
BLOCK, NUM_BITS, NUM_COPIES = 16, 12, 4
BEEP_HZ, BEEP_MS, RATE_HZ = 1000, 60, 48_000
NUM_STILLS = 12
MAX_SKEW_MS = 40


class Source(MediaStreamTrack):
    """What a phone sends, in real time from `start_s` on the loop's clock."""

    def __init__(self, kind: str, rate_hz: int, start_s: float) -> None:
        super().__init__()
        self.kind = kind
        self._rate_hz = rate_hz
        self._start_s = start_s
        self._index = 0

    async def recv(self) -> Any:
        index, self._index = self._index, self._index + 1
        due_s = self._start_s + index / self._rate_hz
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
        frame = flash(index) if self.kind == "video" else beep(index)
        hz = 90_000 if self.kind == "video" else RATE_HZ
        frame.pts, frame.time_base = index * hz // self._rate_hz, Fraction(1, hz)
        return frame


def flash(index: int) -> av.VideoFrame:
    """A picture of its own number: blocks that are lit or dark, on grey."""
    bits = [(index >> bit & 1) * 255 for bit in range(NUM_BITS)]
    row = np.repeat(np.array(bits, np.uint8), BLOCK)
    picture = np.repeat(np.repeat(row[None], BLOCK * NUM_COPIES, 0)[..., None], 3, 2)
    return av.VideoFrame.from_ndarray(picture, format="rgb24")


def number_in(still: bytes) -> int:
    grey = np.asarray(Image.open(BytesIO(still)).convert("L"), float)
    blocks = grey.reshape(grey.shape[0], NUM_BITS, BLOCK).mean((0, 2))
    return sum(1 << bit for bit, level in enumerate(blocks) if level > 128)


def beep(index: int) -> av.AudioFrame:
    """20 ms of sound; a beep begins with every second."""
    at_ms = (np.arange(RATE_HZ // 50) + index * (RATE_HZ // 50)) * 1000 / RATE_HZ
    wave = np.sin(2 * np.pi * BEEP_HZ * at_ms / 1000) * (at_ms % 1000 < BEEP_MS) * 16_000
    frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    return frame


class Witness:
    """What the session is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sound: list[Samples] = []
        # Number of the picture, its time, and how much sound there was when that was told, in ms.
        self.stills: list[tuple[int, int, int]] = []
        self._heard_ms = 0
        feed, show, captured = Session.feed, Session.show, MediaClock.captured_ms

        def heard(session: Session, samples: Samples) -> None:
            self.sound.append(samples)
            feed(session, samples)

        def shown(session: Session, encoded: bytes, captured_ms: int | None = None) -> str:
            assert captured_ms is not None
            self.stills.append((number_in(encoded), captured_ms, self._heard_ms))
            return show(session, encoded, captured_ms)

        def told(clock: MediaClock, timestamp: int, arrived_ms: int) -> int:
            self._heard_ms = clock.position_ms
            return captured(clock, timestamp, arrived_ms)

        monkeypatch.setattr(MediaClock, "captured_ms", told)
        monkeypatch.setattr(Session, "feed", heard)
        monkeypatch.setattr(Session, "show", shown)

    def beeps_ms(self) -> NDArray[np.float64]:
        """Where each beep begins in the sound of the session."""
        loud = np.abs(np.concatenate([np.zeros(0, np.float32), *self.sound])) > 0.1
        at_ms = np.flatnonzero(loud) / 16
        return at_ms[np.diff(at_ms, prepend=-1000.0) > BEEP_MS]

    def skews_ms(self) -> NDArray[np.float64]:
        """How much later than the sound of its instant each picture is, where there is such a
        sound: what a busy machine holds up moves all that follows."""
        beeps_ms = self.beeps_ms()
        lags_ms = beeps_ms - 1000 * np.arange(len(beeps_ms))  # the session's clock after the user's
        skews_ms = []
        for number, captured_ms, heard_ms in self.stills:
            taken_ms = number * 1000 / FLASH_HZ
            second = int(taken_ms // 1000)
            first = min(second, int(np.searchsorted(beeps_ms, heard_ms))) - 1
            if first >= 0 and second + 1 < len(lags_ms) and np.ptp(lags_ms[first : second + 2]) < 1:
                skews_ms.append(captured_ms - taken_ms - lags_ms[second])
        return np.array(skews_ms)


def punctual(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender whose reports name when sound and pictures were made, as a phone's do: aiortc's say
    when it got round to sending them, which is another matter on a busy machine."""
    numbers = itertools.count(1)
    monkeypatch.setattr(rtcrtpsender, "random32", lambda: next(numbers))  # RTP times begin at 0
    report = MediaClock.report

    def reported(made: MediaClock, kind: Kind, ntp_time: int, timestamp: int) -> None:
        hz = VIDEO_HZ if kind == "video" else OPUS_HZ
        report(made, kind, ntp_time and (1 << 32) + (timestamp << 32) // hz, timestamp)

    monkeypatch.setattr(MediaClock, "report", reported)


@pytest.mark.parametrize("codec", TYPES)
async def test_skew_of_sound_and_pictures(
    live: Live, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    monkeypatch.setattr(camera, "PACE", Pace(moving_ms=200))
    punctual(monkeypatch)
    witness = Witness(monkeypatch)
    await flash_and_beep(live, codec, witness)
    skews_ms = witness.skews_ms()
    assert np.median(np.abs(skews_ms)) <= MAX_SKEW_MS, skews_ms


async def flash_and_beep(live: Live, codec: str, witness: Witness) -> None:
    """Call until the session has been shown enough pictures."""
    caller = Caller()
    start_s = asyncio.get_running_loop().time() + 1.0
    caller.peer.addTrack(Source("audio", 50, start_s))
    eye = caller.peer.addTransceiver(Source("video", FLASH_HZ, start_s), direction="sendonly")
    codecs = [c for c in eye.sender.getCapabilities("video").codecs if c.name.lower() == codec]
    eye.setCodecPreferences(codecs)
    async with httpx.AsyncClient(base_url=live.url) as http, asyncio.timeout(240):
        response = await http.post("/v1/realtime/calls", content=await caller.offer(), headers=SDP)
        await caller.accept(response.text)
        try:
            while len(witness.skews_ms()) < NUM_STILLS:
                await asyncio.sleep(0.2)
        finally:
            await caller.close()
