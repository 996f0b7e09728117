"""The conversation itself over HTTP: calls by WebRTC, the websocket, a backend's sideband, secrets.

Hides what a lent secret means on the way to a session: its settings, its uses, its time.
"""

import json
from typing import Any, Literal

from fastapi import APIRouter, Request, Response, WebSocket

from omni.errors import OmniError, ProtocolError
from omni.protocol.realtime import RealtimeView
from omni.serve.calls import Calls, read_offer
from omni.serve.client_secrets import (
    Secret,
    SecretAnswer,
    SecretRequest,
    Secrets,
    Terms,
    spent,
)
from omni.serve.gateway import Gateway
from omni.serve.http import refuse
from omni.serve.sideband import Sideband
from omni.serve.websocket import RealtimeSocket

OFFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/sdp": {"schema": {"type": "string"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["sdp"],
                    "properties": {"sdp": {"type": "string"}, "session": {"type": "string"}},
                }
            },
        },
    },
    "responses": {"201": {"content": {"application/sdp": {"schema": {"type": "string"}}}}},
}


def call_routes(gateway: Gateway, calls: Calls) -> APIRouter:
    """Calls over WebRTC and what is done to them."""
    routes = APIRouter()

    @routes.post(
        "/v1/realtime/calls", status_code=201, response_class=Response, openapi_extra=OFFER
    )
    async def call(request: Request, extensions: str = "") -> Response:
        """Answer an SDP offer: `application/sdp`, or a form with `sdp` and `session`."""
        secret: Secret | None = request.state.secret
        offer, session = await read_offer(request)
        view = _view(gateway, "webrtc", extensions, secret)
        if session:
            view.configure(session)
        with spent(secret):
            peer, answer = await calls.open(offer, view, secret)
        gateway.expire(peer, secret.terms.max_duration_s if secret else None)
        headers = {"Location": f"/v1/realtime/calls/{peer.call_id}"}
        return Response(answer, 201, headers, media_type="application/sdp")

    @routes.post("/v1/realtime/calls/{call_id}/hangup", response_class=Response)
    @routes.delete("/v1/realtime/calls/{call_id}", response_class=Response)
    async def hang_up(call_id: str, request: Request) -> Response:
        await calls.hang_up(call_id, request.state.secret)
        return Response(status_code=200)

    _add_refusals(routes, calls)
    return routes


def _add_refusals(routes: APIRouter, calls: Calls) -> None:
    """What other servers' calls can be told to do, and ours cannot."""

    @routes.api_route(
        "/v1/realtime/calls/{call_id}", methods=["POST", "PUT", "PATCH"], include_in_schema=False
    )
    async def renegotiate(call_id: str) -> Response:
        """What may be sent is settled once: sound each way, one camera, one channel."""
        calls.get(call_id)
        raise ProtocolError(
            "A call is negotiated once: hang up and place another.",
            "renegotiation_unsupported",
            "sdp",
        )

    @routes.post("/v1/realtime/calls/{call_id}/{action}", response_class=Response)
    async def telephony(call_id: str, action: Literal["accept", "reject", "refer"]) -> Response:
        """Only SIP calls ring, and this server has no telephone."""
        raise ProtocolError(
            f"A call can be told to {action} over SIP only; this server answers WebRTC at once.",
            "not_found",
            "action",
        )


def session_routes(gateway: Gateway, calls: Calls, secrets: Secrets) -> APIRouter:
    """The websocket, and the secrets that browsers open sessions with."""
    routes = APIRouter()

    @routes.websocket("/v1/realtime")
    async def realtime(
        socket: WebSocket, extensions: str = "", intent: str = "", call_id: str | None = None
    ) -> None:
        secret: Secret | None = socket.state.secret
        try:
            if call_id is not None:
                await _sideband(socket, gateway, calls, call_id)
                return
            view = _view(gateway, "websocket", extensions, secret)
            if intent == "transcription":
                view.configure(json.dumps({"type": intent}))
            with spent(secret):
                connection = RealtimeSocket(socket, gateway, view)
                gateway.expire(connection, secret.terms.max_duration_s if secret else None)
                await connection.run()
        except OmniError as error:
            await refuse(socket, error)

    @routes.post("/v1/realtime/client_secrets")
    async def lend(body: SecretRequest) -> SecretAnswer:
        """A secret that a browser may open sessions with, within the settings given here."""
        settings = {"type": "realtime", **body.session}
        view = RealtimeView(gateway.config, "webrtc")
        view.configure(json.dumps(settings))  # what cannot be understood is told now
        terms = Terms(json.dumps(settings), body.uses, body.max_duration_s)
        value, secret = secrets.lend(terms, body.lasts_s)
        (created,) = view.opened("")
        session = created.model_dump(mode="json")["session"]
        return SecretAnswer(value=value, expires_at=secret.expires_s, session=session)

    return routes


def _view(
    gateway: Gateway,
    transport: Literal["webrtc", "websocket"],
    extensions: str,
    secret: Secret | None,
) -> RealtimeView:
    view = RealtimeView(gateway.config, transport, extensions.split(","))
    if secret:
        view.bind(secret.terms.session_json)
    return view


async def _sideband(socket: WebSocket, gateway: Gateway, calls: Calls, call_id: str) -> None:
    if socket.state.secret is not None:
        raise ProtocolError(
            "A call is controlled with the server's key.", "insufficient_permissions"
        )
    await Sideband(socket, calls.get(call_id), gateway.config.server.idle_timeout_s).run()
