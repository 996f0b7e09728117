"""`omni serve`: the server, from settings to "ready" to a quiet end on SIGTERM."""

import argparse
import asyncio
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import time

import uvicorn
from fastapi import FastAPI

from omni import assets, config
from omni.config import OmniConfig
from omni.errors import OmniError
from omni.pipeline import LocalPipeline, Pipeline
from omni.serve.access import check_exposure, read_keys
from omni.serve.app import create_app
from omni.serve.frames import WebSocketProtocol
from omni.serve.gateway import Gateway
from omni.serve.logs import configure_logging
from omni.stages.build import build_stage, check, stage_names

KEY_VARIABLE = "OMNI_API_KEY"
DRAIN_S = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime", choices=("ray", "local"), help="default: the profile's")
    parser.add_argument("--host", help="address to listen on (default: the profile's)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the profile's)")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; returns the exit status.

    Raises:
        ConfigError, AssetError: a setting is wrong, or a model file is missing.
    """
    configure_logging()
    settings = _settings(args)
    keys = read_keys(os.environ.get(KEY_VARIABLE), settings.server.api_key_file)
    check_exposure(settings.server.host, keys, is_open=settings.server.open_access)
    check(settings)
    for name in settings.files:
        assets.resolve(settings, name)
    server = Server(create_app(settings, _pipeline(settings), keys), settings)
    server.run()
    if server.failure is not None:
        print(f"omni: {server.failure.message}", file=sys.stderr)
        return 1
    return 0


class Server(uvicorn.Server):
    """Says when it is ready, and goodbye to its clients before it closes their sockets."""

    def __init__(self, app: FastAPI, settings: OmniConfig) -> None:
        server = settings.server
        super().__init__(
            uvicorn.Config(
                app,
                host=server.host,
                port=server.port,
                ws=WebSocketProtocol,
                ws_max_size=server.max_message_bytes,
                timeout_graceful_shutdown=DRAIN_S,
                access_log=False,
                server_header=False,
                log_level="warning",
            )
        )
        self.failure: OmniError | None = None
        self._gateway: Gateway = app.state.gateway
        self._born_s = time.monotonic()
        self._announcing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the server, once it listens."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        is_here = host in ("127.0.0.1", "::1", "0.0.0.0", "::")
        return f"http://{'localhost' if is_here else host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announcing = asyncio.create_task(self._announce())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._gateway.drain()
        await super().shutdown(sockets)

    async def _announce(self) -> None:
        try:
            await self._gateway.ready()
        except OmniError as error:
            self.failure = error
            self.should_exit = True
        else:
            self._take_signals()
            gc.freeze()  # what is loaded now stays: to look through it again takes 0.1 s each time
            print(f"ready in {time.monotonic() - self._born_s:.1f} s: {self.url}", flush=True)

    def _take_signals(self) -> None:
        # Ray, when it starts, puts handlers that abort in the place of uvicorn's.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)


def _settings(args: argparse.Namespace) -> OmniConfig:
    overrides = list(args.overrides)
    for key, value in (
        ("runtime.kind", args.runtime),
        ("server.host", args.host),
        ("server.port", args.port),
    ):
        if value is not None:
            overrides.append(f"{key}={value}")
    return config.load(args.config, overrides)


def _pipeline(settings: OmniConfig) -> Pipeline:
    if settings.runtime.kind == "ray":
        # By name: the product stands without the layer above it, and starts faster without Ray.
        runtime = importlib.import_module("actors.pipeline")
        pipeline: Pipeline = runtime.RayPipeline(settings)
        return pipeline
    stages = (build_stage(settings, name) for name in stage_names(settings))
    return LocalPipeline(stages, settings.runtime.queue_ms)
