"""What waits to be sent to one client, bounded: a client that does not read is let go.

Law: never more than two seconds of sound wait, nor much of anything else.
"""

import asyncio
from collections import deque

MAX_AUDIO_MS = 2000
MAX_BYTES = 8 << 20


class Overflow(Exception):
    """The client reads too slowly."""


class Outgoing:
    """Producer and consumer on one event loop."""

    def __init__(self) -> None:
        self._messages: deque[tuple[str, int]] = deque()
        self._wake = asyncio.Event()
        self._audio_ms = 0
        self._num_bytes = 0

    def offer(self, message: str, audio_ms: int = 0) -> None:
        """Add a message that carries so much sound. Raises Overflow."""
        is_full = self._audio_ms + audio_ms > MAX_AUDIO_MS
        if (audio_ms and is_full) or self._num_bytes + len(message) > MAX_BYTES:
            raise Overflow
        self._messages.append((message, audio_ms))
        self._audio_ms += audio_ms
        self._num_bytes += len(message)
        self._wake.set()

    def rest(self) -> list[str]:
        """All that still waits, oldest first; nothing does afterwards."""
        waiting = [message for message, _ in self._messages]
        self._messages.clear()
        self._audio_ms = self._num_bytes = 0
        return waiting

    async def take(self) -> str:
        """The oldest message, as soon as there is one."""
        while not self._messages:
            self._wake.clear()
            await self._wake.wait()
        message, audio_ms = self._messages.popleft()
        self._audio_ms -= audio_ms
        self._num_bytes -= len(message)
        return message
