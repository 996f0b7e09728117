"""Translations over a websocket: sound in, its words in another language out.

Law: whatever a client sends or fails to read, only its own session can suffer.
"""

import asyncio
import json
import logging
from collections.abc import Sequence

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel

from omni import events
from omni.clock import SystemClock
from omni.errors import OmniError
from omni.protocol.realtime import error_event
from omni.protocol.translations import TranslationView
from omni.serve.client_secrets import (
    Secret,
    SecretAnswer,
    SecretRequest,
    Secrets,
    Terms,
    spent,
)
from omni.serve.conversation import Conversation
from omni.serve.gateway import NORMAL, Gateway
from omni.serve.http import refuse
from omni.serve.websocket import EventSocket

log = logging.getLogger(__name__)


class TranslationSocket:
    """One client's websocket, from handshake to `session.closed`."""

    def __init__(self, socket: WebSocket, gateway: Gateway, view: TranslationView) -> None:
        self._line = EventSocket(socket, gateway.config.server.idle_timeout_s)
        self._gateway = gateway
        self._view = view
        self._conversation: Conversation | None = None
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Serve the client until either side ends it.

        Raises:
            OmniError: there is no room; nothing was accepted yet.
        """
        conversation = await self._gateway.open(self, self._view.options, self._on_event)
        try:
            await self._line.accept()
            self._conversation = conversation
            self._send(self._view.opened(conversation.session.session_id))
            await self._line.serve(self._receive)
        finally:
            await self._gateway.close(self, conversation)
            await self._line.say_goodbye()
            self._is_over.set()

    async def close(self, code: int, reason: str) -> None:
        self._line.end(code, reason)
        await self._is_over.wait()

    def _receive(self, text: str) -> None:
        answers: list[BaseModel] = []
        try:
            if conversation := self._conversation:
                conversation.run(lambda session: answers.extend(self._view.receive(text, session)))
        except Exception as error:
            log.exception("a client event failed")
            answers.append(error_event(error))
        self._send(answers)

    def _on_event(self, event: events.Event) -> None:
        self._line.tell(event, self._view.render(event))
        self._end_when_over()
        # Not now: the session is still telling what happened.
        asyncio.get_running_loop().call_soon(self._translate)

    def _translate(self) -> None:
        conversation = self._conversation
        if conversation and not self._view.is_over and (wanted := self._view.wish()):
            try:
                conversation.run(lambda session: session.respond(wanted))
            except OmniError as error:  # this brain answers nobody but itself
                self._view.give_up()
                self._send([error_event(error)])

    def _send(self, told: Sequence[BaseModel]) -> None:
        self._line.send(told)
        self._end_when_over()

    def _end_when_over(self) -> None:
        if self._view.is_over:
            self._line.end(NORMAL, "the session is closed")


def router(gateway: Gateway, secrets: Secrets) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/v1/realtime/translations")
    async def translations(socket: WebSocket) -> None:
        secret: Secret | None = socket.state.secret
        try:
            view = TranslationView(gateway.config, SystemClock())
            if secret:
                view.configure(secret.terms.session_json)
            with spent(secret):
                connection = TranslationSocket(socket, gateway, view)
                gateway.expire(connection, secret.terms.max_duration_s if secret else None)
                await connection.run()
        except OmniError as error:
            await refuse(socket, error)

    @routes.post("/v1/realtime/translations/client_secrets")
    async def lend(body: SecretRequest) -> SecretAnswer:
        """A secret that a browser may be translated with, beginning with the settings given."""
        settings = json.dumps(body.session)
        view = TranslationView(gateway.config, SystemClock())
        view.configure(settings)  # what cannot be understood is told now
        terms = Terms(settings, body.uses, body.max_duration_s, "translation")
        value, secret = secrets.lend(terms, body.lasts_s)
        (created,) = view.opened("")
        session = created.model_dump(mode="json")["session"]
        return SecretAnswer(value=value, expires_at=secret.expires_s, session=session)

    return routes
