"""A camera's VP8 track as JPEG stills for the eyes.

Hides how little of it is decoded: key frames alone, each by itself, off the event loop, and only
when the sampler wants one; then the sender is asked for it. Laws: one picture at a time is worked
on; its size is read from its header before a decoder sees it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from io import BytesIO
from typing import Final

import av
import numpy as np
from aiortc.codecs.vpx import VpxPayloadDescriptor
from PIL import Image

from omni.media.video import FrameSampler, Pace, Thumbnail, thumbnail
from omni.serve.opus import RtpPacket
from omni.types import Pixels

log = logging.getLogger(__name__)

PACE: Final = Pace(moving_ms=500, still_ms=5000, probe_ms=1000)
RETRY_MS: Final = 500  # a key frame that was asked for and did not come is asked for again
MAX_PACKETS: Final = 1500  # of one key frame
MAX_PIXELS: Final = 4096 * 2304
SHOWN_PIXELS: Final = 1280 * 960
QUALITY: Final = 80
_HEADER_BYTES: Final = 10
_START_CODE: Final = b"\x9d\x01\x2a"


class KeyFrames:
    """Puts key frames together from their packets; whatever else comes is dropped unread.

    Source: RFC 7741 (payload), RFC 6386 section 9.1 (frame header).
    """

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}  # packets after the frame's first → their payload
        self._timestamp = -1
        self._first = 0
        self._num_parts: int | None = None  # not known before its last packet came

    def push(self, packet: RtpPacket) -> bytes | None:
        """Returns a key frame once its last missing packet has come.

        Raises:
            ValueError: a malformed packet.
        """
        if not packet.payload:
            return None
        descriptor, payload = VpxPayloadDescriptor.parse(packet.payload)
        is_first = descriptor.partition_start and descriptor.partition_id == 0
        if is_first and size_of(payload) and packet.timestamp != self._timestamp:
            self._parts, self._num_parts = {}, None
            self._timestamp, self._first = packet.timestamp, packet.sequence_number
        place = (packet.sequence_number - self._first) & 0xFFFF
        if packet.timestamp != self._timestamp or place >= MAX_PACKETS:
            return None
        self._parts[place] = payload
        if packet.marker:
            self._num_parts = place + 1
        if len(self._parts) != self._num_parts:
            return None
        frame = b"".join(self._parts[place] for place in sorted(self._parts))
        self._parts, self._num_parts = {}, None
        return frame


def size_of(frame: bytes) -> tuple[int, int] | None:
    """Width and height by a key frame's header; None for any other frame."""
    if len(frame) < _HEADER_BYTES or frame[0] & 1 or frame[3:6] != _START_CODE:
        return None
    width, height = (int.from_bytes(frame[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return (width, height) if width and height else None


class Camera:
    """Args:
    show: takes a still, on the event loop.
    now_ms: a clock that never goes back.
    """

    def __init__(
        self,
        show: Callable[[bytes], None],
        now_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
    ) -> None:
        self._show = show
        self._now_ms = now_ms
        self._key_frames = KeyFrames()
        self._sampler = FrameSampler(PACE)
        self._seeing: asyncio.Task[None] | None = None
        self._requested_ms = -RETRY_MS

    def ask(self) -> None:
        """The user may be asking about what they show: a sharp picture, now."""
        self._sampler.ask(int(self._now_ms()))

    def push(self, packet: RtpPacket) -> bool:
        """A packet as it arrives; returns whether the sender is to send a key frame now."""
        now_ms = int(self._now_ms())
        is_idle = self._seeing is None or self._seeing.done()
        try:
            frame = self._key_frames.push(packet)
        except ValueError:
            return False
        if not is_idle or not self._sampler.is_due(now_ms):
            return False
        if frame is not None:
            self._seeing = asyncio.create_task(self._see(frame, now_ms), name="camera")
            return False
        if now_ms - self._requested_ms < RETRY_MS:
            return False
        self._requested_ms = now_ms
        return True

    def close(self) -> None:
        if self._seeing:
            self._seeing.cancel()

    async def _see(self, frame: bytes, captured_ms: int) -> None:
        try:
            pixels, thumb = await asyncio.to_thread(_decode, frame)
            if self._sampler.wants(thumb, captured_ms):
                self._show(await asyncio.to_thread(_encode, pixels))
        except Exception as error:  # decoders fail in many ways; the next key frame may be whole
            log.info("a key frame was refused", extra={"error": type(error).__name__})


def _decode(frame: bytes) -> tuple[Pixels, Thumbnail]:
    width, height = size_of(frame) or (0, 0)
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError("a picture of this size is not taken")
    decoder = av.CodecContext.create("vp8", "r")
    (picture, *_) = [*decoder.decode(av.Packet(frame)), *decoder.decode(None)]
    scale = min(1.0, (SHOWN_PIXELS / (width * height)) ** 0.5)
    shown = picture.reformat(max(1, int(width * scale)), max(1, int(height * scale)), "rgb24")
    pixels = shown.to_ndarray().astype(np.uint8, copy=False)
    return pixels, thumbnail(pixels)


def _encode(pixels: Pixels) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
