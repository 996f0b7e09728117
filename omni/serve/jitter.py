"""A jitter buffer for an ear: when a packet is given up, and what then stands in its place.

What comes in order is handed on at once, since nobody plays it; only a hole is waited for, as long
as this path's delay varies. Laws: time is never cut out, and no packet keeps out those after it.
Upstream: aiortc.jitterbuffer for audio; the day it conceals, this and tap.py go.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from omni.serve.libopus import MAX_PACKET_MS, duration_ticks
from omni.serve.rtp import TICKS_PER_MS, RtpPacket, signed

FRAME_MS: Final = 20
FIRST_PATIENCE_MS: Final = 60  # of a path that is not known yet
MIN_PATIENCE_MS: Final = 30
MAX_PATIENCE_MS: Final = 200
STALL_MS: Final = 300  # with nothing newer either: late words are worth more than a punctual hole
MAX_QUIET_MS: Final = 10_000  # longer than any pause within a turn; then time stands still
MAX_JUMP_MS: Final = 2000  # of timestamps; beyond, another stream begins
MAX_MISORDER: Final = 1000
MAX_WAITING: Final = 64
WINDOW_PACKETS: Final = 200
SETTLE_PACKETS: Final = 10
TARDY_SHARE: Final = 0.01  # of packets that patience does not last for
DTX_BYTES: Final = 2  # a frame that says: silence from here on (RFC 6716 section 2.1.9)
BASE_MS: Final = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A stretch of the call: a gap, then a packet."""

    gap_ticks: int
    payload: bytes | None = None  # none yet, if time went by without packets
    overlap_ticks: int = 0  # of the payload's start that has been told already
    late_ticks: int = 0  # of silence that was told in this payload's place, and is one too many


class JitterBuffer:
    """One stream of Opus packets. Is told the time: ms of any clock that never goes back."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, bytes]] = {}  # sequence → time in ticks, payload
        self._ssrc: int | None = None
        self._sequence = 0  # of the next packet; neither this nor time wraps
        self._ticks = 0  # its time
        self._told_ticks = 0  # since the last packet
        self._is_dtx = False
        self._path = _Path()

    @property
    def patience_ms(self) -> float:
        """How long a packet may be overtaken before it counts as lost."""
        return self._path.patience_ms

    @property
    def next_timestamp(self) -> int:
        """RTP time of what comes next."""
        return self._ticks & 0xFFFFFFFF

    def push(self, packet: RtpPacket, now_ms: float) -> list[Slot]:
        """A packet as it arrives; what can be told by now."""
        sequence = self._sequence + signed(packet.sequence_number - self._sequence, 16)
        ticks = self._ticks + signed(packet.timestamp - self._ticks, 32)
        is_far = abs(ticks - self._ticks) > MAX_JUMP_MS * TICKS_PER_MS
        if packet.ssrc != self._ssrc or is_far or abs(sequence - self._sequence) > MAX_MISORDER:
            self._waiting.clear()
            self._ssrc, self._sequence, self._ticks = packet.ssrc, sequence, ticks
            self._told_ticks, self._path = 0, _Path()
        self._path.observe(now_ms, ticks / TICKS_PER_MS)
        if sequence < self._sequence:
            return []
        self._waiting[sequence] = (ticks, packet.payload)
        return self._ready(now_ms)

    def poll(self, now_ms: float) -> list[Slot]:
        """What can be told because time has passed; to be asked every 20 ms or so."""
        if self._ssrc is None:
            return []
        return self._ready(now_ms) if self._waiting else self._wait(now_ms)

    # ---- inside

    def _ready(self, now_ms: float) -> list[Slot]:
        slots: list[Slot] = []
        while self._waiting:
            first = min(self._waiting)
            ticks, payload = self._waiting[first]
            if first > self._sequence and len(self._waiting) < MAX_WAITING:
                last_missing_ms = ticks / TICKS_PER_MS - FRAME_MS
                if self._path.age_ms(last_missing_ms, now_ms) < self.patience_ms:
                    break
            del self._waiting[first]
            self._sequence = first + 1
            if duration := duration_ticks(payload):  # else it counts as lost
                slots.append(self._place(ticks, payload))
                self._ticks = max(self._ticks, ticks + duration)
                self._told_ticks = 0
                self._is_dtx = len(payload) <= DTX_BYTES
        return slots

    def _place(self, ticks: int, payload: bytes) -> Slot:
        """Puts a packet where it belongs, at the end of what was told or behind it."""
        if ticks >= self._ticks:
            return Slot(ticks - self._ticks, payload)
        late = min(self._ticks - ticks, self._told_ticks)
        self._ticks -= late
        overlap = self._ticks - ticks
        if overlap >= MAX_PACKET_MS * TICKS_PER_MS:  # no packet is as long: a clock was set back
            overlap, self._ticks = 0, ticks
        return Slot(0, payload, overlap, late)

    def _wait(self, now_ms: float) -> list[Slot]:
        """Nothing at all has come: for how long?"""
        if self._told_ticks >= MAX_QUIET_MS * TICKS_PER_MS:
            return []
        age_ms = self._path.age_ms(self._ticks / TICKS_PER_MS, now_ms)
        is_expected = not (self._told_ticks or self._is_dtx)
        if age_ms < (STALL_MS if is_expected else self.patience_ms + FRAME_MS):
            return []
        gap = int((age_ms - self.patience_ms) // FRAME_MS) * FRAME_MS * TICKS_PER_MS
        self._ticks += gap
        self._told_ticks += gap
        return [Slot(gap)] if gap else []


class _Path:
    """What is known of the way that packets take: its shortest delay, and how it varies."""

    def __init__(self) -> None:
        self._delays_ms: deque[float] = deque(maxlen=WINDOW_PACKETS)  # beyond the shortest
        self._shortest_ms = self._shortest_before_ms = float("inf")
        self._renewed_ms = float("-inf")
        self._num_observed = 0
        self.patience_ms = float(FIRST_PATIENCE_MS)

    def observe(self, now_ms: float, sent_ms: float) -> None:
        transit_ms = now_ms - sent_ms
        if now_ms - self._renewed_ms > BASE_MS:  # clocks drift apart, and routes change
            self._shortest_before_ms, self._shortest_ms = self._shortest_ms, transit_ms
            self._renewed_ms = now_ms
        self._shortest_ms = min(self._shortest_ms, transit_ms)
        delay_ms = self.age_ms(sent_ms, now_ms)
        if delay_ms > STALL_MS:  # this is how long it takes now, or what a stall has held back
            self._shortest_ms = self._shortest_before_ms = transit_ms
            delay_ms = 0.0
        self._delays_ms.append(delay_ms)
        self._num_observed += 1
        if self._num_observed % SETTLE_PACKETS == 0:
            self._settle()

    def age_ms(self, sent_ms: float, now_ms: float) -> float:
        """How long ago a packet that was sent then should have come."""
        return now_ms - sent_ms - min(self._shortest_ms, self._shortest_before_ms)

    def _settle(self) -> None:
        tardy = int(len(self._delays_ms) * TARDY_SHARE) + 1
        wanted_ms = sorted(self._delays_ms)[-tardy] + FRAME_MS
        self.patience_ms = min(max(wanted_ms, MIN_PATIENCE_MS), MAX_PATIENCE_MS)
