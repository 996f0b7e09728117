"""What all transports share: the pipeline's life, room for sessions, and a quiet end.

Law: a session is opened only while every stage is ready and nobody is shutting down.
"""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from omni.clock import Clock, SystemClock
from omni.config import OmniConfig
from omni.dialog.headroom import Headroom, limit_ms
from omni.dialog.options import SessionOptions
from omni.errors import OmniError, SessionCapacity, SessionError, StageError
from omni.events import Event, Expired, UnitDone
from omni.pipeline import Pipeline
from omni.serve.conversation import Conversation, Conversations, OnEvent
from omni.serve.exchange import Exchange
from omni.serve.metrics import Metrics
from omni.types import StageHealth

log = logging.getLogger(__name__)

NORMAL = 1000
GOING_AWAY = 1001


class Connection(Protocol):
    """A client's connection, as the gateway knows it."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye (a websocket close code and a reason) and end the session."""


class Gateway:
    """Args:
    config: the server's profile.
    pipeline: started and stopped here.
    clock: by which units are timed.
    """

    def __init__(self, config: OmniConfig, pipeline: Pipeline, clock: Clock | None = None) -> None:
        self.config = config
        self.metrics = Metrics()
        self.state: Literal["starting", "ready", "failed", "stopping"] = "starting"
        self._pipeline = pipeline
        self._conversations = Conversations(pipeline, config)
        self._headroom = Headroom(limit_ms(config.brain), clock or SystemClock())
        self._connections: set[Connection] = set()
        self._goodbyes: set[asyncio.Future[None]] = set()
        self._expiries: dict[Connection, asyncio.TimerHandle] = {}
        self._starting: asyncio.Task[None] | None = None

    @property
    def num_sessions(self) -> int:
        return len(self._conversations)

    def start(self) -> None:
        """Begin to load the stages; the server answers meanwhile that it is not ready."""
        self._starting = asyncio.create_task(self._start(), name="pipeline start")

    async def ready(self) -> None:
        """Wait for every stage. Raises whatever kept one from getting ready."""
        if self._starting is None:
            raise StageError("the server was not started", "not_ready")
        await asyncio.shield(self._starting)

    async def open(
        self, connection: Connection, options: SessionOptions, on_event: OnEvent
    ) -> Conversation:
        """A session for a connection.

        Raises:
            StageError: not ready yet. SessionError: shutting down. SessionCapacity: no room.
        """
        try:
            self._admit()
            if refusal := self._headroom.refusal(self.num_sessions):
                raise SessionCapacity(f"this server has no room now: {refusal}; try again soon")
            conversation = await self._conversations.open(
                options, self._observed(connection, on_event)
            )
        except OmniError as error:
            self.metrics.refused(error.code)
            raise
        self._connections.add(connection)
        return conversation

    async def close(self, connection: Connection, conversation: Conversation) -> None:
        """The connection is gone: end its session. Twice is fine."""
        self._connections.discard(connection)
        if expiry := self._expiries.pop(connection, None):
            expiry.cancel()
        await self._conversations.close(conversation)

    def expire(self, connection: Connection, after_s: float | None) -> None:
        """End a connection's session when its time is over; None: it has no end."""
        if after_s is None:
            return
        loop = asyncio.get_running_loop()
        self._expiries[connection] = loop.call_later(after_s, self._dismiss, connection)

    def exchange(self) -> AbstractAsyncContextManager[Exchange]:
        """One plain request's way to the stages; it takes the room of a session.

        Raises (on entering): as `open`.
        """
        self._admit()
        return self._conversations.exchange()

    async def drain(self) -> None:
        """Take no more sessions and end those there are, telling their clients to come back."""
        self.state = "stopping"
        goodbyes = (c.close(GOING_AWAY, "the server is stopping") for c in [*self._connections])
        await asyncio.gather(*goodbyes, return_exceptions=True)

    async def stop(self) -> None:
        """End everything, the pipeline included."""
        await self.drain()
        await self._conversations.stop()
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._pipeline.stop()

    async def health(self) -> tuple[StageHealth, ...]:
        return await self._pipeline.health()

    async def _start(self) -> None:
        try:
            await self._pipeline.start()
        except asyncio.CancelledError:
            raise
        except BaseException:
            self.state = "failed"
            raise
        if self.state == "starting":
            self.state = "ready"

    def _admit(self) -> None:
        match self.state:
            case "starting":
                raise StageError("The server is still loading its models.", "not_ready")
            case "failed":
                raise StageError("The server could not load its models.", "not_ready")
            case "stopping":
                raise SessionError("The server is stopping.", "shutting_down")

    def _dismiss(self, connection: Connection) -> None:
        self._expiries.pop(connection, None)
        task = asyncio.ensure_future(connection.close(NORMAL, "the session's time is over"))
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    def _observed(self, connection: Connection, on_event: OnEvent) -> OnEvent:
        def observe(event: Event) -> None:
            self.metrics.observe(event)
            if isinstance(event, UnitDone):
                self._headroom.note(event.took_ms, self.num_sessions)
            try:
                on_event(event)
            except Exception:
                # A fault in one client's view must not reach the pacer that serves all.
                log.exception("an event could not be delivered")
            if isinstance(event, Expired):
                self._dismiss(connection)

        return observe
