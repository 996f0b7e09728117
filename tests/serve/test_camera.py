"""A camera's track: stills from its key frames, and a call with a camera."""

import asyncio
import io
import json
from typing import Any

import av
import httpx
import numpy as np
import pytest
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import VideoStreamTrack
from aiortc.rtp import RtpPacket
from PIL import Image

from omni.media.video import change, thumbnail
from omni.serve.camera import PACE, RETRY_MS, Camera
from omni.serve.media_clock import MediaClock
from tests.pictures import photo
from tests.serve.conftest import Live
from tests.serve.packets import NEGOTIATED, Sender
from tests.serve.test_webrtc import SDP, Caller

CAT, COFFEE = (
    np.asarray(Image.fromarray(photo(name)).resize((640, 480)))
    for name in ("cat.png", "coffee.png")
)


class Eyes:
    """A camera on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.shown: list[bytes] = []
        self.camera = Camera(self._show, MediaClock(), lambda: self.now_ms)
        self.camera.expect(NEGOTIATED)

    async def push(self, packets: list[RtpPacket]) -> bool:
        """Returns whether a key frame was asked for; the still is made by then."""
        is_asked = [self.camera.push(packet) for packet in packets]
        for task in asyncio.all_tasks():
            if task.get_name() == "camera":
                await task
        return any(is_asked)

    def _show(self, still: bytes, captured_ms: int) -> None:
        self.shown.append(still)

    def sights(self) -> list[Any]:
        return [np.asarray(Image.open(io.BytesIO(still))) for still in self.shown]


async def test_a_picture_is_asked_for_and_seen() -> None:
    eyes, sender = Eyes(), Sender()
    assert await eyes.push(sender.packets(CAT, is_key=False)[:1])
    assert not await eyes.push(sender.packets(CAT, is_key=False)[:1]), "once is enough"
    eyes.now_ms += RETRY_MS
    assert await eyes.push(sender.packets(CAT, is_key=False)[:1]), "it did not come"
    await eyes.push(sender.packets(CAT, is_key=True))
    (sight,) = eyes.sights()
    assert sight.shape == (480, 640, 3)
    assert change(thumbnail(CAT), thumbnail(sight)) < 6 < change(thumbnail(CAT), thumbnail(COFFEE))


async def test_a_still_scene_is_probed_and_not_shown_again() -> None:
    eyes, sender = Eyes(), Sender()
    await eyes.push(sender.packets(CAT, is_key=True))
    eyes.now_ms += PACE.moving_ms
    await eyes.push(sender.packets(CAT, is_key=True))
    eyes.now_ms += PACE.moving_ms
    assert not await eyes.push(sender.packets(COFFEE, is_key=True)), "between probes, nothing is"
    assert len(eyes.shown) == 1
    eyes.now_ms += PACE.probe_ms
    await eyes.push(sender.packets(COFFEE, is_key=True))
    assert len(eyes.shown) == 2
    eyes.camera.ask()
    await eyes.push(sender.packets(COFFEE, is_key=True))
    assert len(eyes.shown) == 3, "whoever asks is shown"


async def test_sizes_may_change_and_what_is_huge_or_damaged_is_not_decoded() -> None:
    eyes, sender = Eyes(), Sender()
    for damage in (_huge, _torn):
        packets = sender.packets(CAT, is_key=True)
        damage(packets)
        await eyes.push(packets)
        eyes.now_ms += PACE.probe_ms
    assert eyes.shown == []
    for width, height in ((320, 240), (1920, 1080), (64, 400)):
        eyes.camera.ask()
        picture = np.asarray(Image.fromarray(CAT).resize((width, height)))
        await eyes.push(Sender().packets(picture, is_key=True))
        eyes.now_ms += PACE.probe_ms
    assert [sight.shape[:2] for sight in eyes.sights()] == [(240, 320), (831, 1478), (400, 64)]


def _huge(packets: list[RtpPacket]) -> None:
    payload = bytearray(packets[0].payload)
    at = payload.index(b"\x9d\x01\x2a") + 3
    payload[at : at + 4] = (16000).to_bytes(2, "little") * 2
    packets[0].payload = bytes(payload)


def _torn(packets: list[RtpPacket]) -> None:
    """Only the header is left."""
    packets[0].payload = packets[0].payload[:14]
    packets[0].marker = 1
    del packets[1:]


class Film(VideoStreamTrack):
    """A cat, then coffee."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = CAT if pts * time_base < 3 else COFFEE
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> list[RTCRtpReceiver]:
    """Those that were made during the test."""
    made: list[RTCRtpReceiver] = []
    begin = RTCRtpReceiver.__init__

    def noted(self: RTCRtpReceiver, *args: Any) -> None:
        begin(self, *args)
        made.append(self)

    monkeypatch.setattr(RTCRtpReceiver, "__init__", noted)
    return made


class Watcher(Caller):
    """Keeps what the server tells beyond the protocol, too."""

    def _on_message(self, message: str) -> None:
        self.events.append(json.loads(message))

    @property
    def notes(self) -> list[str]:
        return [event["note"] for event in self.events if event["type"] == "omni.image.seen"]


async def test_a_call_with_a_camera(live: Live, receivers: list[RTCRtpReceiver]) -> None:
    caller = Watcher()
    caller.peer.addTransceiver("audio")
    caller.peer.addTransceiver(Film(), direction="sendonly")
    path = "/v1/realtime/calls?extensions=omni"
    async with httpx.AsyncClient(base_url=live.url) as http, asyncio.timeout(240):
        response = await http.post(path, content=await caller.offer(), headers=SDP)
        await caller.accept(response.text)
        try:
            while len(set(caller.notes)) < 2:
                await asyncio.sleep(0.05)
            tracks = [receiver.track for receiver in receivers if receiver.track]
            queued = [track._queue.qsize() for track in tracks if track.kind == "video"]
        finally:
            await caller.close()
    assert queued == [0], "nothing waits to be read"
