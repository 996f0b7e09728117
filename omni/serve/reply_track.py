"""The reply's sound on its way out: an Opus packet every 20 ms, silence when there is none.

Law: RTP time is real time. Whatever stands still for up to `MAX_LATE_FRAMES` is made up for, frame
by frame; a longer stall passes unsent. Driven by the pacer of all conversations, not by a timer.
"""

import asyncio
from collections import deque
from fractions import Fraction
from typing import Any, Final, TypeAlias

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from omni.serve.opus import FRAME_TICKS, OpusSender
from omni.serve.rtp import OPUS_HZ
from omni.types import Samples

FRAME_S: Final = 0.02
MAX_QUEUED_FRAMES: Final = 100  # 2 s; the ledger releases a tenth of that
MAX_LATE_FRAMES: Final = 10
_TIME_BASE: Final = Fraction(1, OPUS_HZ)

EncodedPacket: TypeAlias = "av.Packet[Any]"


class ReplyTrack(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._frames: deque[Samples] = deque(maxlen=MAX_QUEUED_FRAMES)
        self._opus = OpusSender()
        self._packets: asyncio.Queue[EncodedPacket] = asyncio.Queue()
        self._is_wanted = False
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
        """Encode what is due by now. Time begins when somebody first wants a packet."""
        if not self._is_wanted or self.readyState != "live":
            return
        if self._deadline_s is None:
            self._deadline_s = now_s
        num_late = int((now_s - self._deadline_s) / FRAME_S)
        if num_late > MAX_LATE_FRAMES:
            self._ticks += num_late * FRAME_TICKS
            self._deadline_s += num_late * FRAME_S
        while self._deadline_s < now_s + FRAME_S / 2:  # a tick may be early or late
            self._deadline_s += FRAME_S
            self._packets.put_nowait(self._next())

    async def recv(self) -> EncodedPacket:
        if self.readyState != "live":
            raise MediaStreamError
        self._is_wanted = True
        return await self._packets.get()

    def _next(self) -> EncodedPacket:
        frames = self._frames
        packet = av.Packet(self._opus.push(frames.popleft()) if frames else self._opus.silence())
        packet.pts, packet.time_base = self._ticks, _TIME_BASE
        self._ticks += FRAME_TICKS
        return packet
