"""What one plain HTTP request says to the stages, and what it hears back.

A session without a conversation: it has an id and room in every stage like any other, and no
dialog logic. Law: every wait has an end, and a stage's trouble is an error here.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from omni.errors import StageError, StageLost, StageTimeout
from omni.types import Called, Chunk, Heard, Seen, Speech, StageName, StageReport, Token

Wanted = TypeVar("Wanted", Heard, Seen, Speech)

SOURCES: Final[dict[type[Chunk], StageName]] = {
    Heard: "hear",
    Seen: "see",
    Speech: "speak",
}


class Exchange:
    """Made by `Gateway.exchange`. What waits unread is bounded by what was asked for.

    Args:
        send: routes a chunk to its stages.
    """

    def __init__(self, session_id: str, send: Callable[[Chunk], None]) -> None:
        self.session_id = session_id
        self.stamp = (session_id, 0, 0)
        self.send = send
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()

    def receive(self, chunk: Chunk) -> None:
        """A chunk from a stage."""
        self._chunks.put_nowait(chunk)

    async def take(self, kind: type[Wanted], timeout_s: float) -> Wanted:
        """The next chunk of a kind; others are passed over.

        Raises:
            StageError: the stage failed. StageLost: it died. StageTimeout: it said nothing.
        """
        chunk = await self._take((kind,), SOURCES[kind], timeout_s)
        assert isinstance(chunk, kind)
        return chunk

    async def take_written(self, timeout_s: float) -> Token | Called:
        """What the core wrote next: words, or a call of a tool. Raises as `take`."""
        chunk = await self._take((Token, Called), "think", timeout_s)
        assert isinstance(chunk, Token | Called)
        return chunk

    async def _take(
        self, kinds: tuple[type[Chunk], ...], stage: StageName, timeout_s: float
    ) -> Chunk:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    chunk = await self._chunks.get()
                    if isinstance(chunk, kinds):
                        return chunk
                    if isinstance(chunk, StageReport) and chunk.stage == stage:
                        raise _trouble(chunk)
        except TimeoutError as error:
            raise StageTimeout(f"The {stage} stage did not answer in time.") from error


def _trouble(report: StageReport) -> StageError:
    if report.state == "failed":
        return StageError(f"{report.stage}: {report.message}", report.code or None)
    return StageLost(f"The {report.stage} stage was lost; try again.")
