"""The HTTP face of the server: which path does what, and who is turned away.

Every error leaves through `errors.to_wire`. Nothing here knows a model.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from omni.config import OmniConfig
from omni.errors import OmniError, ProtocolError
from omni.pipeline import Pipeline
from omni.protocol.realtime_session import defaults_of
from omni.resources import folder
from omni.serve import live_routes, translations
from omni.serve.access import Access
from omni.serve.calls import Calls
from omni.serve.client_secrets import Secrets
from omni.serve.gateway import Gateway
from omni.serve.http import API, BodyLimit, Guard, PageHeaders, error_response
from omni.serve.plain import catalogue, chat, speech, transcriptions
from omni.serve.realtime_routes import call_routes, session_routes

LOOPBACK_ORIGINS = r"https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
MAX_BODY_BYTES = 256 << 10


def create_app(config: OmniConfig, pipeline: Pipeline, keys: Collection[str] = ()) -> FastAPI:
    """The server as an ASGI application; its lifespan starts and stops the pipeline.

    Args:
        keys: what clients must present one of; none lets everybody in who can connect.
    """
    gateway = Gateway(config, pipeline)
    calls, secrets = Calls(gateway), Secrets()
    defaults = defaults_of(config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.stop()

    app = FastAPI(title="omni", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.gateway = gateway
    _add_middleware(app, config, Access(keys, config.server.allowed_origins, secrets))
    _add_operations(app, gateway)
    for router in (
        catalogue.router(defaults),
        call_routes(gateway, calls),
        session_routes(gateway, calls, secrets),
        live_routes.router(gateway),
        translations.router(gateway, secrets),
        chat.router(gateway, defaults),
        speech.router(gateway, defaults),
        transcriptions.router(gateway),
    ):
        app.include_router(router)
    _add_refusals(app)
    app.mount("/", StaticFiles(directory=folder("web"), html=True), name="page")
    return app


def _add_middleware(app: FastAPI, config: OmniConfig, access: Access) -> None:
    """The last one added is the first to see a request."""
    larger = {
        "/v1/chat/completions": config.server.max_message_bytes,
        "/v1/audio/transcriptions": config.server.max_upload_bytes,
    }
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, larger=larger)
    app.add_middleware(Guard, access=access)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(config.server.allowed_origins),
        allow_origin_regex=LOOPBACK_ORIGINS,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # SDKs add their own, and it is the Origin that decides
        expose_headers=["Location", "Retry-After"],
    )
    app.add_middleware(PageHeaders)


def _add_refusals(app: FastAPI) -> None:
    """Whatever is wrong with a request, the answer is the same kind of object."""

    @app.exception_handler(OmniError)
    async def refused(_: Request, error: OmniError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        where = f"'{param}': " if param else ""
        return error_response(ProtocolError(f"{where}{first['msg']}.", code, param or None))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        if not request.url.path.startswith(API):
            return PlainTextResponse(error.detail, error.status_code, error.headers)
        fault = ProtocolError(f"{request.method} {request.url.path}: {error.detail}", "not_found")
        answer = error_response(fault)
        answer.status_code = error.status_code
        answer.headers.update(error.headers or {})
        return answer


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
