"""OpenAI Live over a websocket: first the client says what session it wants, then there is one.

Laws: whatever a client sends or fails to read, only its own session can suffer; whoever joins sees
every event but sound, and an error is told to its causer alone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from fastapi import WebSocket
from pydantic import BaseModel

from omni import events
from omni.clock import SystemClock
from omni.errors import OmniError, ProtocolError, to_wire
from omni.protocol.live import LiveView
from omni.protocol.live_reading import event_id_of, fault
from omni.protocol.views import is_fault
from omni.serve.conversation import Conversation
from omni.serve.event_channel import Observer
from omni.serve.gateway import NORMAL, Gateway
from omni.serve.websocket import TRY_AGAIN_LATER, EventSocket

log = logging.getLogger(__name__)


class LiveSocket:
    """One client's websocket, from handshake to `session.closed`.

    Args:
        socket: not accepted yet.
        on_open: told the session's id once there is one.
    """

    def __init__(
        self, socket: WebSocket, gateway: Gateway, on_open: Callable[[str, "LiveSocket"], None]
    ) -> None:
        self._line = EventSocket(socket, gateway.config.server.idle_timeout_s, fault)
        self._gateway = gateway
        self._view = LiveView(gateway.config, SystemClock())
        self._conversation: Conversation | None = None
        self._wants_session = asyncio.Event()
        self._on_open = on_open
        self._observers: list[Observer] = []
        self.closed = asyncio.Event()

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
            self._show(self._view.lost())
            await self._line.say_goodbye()
            self.closed.set()

    async def close(self, code: int, reason: str) -> None:
        self._line.end(code, reason)
        await self.closed.wait()

    def attach(self, observer: Observer) -> Sequence[BaseModel]:
        """Show somebody else every event from now on; returns how the session stands."""
        self._observers.append(observer)
        return self._view.resume()

    def detach(self, observer: Observer) -> None:
        self._observers.remove(observer)

    def control(self, text: str) -> Sequence[BaseModel]:
        """Do what a backend's message says; shows the answers to all, and returns its faults."""
        answers = self._command(text)
        self._send([answer for answer in answers if not is_fault(answer)])
        return [answer for answer in answers if is_fault(answer)]

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
        conversation.run(lambda session: self._line.send(self._view.greet(session)))
        self._on_open(conversation.session.session_id, self)

    def _receive(self, text: str) -> None:
        answers = self._command(text)
        self._line.send([answer for answer in answers if is_fault(answer)])
        self._send([answer for answer in answers if not is_fault(answer)])

    def _command(self, text: str) -> Sequence[BaseModel]:
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
        return answers

    def _on_event(self, event: events.Event) -> None:
        told = self._view.render(event)
        self._line.tell(event, told)
        if not isinstance(event, events.ResponseAudio):
            self._show(told)
        self._end_when_over()

    def _send(self, told: Sequence[BaseModel]) -> None:
        self._line.send(told)
        self._show(told)
        self._end_when_over()

    def _show(self, told: Sequence[BaseModel]) -> None:
        for observer in self._observers if told else ():
            observer(told)

    def _end_when_over(self) -> None:
        if self._view.is_over:
            self._line.end(NORMAL, "the session is closed")
