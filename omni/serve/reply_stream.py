"""The reply's sound on its way out: an Opus packet every 20 ms, silence when there is none.

Law: RTP time is real time. Whatever stands still for up to `MAX_LATE_FRAMES` is made up for, frame
by frame; a longer stall passes unsent. Driven by the pacer of all conversations, not by a timer.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from omni.serve.opus import FRAME_TICKS, OpusSender
from omni.types import Samples

FRAME_S: Final = 0.02
MAX_QUEUED_FRAMES: Final = 100  # 2 s; the ledger releases a tenth of that
MAX_LATE_FRAMES: Final = 10


class ReplyStream:
    """Args:
    send: takes a payload and its time in RTP ticks since the stream began.
    """

    def __init__(self, send: Callable[[bytes, int], None]) -> None:
        self._send = send
        self._frames: deque[Samples] = deque(maxlen=MAX_QUEUED_FRAMES)
        self._opus = OpusSender()
        self._deadline_s: float | None = None
        self._ticks = 0

    def push(self, samples: Samples) -> None:
        """20 ms at 24 kHz, [480] or fewer at a reply's end."""
        self._frames.append(samples)

    def clear(self) -> None:
        """Drop what waits, but for one frame that fades out: a hard cut clicks."""
        last = self._frames[0] if self._frames else None
        self._frames.clear()
        if last is not None:
            self._frames.append(last * np.linspace(1, 0, len(last), dtype=np.float32))

    def tick(self, now_s: float) -> None:
        """Send what is due by now; time begins with the first tick."""
        if self._deadline_s is None:
            self._deadline_s = now_s
        num_late = int((now_s - self._deadline_s) / FRAME_S)
        if num_late > MAX_LATE_FRAMES:
            self._ticks += num_late * FRAME_TICKS
            self._deadline_s += num_late * FRAME_S
        while self._deadline_s < now_s + FRAME_S / 2:  # a tick may be early or late
            self._deadline_s += FRAME_S
            frames = self._frames
            payload = self._opus.push(frames.popleft()) if frames else self._opus.silence()
            self._send(payload, self._ticks)
            self._ticks += FRAME_TICKS
