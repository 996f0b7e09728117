"""A second connection to a session: a backend that sees and controls what a browser talks about.

Law: both see every event of the session; an error is told to whoever caused it alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from pydantic import BaseModel
from starlette.websockets import WebSocket

from omni.protocol.realtime import error_event
from omni.serve.event_channel import Observer
from omni.serve.websocket import EventSocket


class Attachable(Protocol):
    """A session that others may join."""

    closed: asyncio.Event

    def attach(self, observer: Observer) -> Sequence[BaseModel]: ...
    def detach(self, observer: Observer) -> None: ...
    def control(self, text: str) -> Sequence[BaseModel]: ...


class Sideband:
    """Args:
    socket: not accepted yet.
    peer: the call, or another session.
    idle_limit_s: silence of the backend after which it is let go.
    fault: an error as the protocol tells it.
    """

    def __init__(
        self,
        socket: WebSocket,
        peer: Attachable,
        idle_limit_s: float,
        fault: Callable[[BaseException], BaseModel] = error_event,
    ) -> None:
        self._line = EventSocket(socket, idle_limit_s, fault)
        self._peer = peer

    async def run(self) -> None:
        """Serve the backend until it leaves or the call is over."""
        await self._line.accept()
        self._line.send(self._peer.attach(self._line.send))
        ending = asyncio.create_task(self._end_with_the_call(), name="sideband watch")
        try:
            await self._line.serve(self._receive)
        finally:
            ending.cancel()
            self._peer.detach(self._line.send)
        await self._line.say_goodbye()

    def _receive(self, text: str) -> None:
        self._line.send(self._peer.control(text))

    async def _end_with_the_call(self) -> None:
        await self._peer.closed.wait()
        self._line.end(1000, "the call is over")
