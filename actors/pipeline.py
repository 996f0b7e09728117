"""The pipeline over Ray actors: who is open, what goes where, and how a dead stage comes back.

A stage's death is known by its socket. Sessions are told, a fresh actor is placed and loaded, every
session is opened in it at its present epoch, its neighbours are connected to it, and what waited
for it and is not stale goes on. Nothing here waits on a stage while chunks are sent.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from actors.cluster import Cluster, RemoteStage
from actors.link import Address, Link, Stream, dial
from actors.spares import Spares, Worker
from actors.stage_actor import Build
from actors.wire import SCHEMA, Hello
from omni.config import OmniConfig
from omni.errors import OmniError, SessionError, StageError, StageLost, StageTimeout
from omni.pipeline import Sink
from omni.stages.build import build_stage, stage_names
from omni.types import (
    DESTINATIONS,
    REPLY_CHUNKS,
    Chunk,
    Receiver,
    StageHealth,
    StageName,
    StageReport,
)

log = logging.getLogger(__name__)

HEALTH_TIMEOUT_S: Final = 2.0
DRAIN_TIMEOUT_S: Final = 10.0
_BACK_OFF_S: Final = 0.5
_State = Literal["failed", "lost", "restored"]


@dataclass(slots=True)
class _Session:
    sink: Sink
    epoch: int = 0


@dataclass(slots=True)
class _Lane:
    """One stage as the gateway sees it, over all the actors that have stood for it."""

    name: StageName
    link: Link
    actor: RemoteStage | None = None
    address: Address | None = None
    state: Literal["starting", "ready", "lost", "failed"] = "starting"
    restarts: int = 0
    opened: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while `opened` changes
    keeper: asyncio.Task[None] | None = None


class RayPipeline:
    """Every stage in an actor of its own.

    Args:
        build: makes a stage, in its actor; must be importable there.
    """

    def __init__(self, config: OmniConfig, build: Build = build_stage) -> None:
        self._config = config
        self._build = build
        self._sessions: dict[str, _Session] = {}
        self._lanes: dict[Receiver, _Lane] = {
            name: self._new_lane(name) for name in stage_names(config)
        }
        self._spares = Spares(config.runtime.spares, self._make)
        self._numbers = itertools.count()  # of actors, over all stages
        self._me = Hello("gateway", SCHEMA, secrets.token_urlsafe(32))
        self._cluster: Cluster | None = None
        self._folder: Path | None = None

    async def start(self) -> None:
        """Place and load every stage, all at the same time.

        Raises:
            StageTimeout: one is not ready within `runtime.start_timeout_s`; the message names it.
            StageError: one cannot be loaded; the message names it and says why.
        """
        self._cluster = await Cluster.join(self._config.runtime.ray_address)
        self._folder = Path(tempfile.mkdtemp(prefix="omni-"))
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes.values():
                    group.create_task(self._place(lane))
                group.create_task(self._spares.fill())
            for lane in self._lanes.values():
                lane.keeper = asyncio.create_task(self._keep(lane, await self._adopt(lane)))
        except ExceptionGroup as failures:
            await self.stop()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        lanes = self._lanes.values()
        keepers = [lane.keeper for lane in lanes if lane.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await self._spares.stop()
        await asyncio.gather(
            *(
                lane.actor.drain(DRAIN_TIMEOUT_S)
                for lane in lanes
                if lane.actor and lane.state == "ready"
            ),
            return_exceptions=True,  # a stage that is stuck is killed all the same
        )
        for lane in lanes:
            if lane.actor:
                lane.actor.kill()
            lane.actor, lane.state = None, "starting"
            lane.opened.clear()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._cluster:
            await self._cluster.leave()
            self._cluster = None

    async def open(self, session_id: str, sink: Sink) -> None:
        if session_id in self._sessions:
            raise SessionError(f"session {session_id} is open already")
        for lane in self._lanes.values():
            if lane.state == "failed":
                raise StageLost(f"the {lane.name} stage is down")
        self._sessions[session_id] = _Session(sink)
        try:
            await asyncio.gather(
                *(self._open_in(lane, session_id) for lane in self._lanes.values())
            )
        except BaseException:
            await self.close(session_id)
            raise

    async def close(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        await asyncio.gather(*(self._close_in(lane, session_id) for lane in self._lanes.values()))

    def send(self, chunk: Chunk) -> None:
        session = self._sessions.get(chunk.session_id)
        if session is None:
            return
        session.epoch = max(session.epoch, chunk.epoch)
        for receiver in DESTINATIONS[type(chunk)]:
            lane = self._lanes.get(receiver)
            if receiver == "gateway":
                self._deliver(chunk)
            elif lane and lane.state != "failed":
                try:
                    lane.link.offer(chunk)
                except StageError as error:
                    log.error("chunk lost: %s", error.message, extra={"session": chunk.session_id})
                    self._report(lane, chunk.session_id, "failed", error.code)

    async def health(self) -> tuple[StageHealth, ...]:
        lanes = self._lanes.values()
        return tuple(await asyncio.gather(*(self._health_of(lane) for lane in lanes)))

    # ---- one lane

    def _new_lane(self, name: StageName) -> _Lane:
        def receive(chunk: Chunk) -> None:
            self._deliver(chunk)
            lane.link.consumed()

        lane = _Lane(name, Link(receive, self._config.runtime.queue_ms))
        return lane

    async def _place(self, lane: _Lane) -> None:
        """Give a lane an actor whose model is loaded."""
        lane.opened.clear()
        lane.actor, lane.address = self._spares.take(lane.name) or await self._make(lane.name)

    async def _make(self, name: StageName) -> Worker:
        """Start an actor for a stage and load its model."""
        assert self._cluster
        assert self._folder
        number = next(self._numbers)
        actor = self._cluster.spawn(name, self._config, self._build, number)
        timeout_s = self._config.runtime.start_timeout_s
        try:
            socket = str(self._folder / f"{name}-{number}")
            return actor, await actor.start(socket, self._me.token, timeout_s)
        except BaseException as error:
            actor.kill()
            if isinstance(error, StageTimeout):
                raise StageTimeout(f"{name}: not ready within {timeout_s:g} s") from error
            if isinstance(error, OmniError) and not isinstance(error, StageError):
                raise StageError(f"{name}: {error.message}", error.code) from error
            raise  # it names the stage already

    async def _adopt(self, lane: _Lane) -> Stream:
        """Tell a fresh actor all it must know, and the others where it is; then connect to it."""
        assert self._cluster
        assert lane.actor
        assert lane.address
        async with lane.lock:
            for session_id, session in list(self._sessions.items()):
                await lane.actor.open(session_id, session.epoch)
                lane.opened.add(session_id)
            others = [other for other in self._lanes.values() if other is not lane]
            await lane.actor.meet({o.name: o.address for o in others if o.address})
            await asyncio.gather(
                *(other.actor.meet({lane.name: lane.address}) for other in others if other.actor),
                return_exceptions=True,  # one that is dead itself will be told when it is back
            )
            stream = await dial(lane.address, self._me, self._cluster.node_id)
            lane.state = "ready"
            return stream

    async def _keep(self, lane: _Lane, stream: Stream) -> None:
        """Serve a lane's connections, until its actors have died too often."""
        while True:
            await lane.link.run(stream)
            lane.state = "lost"
            self._report_all(lane, "lost", "its worker died")
            restored = await self._restart(lane)
            if restored is None:
                lane.state = "failed"
                self._report_all(lane, "failed", f"gave up after {lane.restarts} restarts")
                return
            stream = restored
            self._report_all(lane, "restored", "")

    async def _restart(self, lane: _Lane) -> Stream | None:
        while lane.actor:
            lane.actor.kill()  # whatever is left of it
            if lane.restarts == self._config.runtime.max_restarts:
                break
            lane.restarts += 1
            try:
                await self._place(lane)
                return await self._adopt(lane)
            except OmniError as error:
                log.error("restart failed: %s", error.message)
                await asyncio.sleep(_BACK_OFF_S)
        return None

    async def _open_in(self, lane: _Lane, session_id: str) -> None:
        async with lane.lock:
            session = self._sessions.get(session_id)
            if not session or not lane.actor or lane.state != "ready" or session_id in lane.opened:
                return
            with contextlib.suppress(StageLost):  # then it is opened when the stage is back
                await lane.actor.open(session_id, session.epoch)
                lane.opened.add(session_id)

    async def _close_in(self, lane: _Lane, session_id: str) -> None:
        async with lane.lock:
            if lane.actor and session_id in lane.opened:
                lane.opened.discard(session_id)
                with contextlib.suppress(StageLost):  # then it is forgotten already
                    await lane.actor.close(session_id)

    async def _health_of(self, lane: _Lane) -> StageHealth:
        health = StageHealth(lane.name, is_ready=False, pid=0)
        if lane.actor and lane.state == "ready":
            with contextlib.suppress(StageError):
                health = await lane.actor.health(HEALTH_TIMEOUT_S)
        return replace(health, restarts=lane.restarts, detail={"state": lane.state})

    # ---- what the sessions get

    def _deliver(self, chunk: Chunk) -> None:
        session = self._sessions.get(chunk.session_id)
        if session is None or (isinstance(chunk, REPLY_CHUNKS) and chunk.epoch < session.epoch):
            return
        try:
            session.sink(chunk)
        except Exception:
            log.exception("a session's sink raised", extra={"session": chunk.session_id})

    def _report_all(self, lane: _Lane, state: _State, message: str) -> None:
        log.warning("stage %s: %s %s", lane.name, state, message)
        for session_id in list(self._sessions):
            self._report(lane, session_id, state, message)

    def _report(self, lane: _Lane, session_id: str, state: _State, message: str) -> None:
        epoch = self._sessions[session_id].epoch
        self._deliver(StageReport(session_id, epoch, 0, lane.name, state, message))
