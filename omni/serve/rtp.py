"""RTP as far as we read it (RFC 3550), and Opus in it (RFC 7587)."""

from typing import Final, Protocol

OPUS_HZ: Final = 48000  # of its timestamps, whatever the rate of the sound in it
TICKS_PER_MS: Final = OPUS_HZ // 1000


class RtpPacket(Protocol):
    """What we read of a packet."""

    @property
    def payload_type(self) -> int: ...
    @property
    def ssrc(self) -> int: ...
    @property
    def sequence_number(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def marker(self) -> int: ...
    @property
    def payload(self) -> bytes: ...


def signed(difference: int, num_bits: int) -> int:
    """A difference of counters that wrap as the nearest signed number."""
    half = 1 << (num_bits - 1)
    return (difference + half) % (1 << num_bits) - half
