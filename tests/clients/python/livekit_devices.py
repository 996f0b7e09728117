"""A scripted microphone and loudspeaker for a LiveKit AgentSession, and a witness of its log."""

import asyncio
import logging
import time

from livekit import rtc
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

RATE_HZ = 24000
FRAME_S = 0.02
FRAME_SAMPLES = int(RATE_HZ * FRAME_S)


class Microphone(AudioInput):
    """What is in `speech`, then silence, for ever; in real time."""

    def __init__(self) -> None:
        super().__init__(label="script")
        self.speech = b""
        self._due = time.monotonic()

    async def __anext__(self) -> rtc.AudioFrame:
        self._due += FRAME_S
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        size = FRAME_SAMPLES * 2
        chunk, self.speech = self.speech[:size].ljust(size, b"\0"), self.speech[size:]
        return rtc.AudioFrame(chunk, RATE_HZ, 1, FRAME_SAMPLES)


class Loudspeaker(AudioOutput):
    """Takes as long as the sound lasts, and knows how much of it was heard."""

    def __init__(self) -> None:
        super().__init__(
            label="script",
            next_in_chain=None,
            sample_rate=RATE_HZ,
            capabilities=AudioOutputCapabilities(pause=False),
        )
        self.total_s = 0.0
        self.heard_s: list[float] = []
        self._started_at = self._length_s = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._length_s:
            self._started_at = time.time()
            self.on_playback_started(created_at=self._started_at)
        self._length_s += frame.duration
        self.total_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._length_s and self._end is None:
            rest_s = self._length_s - (time.time() - self._started_at)
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(max(0.0, rest_s), self._finish, self._length_s, False)

    def clear_buffer(self) -> None:
        if self._length_s:
            self._finish(min(self._length_s, time.time() - self._started_at), True)

    def _finish(self, heard_s: float, is_interrupted: bool) -> None:
        if self._end:
            self._end.cancel()
        self._end, self._length_s = None, 0.0
        self.heard_s.append(heard_s)
        self.on_playback_finished(playback_position=heard_s, interrupted=is_interrupted)


class Witness(logging.Handler):
    """The warnings and errors of LiveKit itself: it notes faults of a server in its log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.complaints.append(record.getMessage())
