"""Whole key frames out of a video track's packets, VP8 or H.264, and a picture out of each.

Hides payload formats and decoders. Laws: packets of other frames are dropped unread; every key
frame is decoded by itself, so nothing is carried over from one to the next; a picture of more than
`MAX_PIXELS` is refused by the decoder before it takes memory for it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import av
from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.codecs.vpx import VpxPayloadDescriptor

from omni.serve.rtp import RtpPacket

Codec = Literal["vp8", "h264"]

MAX_PACKETS: Final = 1500  # of one key frame
MAX_PIXELS: Final = 4096 * 2304
_RTPMAP: Final = re.compile(r"a=rtpmap:(\d+) (VP8|H264)/90000", re.IGNORECASE)
_VP8_HEADER_BYTES: Final = 10
_VP8_START: Final = b"\x9d\x01\x2a"
_H264_START: Final = b"\0\0\0\1"
_SPS, _IDR, _AUD = 7, 5, 9  # types of NAL units


def codecs_in(sdp: str) -> dict[int, Codec]:
    """Payload type → codec, of the video that an SDP names."""
    return {
        int(number): "vp8" if name.upper() == "VP8" else "h264"
        for number, name in _RTPMAP.findall(sdp)
    }


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """An encoded picture that needs no other; `timestamp` is RTP's, 90 kHz."""

    codec: Codec
    data: bytes
    timestamp: int

    def decode(self) -> av.VideoFrame:
        """The picture.

        Raises:
            av.FFmpegError: it is damaged or too large. ValueError: it holds no picture.
        """
        decoder = av.CodecContext.create(self.codec, "r")
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        decoder.thread_count = 1
        (picture, *_) = [*decoder.decode(av.Packet(self.data)), *decoder.decode(None)]
        return picture


class KeyFrames:
    """Puts key frames together from their packets.

    Args:
        codecs: by payload type; packets of other types are dropped.

    Source: RFC 7741 and RFC 6386 section 9.1 (VP8), RFC 6184 (H.264).
    """

    def __init__(self, codecs: Mapping[int, Codec]) -> None:
        self._codecs = codecs
        self._parts: dict[int, bytes] = {}  # packets after the frame's first → their payload
        self._timestamp = -1
        self._first = 0
        self._num_parts: int | None = None  # not known before its last packet came

    def push(self, packet: RtpPacket) -> KeyFrame | None:
        """Returns a key frame once its last missing packet has come.

        Raises:
            ValueError: a malformed packet.
        """
        codec = self._codecs.get(packet.payload_type)
        if codec is None or not packet.payload:
            return None
        payload, is_first = _unpacked(codec, packet.payload)
        if is_first and packet.timestamp != self._timestamp:
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
        data = b"".join(self._parts[place] for place in sorted(self._parts))
        self._parts, self._num_parts = {}, None
        return KeyFrame(codec, data, packet.timestamp)


def _unpacked(codec: Codec, payload: bytes) -> tuple[bytes, bool]:
    """A packet's part of a frame, and whether it is a key frame's first."""
    if codec == "vp8":
        descriptor, part = VpxPayloadDescriptor.parse(payload)
        is_first = descriptor.partition_start and descriptor.partition_id == 0
        return part, bool(is_first) and _is_vp8_key(part)
    _, part = H264PayloadDescriptor.parse(payload)
    kinds = [unit[0] & 0x1F for unit in part.split(_H264_START)[1:] if unit]
    return part, _begins_h264_key(kinds)


def _is_vp8_key(part: bytes) -> bool:
    return len(part) >= _VP8_HEADER_BYTES and not part[0] & 1 and part[3:6] == _VP8_START


def _begins_h264_key(kinds: list[int]) -> bool:
    """Its parameters come first, or behind a delimiter in the same packet."""
    return kinds[:1] == [_SPS] or kinds[:2] == [_AUD, _SPS]
