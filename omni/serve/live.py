"""OpenAI Live over a websocket: first the client says what session it wants, then there is one.

Law: whatever a client sends or fails to read, only its own session can suffer.
"""

import asyncio
import logging
from collections.abc import Sequence

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel

from omni import events
from omni.clock import SystemClock
from omni.errors import OmniError, ProtocolError, to_wire
from omni.protocol.live import LiveView, event_id_of, fault
from omni.serve.conversation import Conversation
from omni.serve.gateway import NORMAL, Gateway
from omni.serve.websocket import TRY_AGAIN_LATER, EventSocket

log = logging.getLogger(__name__)


class LiveSocket:
    """One client's websocket, from handshake to `session.closed`."""

    def __init__(self, socket: WebSocket, gateway: Gateway) -> None:
        self._line = EventSocket(socket, gateway.config.server.idle_timeout_s, fault)
        self._gateway = gateway
        self._view = LiveView(gateway.config, SystemClock())
        self._conversation: Conversation | None = None
        self._wants_session = asyncio.Event()
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Serve the client until either side ends it."""
        await self._line.accept()
        opening = asyncio.create_task(self._open(), name="live session")
        try:
            await self._line.serve(self._receive)
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            if self._conversation:
                await self._gateway.close(self, self._conversation)
            await self._line.say_goodbye()
            self._is_over.set()

    async def close(self, code: int, reason: str) -> None:
        self._line.end(code, reason)
        await self._is_over.wait()

    async def _open(self) -> None:
        """Open the session once it is known which."""
        await self._wants_session.wait()
        try:
            conversation = await self._gateway.open(self, self._view.options, self._on_event)
        except OmniError as error:
            self._line.send([fault(error)])
            self._line.end(to_wire(error).close_code or TRY_AGAIN_LATER, error.message)
            return
        self._conversation = conversation
        session_id = conversation.session.session_id
        conversation.run(lambda session: self._line.send(self._view.opened(session_id, session)))

    def _receive(self, text: str) -> None:
        answers: list[BaseModel] = []
        try:
            if conversation := self._conversation:
                conversation.run(lambda session: answers.extend(self._view.receive(text, session)))
            elif self._wants_session.is_set():
                raise ProtocolError("The session is not open yet.", "session_not_started")
            else:
                self._view.start(text)
                self._wants_session.set()
        except OmniError as error:
            answers.append(fault(error, event_id_of(text)))
        except Exception as error:
            log.exception("a client event failed")
            answers.append(fault(error))
        self._send(answers)

    def _on_event(self, event: events.Event) -> None:
        self._line.tell(event, self._view.render(event))
        self._end_when_over()

    def _send(self, told: Sequence[BaseModel]) -> None:
        self._line.send(told)
        self._end_when_over()

    def _end_when_over(self) -> None:
        if self._view.is_over:
            self._line.end(NORMAL, "the session is closed")


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/v1/live/sessions")
    async def live(socket: WebSocket) -> None:
        await LiveSocket(socket, gateway).run()

    return routes
