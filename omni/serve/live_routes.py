"""OpenAI Live over HTTP: sessions by websocket or WebRTC, who joins them, and what is refused.

Hides by which transport a session came.
"""

from typing import Any, Final, Literal

from fastapi import APIRouter, Response, WebSocket
from pydantic import BaseModel

from omni.clock import SystemClock
from omni.errors import OmniError, ProtocolError
from omni.protocol.live import LiveView
from omni.protocol.live_reading import fault
from omni.serve.gateway import Gateway
from omni.serve.http import refuse
from omni.serve.live import LiveSocket
from omni.serve.sideband import Attachable, Sideband
from omni.serve.webrtc import Peer

SESSIONS: Final = "/v1/live/sessions"
CLOSE: Final = '{"type": "session.close"}'


class Transport(BaseModel):
    """The offer, or its answer."""

    type: Literal["webrtc"]
    sdp: str


class LiveRequest(BaseModel):
    session: dict[str, Any]
    transport: Transport


class LiveId(BaseModel):
    id: str


class LiveAnswer(BaseModel):
    session: LiveId
    transport: Transport


class LiveSessions:
    """Those there are, by id."""

    def __init__(self) -> None:
        self._open: dict[str, Attachable] = {}

    def add(self, session_id: str, session: Attachable) -> None:
        self._open = {key: one for key, one in self._open.items() if not one.closed.is_set()}
        self._open[session_id] = session

    def get(self, session_id: str) -> Attachable:
        """Raises: ProtocolError: there is no such session."""
        found = self._open.get(session_id)
        if found is None or found.closed.is_set():
            raise ProtocolError("There is no such session.", "not_found", "session_id")
        return found


def router(gateway: Gateway) -> APIRouter:
    routes, sessions = APIRouter(), LiveSessions()

    @routes.websocket(SESSIONS)
    async def live(socket: WebSocket) -> None:
        await LiveSocket(socket, gateway, sessions.add).run()

    @routes.websocket(SESSIONS + "/{session_id}/attach")
    async def attach(socket: WebSocket, session_id: str) -> None:
        idle_s = gateway.config.server.idle_timeout_s
        try:
            await Sideband(socket, sessions.get(session_id), idle_s, fault).run()
        except OmniError as error:
            await refuse(socket, error)

    @routes.websocket(SESSIONS + "/{session_id}/fork")
    async def fork_over_websocket(socket: WebSocket, session_id: str) -> None:
        await refuse(socket, _unstored(session_id))

    @routes.post(SESSIONS, status_code=201)
    async def call(body: LiveRequest) -> LiveAnswer:
        """A session over WebRTC: a page's offer in, the answer out."""
        view = LiveView(gateway.config, SystemClock())
        view.start_call(body.session)
        peer = Peer(gateway, view)
        answer = await peer.answer(body.transport.sdp)
        sessions.add(peer.session_id, peer)
        return LiveAnswer(
            session=LiveId(id=peer.session_id), transport=Transport(type="webrtc", sdp=answer)
        )

    @routes.post(SESSIONS + "/{session_id}/hangup", response_class=Response)
    async def hang_up(session_id: str) -> Response:
        sessions.get(session_id).control(CLOSE)
        return Response(status_code=200)

    _add_refusals(routes)
    return routes


def _add_refusals(routes: APIRouter) -> None:
    """What other servers' sessions can be told to do, and ours cannot."""

    @routes.post(SESSIONS + "/{session_id}/fork", response_class=Response)
    async def fork(session_id: str) -> Response:
        """Sessions are not stored."""
        raise _unstored(session_id)

    @routes.get(SESSIONS + "/{session_id}/content", response_class=Response)
    async def content(session_id: str) -> Response:
        """Sessions are not stored."""
        raise _unstored(session_id)

    @routes.post(SESSIONS + "/{session_id}/{action}", response_class=Response)
    async def telephony(session_id: str, action: Literal["accept", "reject", "refer"]) -> Response:
        """Only SIP calls ring, and this server has no telephone."""
        raise ProtocolError(f"There is no telephone to {action} with.", "not_found", "action")


def _unstored(session_id: str) -> ProtocolError:
    message = f"Sessions are not stored: there is nothing of {session_id} to fork or fetch."
    return ProtocolError(message, "not_found", "session_id")
