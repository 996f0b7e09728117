"""Answers that are sent as they are made, and work that ends when nobody waits for it.

Law: the stages are left when the last byte is sent or the client has gone, whichever is first.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from omni.errors import OmniError, SessionClosed
from omni.serve.http import error_body

EVENT_STREAM: Final = "text/event-stream"
Result = TypeVar("Result")


class Streamed(StreamingResponse):
    """Args:
    content: the body, piece by piece.
    held: what is let go of at the end, however it comes.
    """

    def __init__(
        self, content: AsyncIterator[bytes | str], held: AsyncExitStack, media_type: str
    ) -> None:
        super().__init__(content, media_type=media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


async def server_sent(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """JSON texts as server-sent events; an error is the last of them."""
    try:
        async for event in events:
            yield f"data: {event}\n\n"
    except OmniError as error:
        yield f"data: {error_body(error)}\n\n"


async def while_waited_for(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work, which is given up if the client goes.

    Raises:
        SessionClosed: it has gone. Otherwise as the work.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise SessionClosed("The client has gone.")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
