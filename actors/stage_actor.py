"""One stage in its own process: its runner, its socket, and its links to whom it feeds.

Chunks come and go over links alone; what is called from outside (start, open, meet, health...)
answers at once, because the model works on the runner's thread. Knows nothing of Ray.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.link import Address, Link, Listener, Stream, keep_connected
from actors.wire import SCHEMA, Hello
from omni.config import OmniConfig
from omni.errors import StageError
from omni.stages.base import Stage
from omni.stages.runner import StageRunner
from omni.types import DESTINATIONS, Chunk, Fence, Receiver, StageHealth, StageName, StageReport

log = logging.getLogger(__name__)

Build = Callable[[OmniConfig, StageName], Stage]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an actor stands. `host`: its node's address if other nodes must reach it."""

    node_id: str
    socket: str
    host: str | None
    token: str


class StageActor:
    def __init__(self, name: StageName, config: OmniConfig, build: Build) -> None:
        self.name = name
        self._config = config
        self._build = build
        # What the stage says before the gateway is connected waits for it.
        self._links: dict[Receiver, Link] = {"gateway": self._new_link()}
        self._inbound: set[Link] = set()
        self._peers: dict[StageName, Address] = {}
        self._dialling: dict[StageName, asyncio.Task[None]] = {}

    async def start(self, site: Site) -> Address:
        """Load the model, then listen."""
        stage = await asyncio.to_thread(self._build, self._config, self.name)
        self._runner = StageRunner(
            stage, self._emit, self._config.runtime.queue_ms, on_taken=self._consumed
        )
        await self._runner.start()
        self._site = site
        self._me = Hello(self.name, SCHEMA, site.token)
        self._listener = Listener(self._me, self._greet)
        port = await self._listener.listen(Path(site.socket), site.host)
        return Address(site.node_id, site.socket, site.host, port)

    async def open(self, session_id: str, epoch: int) -> None:
        """Raises SessionCapacity if the stage has no room."""
        await self._runner.open(session_id, epoch)

    async def close(self, session_id: str) -> None:
        await self._runner.close(session_id)

    async def meet(self, peers: Mapping[StageName, Address]) -> None:
        """Where the other stages are from now on; what waits for one that moved goes there."""
        self._peers.update(peers)
        for name in peers:
            if name in self._links:
                await self._redial(name)

    async def health(self) -> StageHealth:
        return self._runner.health()

    async def drain(self) -> None:
        """Part from everyone, finish the step in hand, and leave nothing behind."""
        for dialling in self._dialling.values():
            dialling.cancel()
        await asyncio.gather(*self._dialling.values(), return_exceptions=True)
        await self._listener.close()
        await self._runner.stop()

    async def _greet(self, sender: str, stream: Stream) -> None:
        link = self._links["gateway"] if sender == "gateway" else self._new_link()
        self._inbound.add(link)
        try:
            await link.run(stream)
        finally:
            self._inbound.discard(link)

    def _new_link(self) -> Link:
        return Link(self._take_in, self._config.runtime.queue_ms)

    def _take_in(self, chunk: Chunk) -> None:
        try:
            self._runner.push(chunk)
        except StageError as error:
            self._give_up(chunk, error)
        if isinstance(chunk, Fence):
            for link in self._links.values():
                link.void(chunk)

    def _consumed(self) -> None:
        for link in self._inbound:
            link.consumed()

    def _link_to(self, receiver: Receiver) -> Link | None:
        """Links to other stages are made when they are first needed."""
        if receiver != "gateway" and receiver not in self._links and receiver in self._peers:
            self._links[receiver] = self._new_link()
            self._dial(receiver)
        return self._links.get(receiver)

    def _dial(self, receiver: StageName) -> None:
        link, address = self._links[receiver], self._peers[receiver]
        self._dialling[receiver] = asyncio.create_task(
            keep_connected(link, address, self._me, self._site.node_id), name=f"to-{receiver}"
        )

    async def _redial(self, receiver: StageName) -> None:
        previous = self._dialling.pop(receiver)
        previous.cancel()
        await asyncio.gather(previous, return_exceptions=True)
        self._dial(receiver)

    def _emit(self, chunk: Chunk) -> None:
        for receiver in DESTINATIONS[type(chunk)]:
            if receiver == self.name:
                self._take_in(chunk)
            elif link := self._link_to(receiver):
                try:
                    link.offer(chunk)
                except StageError as error:
                    self._give_up(chunk, error)

    def _give_up(self, chunk: Chunk, error: StageError) -> None:
        """The session is told, so that it need not wait for its deadline."""
        log.error("chunk lost: %s", error.message, extra={"session": chunk.session_id})
        if not isinstance(chunk, StageReport):
            self._emit(
                StageReport(
                    chunk.session_id,
                    chunk.epoch,
                    chunk.unit_index,
                    self.name,
                    "failed",
                    error.code,
                )
            )
