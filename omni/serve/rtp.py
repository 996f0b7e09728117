"""RTP as far as we read it (RFC 3550), and Opus in it (RFC 7587)."""

from typing import Final, Protocol

OPUS_HZ: Final = 48000  # of its timestamps, whatever the rate of the sound in it
TICKS_PER_MS: Final = OPUS_HZ // 1000


class RtpPacket(Protocol):
    """What we read of a packet."""

    payload_type: int
    ssrc: int
    sequence_number: int
    timestamp: int
    marker: int
    payload: bytes


def signed(difference: int, num_bits: int) -> int:
    """A difference of counters that wrap as the nearest signed number."""
    half = 1 << (num_bits - 1)
    return (difference + half) % (1 << num_bits) - half
