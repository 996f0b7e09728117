"""Workers that stand by, loaded, for the stages whose loss is heard at once.

Hides when they are made: before the first session, and again some time after one was taken, since
whoever waits for a reply needs the processors more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from actors.cluster import RemoteStage
from actors.link import Address
from omni.errors import OmniError
from omni.types import StageName

log = logging.getLogger(__name__)

REFILL_AFTER_S: Final = 10.0
Worker = tuple[RemoteStage, Address]


class Spares:
    """Args:
    names: the stages that have one.
    make: places an actor for a stage and loads it; raises OmniError.
    """

    def __init__(
        self, names: Collection[StageName], make: Callable[[StageName], Awaitable[Worker]]
    ) -> None:
        self._names = names
        self._make = make
        self._waiting: dict[StageName, Worker] = {}
        self._refills: set[asyncio.Task[None]] = set()

    async def fill(self) -> None:
        """Make them all. Raises OmniError if one cannot be."""
        for name in self._names:
            self._waiting[name] = await self._make(name)

    def take(self, name: StageName) -> Worker | None:
        """The one that stands by for a stage, if there is one; another will take its place."""
        worker = self._waiting.pop(name, None)
        if worker:
            refill = asyncio.create_task(self._refill(name), name=f"spare {name}")
            self._refills.add(refill)
            refill.add_done_callback(self._refills.discard)
        return worker

    async def stop(self) -> None:
        refills = list(self._refills)
        for refill in refills:
            refill.cancel()
        await asyncio.gather(*refills, return_exceptions=True)
        for actor, _ in self._waiting.values():
            actor.kill()
        self._waiting.clear()

    async def _refill(self, name: StageName) -> None:
        await asyncio.sleep(REFILL_AFTER_S)
        try:
            self._waiting[name] = await self._make(name)
        except OmniError as error:
            log.error("no spare %s: %s", name, error.message)
