"""Opus packets of a call to float samples and back, on the call's own clock.

Hides the codec, lost and late packets, and rates. Laws: the samples that come out are as long as
the call, whatever is lost; no packet, however broken, stops the ones after it.
"""

import logging
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias

import av
import numpy as np

from omni.media.audio import to_int16
from omni.types import Samples, frozen_array

log = logging.getLogger(__name__)

RTP_HZ: Final = 48000  # of Opus, whatever the rate of the sound in it (RFC 7587)
HEARD_HZ: Final = 16000
SPOKEN_HZ: Final = 24000
FRAME_SAMPLES: Final = SPOKEN_HZ // 50
FRAME_TICKS: Final = RTP_HZ // 50
REORDER_PACKETS: Final = 3  # what may overtake a late packet before it counts as lost
MAX_GAP_TICKS: Final = 2 * RTP_HZ  # a longer one is a restart, not a loss
SETTLED_FRAMES: Final = 10  # silence after which the encoder's output repeats


EncodedPacket: TypeAlias = "av.Packet[Any]"


class RtpPacket(Protocol):
    """What we read of an RTP packet."""

    payload_type: int
    sequence_number: int
    timestamp: int
    marker: int
    payload: bytes


class OpusReceiver:
    """One incoming stream, put in order and decoded to float32 at 16 kHz, mono.

    A packet in order is decoded at once; a hole is waited for until `REORDER_PACKETS` later ones
    have come, then filled with silence.
    """

    def __init__(self) -> None:
        self._codec = av.AudioCodecContext.create("libopus", "r")
        self._codec.format = "s16"
        self._codec.layout = "mono"
        self._codec.sample_rate = RTP_HZ
        # FFmpeg's own: a millisecond of delay, where a better filter would hold back twenty.
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=HEARD_HZ)
        self._waiting: dict[int, RtpPacket] = {}
        self._next_sequence: int | None = None
        self._next_timestamp = 0

    def push(self, packet: RtpPacket) -> Samples:
        """Take in a packet; the samples [n] that can be told by now, n ≥ 0."""
        if self._next_sequence is None:
            self._restart(packet)
        ahead = _signed(packet.sequence_number - (self._next_sequence or 0), 16)
        if abs(ahead) > 1000:
            self._restart(packet)
        elif ahead < 0:
            return _silence(0)  # too late, or twice
        self._waiting[packet.sequence_number] = packet
        pieces: list[Samples] = []
        while (ready := self._take()) is not None:
            pieces += [self._fill(ready), self._decode(ready)]
        return frozen_array(np.concatenate(pieces)) if pieces else _silence(0)

    @property
    def next_timestamp(self) -> int:
        """RTP time of the sample after those told so far."""
        return self._next_timestamp

    def elapse(self, num_samples: int) -> Samples:
        """Silence for time in which no packet came; not told again when they resume."""
        self._next_timestamp += num_samples * RTP_HZ // HEARD_HZ
        self._next_timestamp &= 0xFFFFFFFF
        return _silence(num_samples)

    def _restart(self, packet: RtpPacket) -> None:
        self._waiting.clear()
        self._next_sequence = packet.sequence_number
        self._next_timestamp = packet.timestamp

    def _take(self) -> RtpPacket | None:
        """The next packet in order; past a hole once enough have overtaken it."""
        first = self._next_sequence or 0
        packet = self._waiting.pop(first, None)
        if packet is None and len(self._waiting) >= REORDER_PACKETS:
            nearest = min(self._waiting, key=lambda number: (number - first) & 0xFFFF)
            packet = self._waiting.pop(nearest)
        if packet is not None:
            self._next_sequence = (packet.sequence_number + 1) & 0xFFFF
        return packet

    def _fill(self, packet: RtpPacket) -> Samples:
        """Silence in the place of what was lost or never sent before this packet."""
        gap = _signed(packet.timestamp - self._next_timestamp, 32)
        return _silence(gap * HEARD_HZ // RTP_HZ if 0 < gap <= MAX_GAP_TICKS else 0)

    def _decode(self, packet: RtpPacket) -> Samples:
        self._next_timestamp = (packet.timestamp + FRAME_TICKS) & 0xFFFFFFFF
        if not packet.payload:  # to the decoder it would mean the end of the stream
            return _silence(HEARD_HZ // 50)
        try:
            frames = self._codec.decode(av.Packet(packet.payload))
            heard = [part for frame in frames for part in self._resampler.resample(frame)]
        except av.FFmpegError:
            log.debug("a broken Opus packet was replaced by silence")
            return _silence(HEARD_HZ // 50)
        num_ticks = sum(frame.samples for frame in frames)
        self._next_timestamp = (packet.timestamp + num_ticks) & 0xFFFFFFFF
        arrays = [part.to_ndarray().reshape(-1) for part in heard]
        return np.concatenate(arrays) if arrays else _silence(0)


class OpusSender:
    """One outgoing stream: 20 ms frames of float32 at 24 kHz, mono, to packets with RTP times.

    Encoded at the rate the voice has: nothing is resampled, so nothing is delayed.
    """

    def __init__(self, bit_rate: int = 32000) -> None:
        self._codec = av.AudioCodecContext.create("libopus", "w")
        self._codec.format = "s16"
        self._codec.layout = "mono"
        self._codec.sample_rate = SPOKEN_HZ
        self._codec.bit_rate = bit_rate
        self._codec.options = {
            "application": "voip",
            "fec": "1",
            "packet_loss": "5",
            "compression_level": "5",
        }
        self._timestamp = 0
        self._num_silent = 0
        self._silent_payload = b""

    def push(self, samples: Samples) -> EncodedPacket:
        """One frame, [480] or fewer (silence follows), as an Opus packet."""
        pcm = np.zeros((1, FRAME_SAMPLES), np.int16)
        pcm[0, : len(samples)] = to_int16(samples)
        self._num_silent = 0
        return self._stamp(self._encode(pcm))

    def silence(self) -> EncodedPacket:
        """A frame of nothing; costs nothing once the encoder has settled."""
        if self._num_silent < SETTLED_FRAMES:
            self._num_silent += 1
            self._silent_payload = self._encode(np.zeros((1, FRAME_SAMPLES), np.int16))
        return self._stamp(self._silent_payload)

    def skip(self, num_frames: int) -> None:
        """Let time pass without packets."""
        self._timestamp += num_frames * FRAME_TICKS

    def _encode(self, pcm: "np.typing.NDArray[np.int16]") -> bytes:
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = SPOKEN_HZ
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))

    def _stamp(self, payload: bytes) -> EncodedPacket:
        packet = av.Packet(payload)
        packet.pts = self._timestamp
        packet.time_base = Fraction(1, RTP_HZ)
        self._timestamp += FRAME_TICKS
        return packet


def _silence(num_samples: int) -> Samples:
    return np.zeros(num_samples, np.float32)


def _signed(difference: int, num_bits: int) -> int:
    """A difference of wrapping counters as the nearest signed number."""
    half = 1 << (num_bits - 1)
    return (difference + half) % (1 << num_bits) - half
