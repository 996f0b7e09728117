"""Packets of a camera's track and of a voice, as a browser or a robot makes them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtp import RtpPacket

from omni.media.audio import resample
from omni.serve.key_frames import Codec
from omni.serve.opus import OpusReceiver, OpusSender
from omni.types import Samples

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


@dataclass
class SoundPacket:
    sequence_number: int
    timestamp: int
    payload: bytes
    ssrc: int = 1
    payload_type: int = 111
    marker: int = 0


def opus_packets(sound: Samples) -> list[SoundPacket]:
    """Sound at 24 kHz as packets of 20 ms, numbered across both wraps."""
    sender = OpusSender()
    return [
        SoundPacket((65530 + n) % 65536, (2**32 - 3 * 960 + n * 960) % 2**32, sender.push(frame))
        for n, frame in enumerate(sound[: len(sound) // 480 * 480].reshape(-1, 480))
    ]


def tone(num_frames: int) -> list[SoundPacket]:
    """440 Hz."""
    time = np.arange(num_frames * 480) / 24000
    return opus_packets((0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))


def speech() -> list[SoundPacket]:
    path = Path(__file__).parent.parent / "media" / "weather_question.wav"
    sound, rate_hz = soundfile.read(path, dtype="float32")
    return opus_packets(resample(sound, rate_hz, 24000))


@dataclass
class Talk:
    """Packets on their way, a frame's time apart, to a receiver that is polled every 20 ms.

    Args:
        delays_ms: of single packets, beyond the path's own 50 ms.
    """

    packets: list[SoundPacket]
    lost: set[int] = field(default_factory=set)
    delays_ms: dict[int, float] = field(default_factory=dict)

    def run(self, receiver: OpusReceiver) -> Iterator[tuple[float, Samples]]:
        """(time in ms, sound) of every arrival and poll, until the last packet's time is over."""
        arrivals = [
            (50 + 20 * n + self.delays_ms.get(n, 0.0), n)
            for n in range(len(self.packets))
            if n not in self.lost
        ]
        end_ms = max(50 + 20 * len(self.packets), max(arrivals)[0])
        polls = [(10.0 * n, -1) for n in range(1, int(end_ms / 10), 2)]
        for now_ms, n in sorted(arrivals + polls):
            if n < 0:
                yield now_ms, receiver.poll(now_ms)
            else:
                yield now_ms, receiver.push(self.packets[n], now_ms)
