"""The HTTP face of the server: which path does what, and who is turned away.

Every error leaves through `errors.to_wire`. Nothing here knows a model.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from omni.config import OmniConfig
from omni.errors import OmniError
from omni.pipeline import Pipeline
from omni.protocol.realtime import RealtimeView
from omni.protocol.realtime_session import Defaults, defaults_of
from omni.resources import folder
from omni.serve.access import Access
from omni.serve.calls import Calls, read_offer
from omni.serve.gateway import Gateway
from omni.serve.http import BodyLimit, PageHeaders
from omni.serve.websocket import RealtimeSocket, error_response, refuse

LOOPBACK_ORIGINS = r"https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
MAX_BODY_BYTES = 256 << 10


def create_app(config: OmniConfig, pipeline: Pipeline, api_key: str | None = None) -> FastAPI:
    """The server as an ASGI application; its lifespan starts and stops the pipeline.

    Args:
        api_key: what clients must present; None lets everybody in who can connect.
    """
    gateway = Gateway(config, pipeline)
    calls = Calls(gateway)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.stop()

    app = FastAPI(title="omni", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.gateway = gateway
    access = Access(api_key, config.server.allowed_origins)
    _add_middleware(app, config)
    _add_operations(app, gateway)
    _add_catalogue(app, defaults_of(config))
    _add_realtime(app, gateway, calls, access)
    app.mount("/", StaticFiles(directory=folder("web"), html=True), name="page")

    @app.exception_handler(OmniError)
    async def refuse_request(_: Request, error: OmniError) -> JSONResponse:
        return error_response(error)

    return app


def _add_middleware(app: FastAPI, config: OmniConfig) -> None:
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(config.server.allowed_origins),
        allow_origin_regex=LOOPBACK_ORIGINS,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-OpenAI-Agents-SDK"],
        expose_headers=["Location"],
    )
    app.add_middleware(PageHeaders)


def _add_operations(app: FastAPI, gateway: Gateway) -> None:
    """What whoever runs the server asks."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @app.get("/readyz")
    @app.get("/health")
    async def health() -> JSONResponse:
        """200 once every stage works, else 503; and how each one fares."""
        stages = await gateway.health() if gateway.state != "starting" else ()
        state: str = gateway.state
        if state == "ready" and not all(stage.is_ready for stage in stages):
            state = "degraded"
        body = {
            "status": state,
            "sessions": gateway.num_sessions,
            "max_sessions": gateway.config.server.max_sessions,
            "stages": [asdict(stage) for stage in stages],
        }
        return JSONResponse(body, 200 if state == "ready" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text."""
        stages = await gateway.health() if gateway.state == "ready" else ()
        text = gateway.metrics.exposition(gateway.num_sessions, stages)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_catalogue(app: FastAPI, defaults: Defaults) -> None:
    """What a client can choose from."""

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        model = {"id": defaults.model, "object": "model", "created": 0, "owned_by": "omni"}
        return {"object": "list", "data": [model]}

    @app.get("/v1/voices")
    async def voices() -> dict[str, object]:
        """Names for `audio.output.voice`."""
        return {"voices": sorted(defaults.voices), "default": defaults.options.voice}


def _add_realtime(app: FastAPI, gateway: Gateway, calls: Calls, access: Access) -> None:
    """The conversation itself: WebRTC by an HTTP offer, or a websocket."""

    @app.post("/v1/realtime/calls", status_code=201)
    async def call(request: Request, extensions: str = "") -> Response:
        """Answer an SDP offer: `application/sdp`, or a form with `sdp` and `session`."""
        access.check(request.headers)
        offer, session = await read_offer(request)
        view = RealtimeView(gateway.config, "webrtc", extensions.split(","))
        if session:
            view.configure(session)
        call_id, answer = await calls.open(offer, view)
        headers = {"Location": f"/v1/realtime/calls/{call_id}"}
        return Response(answer, 201, headers, media_type="application/sdp")

    @app.post("/v1/realtime/calls/{call_id}/hangup")
    @app.delete("/v1/realtime/calls/{call_id}")
    async def hang_up(call_id: str, request: Request) -> Response:
        access.check(request.headers)
        await calls.hang_up(call_id)
        return Response(status_code=200)

    @app.websocket("/v1/realtime")
    async def realtime(socket: WebSocket, extensions: str = "") -> None:
        try:
            access.check(socket.headers, socket.scope["subprotocols"])
            view = RealtimeView(gateway.config, "websocket", extensions.split(","))
            await RealtimeSocket(socket, gateway, view).run()
        except OmniError as error:
            await refuse(socket, error)
