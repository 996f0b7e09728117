"""Packets of a camera's track, as a browser or a robot makes them."""

import random
from typing import Any

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtp import RtpPacket

from omni.serve.key_frames import Codec

TYPES: dict[Codec, int] = {"vp8": 97, "h264": 99}
NEGOTIATED = "a=rtpmap:97 VP8/90000\r\na=rtpmap:99 H264/90000\r\n"
CODECS: dict[int, Codec] = {number: codec for codec, number in TYPES.items()}


class Sender:
    """Encodes RGB pictures [H, W, 3] at 30 a second."""

    def __init__(self, codec: Codec = "vp8") -> None:
        self._type = TYPES[codec]
        self._encoder = Vp8Encoder() if codec == "vp8" else H264Encoder()
        self._number = 65_530  # wraps soon
        self._time = 0

    def packets(self, picture: Any, *, is_key: bool) -> list[RtpPacket]:
        self._time += 3000
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self._time, VIDEO_TIME_BASE
        payloads, _ = self._encoder.encode(frame, force_keyframe=is_key)
        made = []
        for payload in payloads:
            self._number = (self._number + 1) & 0xFFFF
            made.append(RtpPacket(self._type, 0, self._number, self._time, 1, payload))
        made[-1].marker = 1
        return made


def damaged(packet: RtpPacket, rng: random.Random) -> RtpPacket:
    """The packet with a few bytes of its payload or fields of its header changed."""
    data = bytearray(packet.payload)
    for _ in range(rng.randint(1, 4)):
        match rng.randrange(5):
            case 0:
                data[rng.randrange(len(data))] = rng.randrange(256)
            case 1:
                at = rng.randrange(len(data))
                del data[at : at + rng.randint(1, 60)]
            case 2:
                at = rng.randrange(len(data) + 1)
                data[at:at] = rng.randbytes(rng.randint(1, 20))
            case 3:
                data[rng.randrange(min(24, len(data)))] = rng.choice((0, 1, 0x7F, 0xFF))
            case _:
                packet = RtpPacket(
                    rng.choice(list(CODECS)),
                    rng.randrange(2),
                    packet.sequence_number,
                    packet.timestamp,
                )
        data = data or bytearray(1)
    marker = packet.marker if rng.random() < 0.8 else 1 - packet.marker
    return RtpPacket(
        packet.payload_type, marker, packet.sequence_number, packet.timestamp, 1, bytes(data)
    )
