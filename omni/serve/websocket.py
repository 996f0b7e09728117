"""The Realtime protocol over a websocket: one task reads, one writes, neither waits for the other.

Law: whatever a client sends or fails to read, only its own session can suffer.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from omni import events
from omni.errors import ProtocolError, SessionClosed, to_wire
from omni.protocol.realtime import RealtimeView, error_event
from omni.protocol.realtime_events import ServerEvent
from omni.serve.access import SUBPROTOCOL
from omni.serve.conversation import Conversation
from omni.serve.gateway import Gateway
from omni.serve.outgoing import Outgoing, Overflow

log = logging.getLogger(__name__)

TRY_AGAIN_LATER: Final = 1013
GOODBYE_S: Final = 10.0
FRAME_MS: Final = 20
NOT_TEXT: Final = "Messages are JSON text, not binary."


class EventSocket:
    """A websocket that carries events as JSON text, until either side ends it.

    Args:
        idle_limit_s: a client that sends nothing for longer is let go.
        fault: an error as the protocol tells it.
    """

    def __init__(
        self,
        socket: WebSocket,
        idle_limit_s: float,
        fault: Callable[[BaseException], BaseModel] = error_event,
    ) -> None:
        self._socket = socket
        self._fault = fault
        self._idle_limit_s = idle_limit_s
        self._outgoing = Outgoing()
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def accept(self) -> None:
        offered = self._socket.scope["subprotocols"]
        await self._socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)

    async def serve(self, on_text: Callable[[str], None]) -> None:
        """Read and write until the client leaves or `end` is called."""
        tasks = (
            asyncio.create_task(self._read(on_text), name="websocket read"),
            asyncio.create_task(self._write(), name="websocket write"),
        )
        try:
            waits: set[asyncio.Future[Any]] = {*tasks, self._ending}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
                log.error("websocket failed", exc_info=result)
                self.end(1011, "internal error")

    async def say_goodbye(self) -> None:
        """Close as `end` said; nothing to do where the client left by itself."""
        if not self._ending.done():
            return
        # A client that does not read does not get this either, hence the limit.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(GOODBYE_S):
                for message in self._outgoing.rest():
                    await self._socket.send_text(message)
                await self._socket.close(*self._ending.result())

    async def read_text(self) -> str | None:
        """The client's next message; None once it has left or said nothing for too long."""
        while True:
            try:
                async with asyncio.timeout(self._idle_limit_s):
                    message = await self._socket.receive()
            except TimeoutError:
                reason = f"Nothing was sent for {self._idle_limit_s:g} s."
                error = SessionClosed(reason, "session_expired")
                self.end(to_wire(error).close_code or 1000, error.message)
                return None
            if message["type"] == "websocket.disconnect":
                return None
            if (text := message.get("text")) is not None:
                return str(text)
            self.send([self._fault(ProtocolError(NOT_TEXT, "invalid_event"))])

    def tell(self, event: events.Event, messages: Sequence[BaseModel]) -> None:
        """Send what a view made of a session's event."""
        self.send(messages, FRAME_MS if isinstance(event, events.ResponseAudio) else 0)

    def send(self, messages: Sequence[BaseModel], audio_ms: int = 0) -> None:
        if self._ending.done():
            return
        try:
            for message in messages:
                self._outgoing.offer(message.model_dump_json(), audio_ms)
        except Overflow:
            self._outgoing.rest()  # it would not be read either, and the goodbye waits behind it
            self.end(TRY_AGAIN_LATER, "reading too slowly")

    def end(self, code: int, reason: str) -> None:
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def _read(self, on_text: Callable[[str], None]) -> None:
        while (text := await self.read_text()) is not None:
            on_text(text)

    async def _write(self) -> None:
        while True:
            await self._socket.send_text(await self._outgoing.take())


class RealtimeSocket:
    """One client's session over a websocket, from handshake to goodbye."""

    def __init__(self, socket: WebSocket, gateway: Gateway, view: RealtimeView) -> None:
        self._line = EventSocket(socket, gateway.config.server.idle_timeout_s)
        self._gateway = gateway
        self._view = view
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Serve the client until either side ends it.

        Raises:
            OmniError: there is no room; nothing was accepted yet.
        """
        conversation = await self._gateway.open(self, self._view.options, self._on_event)
        try:
            await self._converse(conversation)
            await self._line.say_goodbye()
        finally:
            self._is_over.set()

    async def close(self, code: int, reason: str) -> None:
        self._line.end(code, reason)
        await self._is_over.wait()

    async def _converse(self, conversation: Conversation) -> None:
        try:
            await self._line.accept()
            self._line.send(self._view.opened(conversation.session.session_id))
            await self._line.serve(lambda text: self._receive(text, conversation))
        finally:
            await self._gateway.close(self, conversation)

    def _receive(self, text: str, conversation: Conversation) -> None:
        answers: list[ServerEvent] = []
        try:
            conversation.run(lambda session: answers.extend(self._view.receive(text, session)))
        except Exception as error:
            log.exception("a client event failed")
            answers.append(error_event(error))
        self._line.send(answers)

    def _on_event(self, event: events.Event) -> None:
        self._line.tell(event, self._view.render(event))
