"""A camera's track as JPEG stills for the eyes.

Hides how little of it is decoded: key frames alone, each by itself, off the event loop, and only
when the sampler wants one; then the sender is asked for it. Law: one picture at a time is worked
on.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from io import BytesIO
from typing import Final

import numpy as np
from aiortc import RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver
from PIL import Image

from omni.media.video import FrameSampler, Pace, Thumbnail, thumbnail
from omni.serve.key_frames import Codec, KeyFrame, KeyFrames, codecs_in
from omni.serve.media_clock import MediaClock
from omni.serve.rtp import RtpPacket
from omni.serve.tap import PacketTap, overhear_reports, tap_receiver
from omni.types import Pixels

log = logging.getLogger(__name__)

PACE: Final = Pace(moving_ms=500, still_ms=5000, probe_ms=1000)
RETRY_MS: Final = 500  # a key frame that was asked for and did not come is asked for again
SHOWN_PIXELS: Final = 1280 * 960
QUALITY: Final = 80
NAMES: Final = ("VP8", "H264", "rtx")


class Camera:
    """Args:
    show: takes a still and the time at which it was taken, in ms of `clock`; on the event loop.
    clock: the sound's.
    now_ms: a clock that never goes back nor stops.
    """

    def __init__(
        self,
        show: Callable[[bytes, int], None],
        clock: MediaClock,
        now_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
    ) -> None:
        self._show = show
        self._clock = clock
        self._now_ms = now_ms
        self._codecs: dict[int, Codec] = {}
        self._key_frames = KeyFrames(self._codecs)
        self._sampler = FrameSampler(PACE)
        self._seeing: asyncio.Task[None] | None = None
        self._requested_ms = -RETRY_MS
        self._first_timestamp, self._arrived_ms = -1, 0  # of the latest frame

    def attach(self, connection: RTCPeerConnection) -> RTCRtpTransceiver:
        """Take a track of this call. Orientation is not negotiated: senders then send upright."""
        video = connection.addTransceiver("video", direction="recvonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        video.setCodecPreferences([codec for codec in codecs if codec.name in NAMES])
        tap_receiver(video.receiver, PacketTap(self.push))
        overhear_reports(video.receiver, lambda ntp, rtp: self._clock.report("video", ntp, rtp))
        return video

    def expect(self, sdp: str) -> None:
        """What was negotiated."""
        self._codecs.update(codecs_in(sdp))

    def ask(self) -> None:
        """The user may be asking about what they show: a sharp picture, now."""
        self._sampler.ask(int(self._now_ms()))

    def push(self, packet: RtpPacket) -> bool:
        """A packet as it arrives; returns whether the sender is to send a key frame now."""
        now_ms = int(self._now_ms())
        if packet.timestamp != self._first_timestamp:
            self._first_timestamp, self._arrived_ms = packet.timestamp, self._clock.position_ms
        is_idle = self._seeing is None or self._seeing.done()
        try:
            frame = self._key_frames.push(packet)
        except ValueError:
            return False
        if not is_idle or not self._sampler.is_due(now_ms):
            return False
        if frame is not None:
            captured_ms = self._clock.captured_ms(frame.timestamp, self._arrived_ms)
            self._seeing = asyncio.create_task(self._see(frame, now_ms, captured_ms), name="camera")
            return False
        if now_ms - self._requested_ms < RETRY_MS:
            return False
        self._requested_ms = now_ms
        return True

    def close(self) -> None:
        if self._seeing:
            self._seeing.cancel()

    async def _see(self, frame: KeyFrame, now_ms: int, captured_ms: int) -> None:
        try:
            pixels, thumb = await asyncio.to_thread(_decode, frame)
            if self._sampler.wants(thumb, now_ms):
                self._show(await asyncio.to_thread(_encode, pixels), captured_ms)
        except Exception as error:  # decoders fail in many ways; the next key frame may be whole
            log.info("a key frame was refused", extra={"error": type(error).__name__})


def _decode(frame: KeyFrame) -> tuple[Pixels, Thumbnail]:
    picture = frame.decode()
    width, height = picture.width, picture.height
    scale = min(1.0, (SHOWN_PIXELS / (width * height)) ** 0.5)
    shown = picture.reformat(max(1, int(width * scale)), max(1, int(height * scale)), "rgb24")
    pixels = shown.to_ndarray().astype(np.uint8, copy=False)
    return pixels, thumbnail(pixels)


def _encode(pixels: Pixels) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
