"""When a picture was taken, on the clock of the sound.

Hides RTP times and sender reports. Laws: a picture's time depends on when it was taken, not on how
long it was under way; without reports it is the time of arrival; it is never far from the sound
that is heard just now, whatever a sender claims.
"""

from collections import deque
from typing import Final, Literal

from omni.serve.opus import HEARD_HZ
from omni.serve.rtp import OPUS_HZ, signed

VIDEO_HZ: Final = 90_000
MAX_AGE_MS: Final = 5000
MAX_LEAD_MS: Final = 300  # a picture may arrive before the sound of its time
_NUM_REPORTS: Final = 8

Kind = Literal["audio", "video"]
_HZ: Final = {"audio": OPUS_HZ, "video": VIDEO_HZ}


class MediaClock:
    """One call's. Times in ms since its first sound."""

    def __init__(self) -> None:
        self._num_samples = 0
        self._next_timestamp = 0  # RTP time of the sound that comes next
        self._reports: dict[Kind, deque[tuple[float, int]]] = {
            "audio": deque(maxlen=_NUM_REPORTS),
            "video": deque(maxlen=_NUM_REPORTS),
        }

    @property
    def position_ms(self) -> int:
        return self._num_samples * 1000 // HEARD_HZ

    def heard(self, num_samples: int, next_timestamp: int) -> None:
        """So much sound was fed, and what follows it has this RTP time."""
        self._num_samples += num_samples
        self._next_timestamp = next_timestamp

    def report(self, kind: Kind, ntp_time: int, timestamp: int) -> None:
        """The sender says which time of its clock (NTP, 32.32 bits) an RTP time is."""
        if ntp_time:  # zero: it has no clock, or has not sent anything yet
            self._reports[kind].append((ntp_time * 1000 / 2**32, timestamp))

    def captured_ms(self, timestamp: int, arrived_ms: int) -> int:
        """When the picture with this RTP time was taken; `arrived_ms` is when its first packet
        came."""
        taken_ms = self._sent_ms("video", timestamp)
        next_ms = self._sent_ms("audio", self._next_timestamp)
        if taken_ms is None or next_ms is None:
            return arrived_ms
        at_ms = self.position_ms + round(taken_ms - next_ms)
        is_likely = -MAX_AGE_MS <= at_ms - arrived_ms <= MAX_LEAD_MS
        return max(0, at_ms) if is_likely else arrived_ms

    def _sent_ms(self, kind: Kind, timestamp: int) -> float | None:
        """The sender's clock at an RTP time. Of its reports the most punctual counts: some name
        the time at which a packet was sent, which is that of its sound or picture, or later."""
        return min(
            (
                ntp_ms + signed(timestamp - reported, 32) * 1000 / _HZ[kind]
                for ntp_ms, reported in self._reports[kind]
            ),
            default=None,
        )
