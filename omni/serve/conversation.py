"""Drives one session on the event loop: stages and client on either side, the pacer in between.

The only place where the sans-I/O session meets asyncio. One pacer ticks all conversations on
absolute 20 ms deadlines; nothing here waits for a model.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable

from omni.clock import Clock, SystemClock
from omni.config import OmniConfig
from omni.dialog.options import SessionOptions
from omni.dialog.sessions import AnySession, Sessions
from omni.errands import Result
from omni.errors import SessionCapacity
from omni.events import Event
from omni.pipeline import Pipeline
from omni.serve.errands import Errands
from omni.serve.exchange import Exchange
from omni.types import Chunk, Samples

log = logging.getLogger(__name__)

TICK_S = 0.02

OnEvent = Callable[[Event], None]
"""Takes a session's events in order, on the event loop; must not block."""


class Conversation:
    """One client's session, open in the pipeline. Made by `Conversations.open`."""

    def __init__(
        self, pipeline: Pipeline, session: AnySession, on_event: OnEvent, errands: Errands
    ) -> None:
        self.session = session
        self.on_tick: Callable[[], None] = lambda: None  # for a transport that sends in real time
        self._pipeline = pipeline
        self._on_event = on_event
        self._errands = errands

    def feed(self, samples: Samples) -> None:
        """The user's sound, float32 [n] at 16 kHz."""
        self.session.feed(samples)
        self._flush()

    def run(self, command: Callable[[AnySession], None]) -> None:
        """Do something to the session; its errors pass through to the caller."""
        try:
            command(self.session)
        finally:
            self._flush()

    def receive(self, chunk: Chunk) -> None:
        """A chunk from a stage."""
        self.session.receive(chunk)
        self._flush()

    def tick(self) -> None:
        self.session.tick()
        self._flush()
        self.on_tick()

    def close(self) -> None:
        """Nothing that runs outside is waited for any more."""
        self._errands.close()

    def _learn(self, result: Result) -> None:
        self.session.learn(result)
        self._flush()

    def _flush(self) -> None:
        for errand in self.session.errands():
            self._errands.start(errand, self._learn)
        for chunk in self.session.chunks():
            self._pipeline.send(chunk)
        for event in self.session.events():
            self._on_event(event)


class Conversations:
    """All conversations of a server, and the pacer that ticks them.

    Args:
        pipeline: where the stages are; started and stopped by the caller.
        config: the server's profile.
    """

    def __init__(self, pipeline: Pipeline, config: OmniConfig, clock: Clock | None = None) -> None:
        self._pipeline = pipeline
        self._config = config
        self._sessions = Sessions(config, clock or SystemClock())
        self._open: dict[str, Conversation] = {}
        self._exchanges: set[str] = set()
        self._pacer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open) + len(self._exchanges)

    async def open(self, options: SessionOptions, on_event: OnEvent) -> Conversation:
        """A new session.

        Raises:
            SessionCapacity: the server or one of its stages is full.
        """
        self._check_room()
        session_id = f"sess_{secrets.token_hex(10)}"
        session = self._sessions.new(session_id, options)
        errands = Errands(self._config.tools)
        conversation = Conversation(self._pipeline, session, on_event, errands)
        self._open[session_id] = conversation
        try:
            await self._pipeline.open(session_id, conversation.receive)
        except BaseException:
            del self._open[session_id]
            raise
        conversation.tick()
        if self._pacer is None:
            self._pacer = asyncio.create_task(self._pace(), name="pacer")
        return conversation

    @contextlib.asynccontextmanager
    async def exchange(self) -> AsyncIterator[Exchange]:
        """Room in every stage for one plain request.

        Raises:
            SessionCapacity: as `open`, or as many requests as may be are under way.
        """
        self._check_room()
        limit = self._config.server.max_requests
        if len(self._exchanges) >= limit:
            raise SessionCapacity(f"{limit} requests are under way; try again soon")
        exchange = Exchange(f"req_{secrets.token_hex(10)}", self._pipeline.send)
        self._exchanges.add(exchange.session_id)
        try:
            await self._pipeline.open(exchange.session_id, exchange.receive)
            try:
                yield exchange
            finally:
                await self._pipeline.close(exchange.session_id)
        finally:
            self._exchanges.discard(exchange.session_id)

    def _check_room(self) -> None:
        limit = self._config.server.max_sessions
        if len(self) >= limit:
            raise SessionCapacity(f"all {limit} sessions of this server are taken; try again soon")

    async def close(self, conversation: Conversation) -> None:
        """End a session; closing it twice is fine."""
        conversation.close()
        if self._open.pop(conversation.session.session_id, None):
            await self._pipeline.close(conversation.session.session_id)

    async def stop(self) -> None:
        """End every session and the pacer."""
        for conversation in list(self._open.values()):
            await self.close(conversation)
        if self._pacer:
            self._pacer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pacer
            self._pacer = None

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while True:
            # Absolute deadlines: a late tick does not make the next one late. What a long stall
            # has missed is not made up for tick by tick; sessions look at the clock themselves.
            deadline = max(deadline + TICK_S, loop.time() - TICK_S)
            await asyncio.sleep(max(0.0, deadline - loop.time()))
            for conversation in list(self._open.values()):
                try:
                    conversation.tick()
                except Exception:
                    log.exception("tick failed", extra={"session": conversation.session.session_id})
