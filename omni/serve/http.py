"""What every HTTP request passes through: who it is from, how large it may be, what may be loaded.

Law: nothing of a body is read before its sender was let in; every refusal is an error object.
"""

import json
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from omni.errors import OmniError, ProtocolError, to_wire
from omni.serve.access import Access

RETRY_AFTER_S: Final = 2
API: Final = "/v1/"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(self), display-capture=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def error_body(error: BaseException) -> str:
    """Any error as JSON, in the shape of the protocol's error event and of OpenAI's HTTP API."""
    fault = to_wire(error)
    detail = {"type": fault.type, "code": fault.code, "message": fault.message}
    return json.dumps({"error": {**detail, "param": fault.param}})


def error_response(error: BaseException) -> JSONResponse:
    """Any error as an HTTP answer; what may soon be over says when to ask again."""
    status = to_wire(error).http_status
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    return JSONResponse(json.loads(error_body(error)), status, headers)


async def refuse(socket: WebSocket, error: OmniError) -> None:
    """Turn a client away before the upgrade, with a status and a body that say why."""
    await socket.send_denial_response(error_response(error))


class Guard:
    """Lets in whoever may use the API, and notes the lent secret it came with, if any."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        try:
            secret = self._access.check(
                scope["path"], Headers(scope=scope), scope.get("subprotocols", ())
            )
        except ProtocolError as error:
            if scope["type"] == "http":
                await error_response(error)(scope, receive, send)
            else:
                await refuse(WebSocket(scope, receive, send), error)
            return
        scope.setdefault("state", {})["secret"] = secret
        await self._app(scope, receive, send)


class PageHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Answers 413 as soon as a body is known to be too large, announced or not.

    Args:
        max_bytes: for paths that `larger` does not name.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._max_bytes)
        announced = Headers(scope=scope).get("content-length", "")
        num_bytes = 0
        has_begun = False

        async def receive_limited() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > limit:
                raise _TooLarge
            return message

        async def send_noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            if announced.isdigit() and int(announced) > limit:
                raise _TooLarge
            await self._app(scope, receive_limited, send_noting)
        except _TooLarge:
            if has_begun:
                raise
            fault = ProtocolError("The request is too large.", "message_too_large")
            await error_response(fault)(scope, receive, send)


class _TooLarge(Exception):
    pass
