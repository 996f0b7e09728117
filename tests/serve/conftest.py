"""A live server, mostly with the stub brain, in a thread of its own, as clients meet it."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from omni.commands.serve import Server
from omni.config import OmniConfig, load
from omni.pipeline import LocalPipeline
from omni.serve.app import create_app
from omni.stages.base import Stage
from omni.stages.build import build_stage, stage_names


class Live:
    """A running server."""

    def __init__(self, config: OmniConfig, stages: Sequence[Stage], key: str | None) -> None:
        self.app = create_app(config, LocalPipeline(stages), [key] if key else [])
        self.server = Server(self.app, config)
        self.gateway = self.app.state.gateway
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(240)

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(240)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        await self.gateway.ready()
        self._ready.set()
        await serving


@contextmanager
def living(overrides: list[str], key: str | None) -> Iterator[Live]:
    config = load("stub", ["server.port=0", *overrides])
    live = Live(config, [build_stage(config, name) for name in stage_names(config)], key)
    try:
        yield live
    finally:
        live.stop()


Serve = Callable[..., Live]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers with `a.b=c` overrides; all are stopped at the end."""
    with ExitStack() as stack:
        yield lambda *overrides, key=None: stack.enter_context(living(list(overrides), key))


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """One server for tests that leave it as they found it."""
    with living(["server.max_sessions=8"], None) as server:
        yield server
