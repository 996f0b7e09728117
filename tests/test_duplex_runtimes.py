"""The minicpm-o brain behind sessions, on both runtimes: a tiny random checkpoint, real time left
out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from omni.clock import ManualClock
from omni.config import OmniConfig
from omni.dialog.duplex import DuplexSession
from omni.dialog.options import default_options
from omni.events import Event, Failed, PlayoutCleared, ResponseAudio, ResponseDone, ResponseText
from omni.pipeline import LocalPipeline, Pipeline
from omni.stages.build import build_stage
from omni.types import Chunk, Speech
from omni.units import Chosen
from tests.stages.minicpmo.flow import STAGES, second, tiny

FRAME = 320


@pytest.fixture(scope="module", autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class User:
    """Plays the recording from a second of their own, as fast as the model answers."""

    def __init__(self, pipeline: Pipeline, config: OmniConfig, name: str, first: int) -> None:
        self.clock = ManualClock()
        # Without turn detection nothing but the model and its units decides what happens.
        options = replace(default_options(config), turn_detection=None)
        self.session = DuplexSession(name, options, config, self.clock)
        self.pipeline = pipeline
        self.first = first
        self.events: list[Event] = []
        self.chosen: list[Chosen] = []
        self.spoken_samples = 0
        self._asked = -1  # the unit that is waited for
        self._voiced: set[int] = set()  # units
        self._answered = asyncio.Event()

    async def open(self) -> None:
        await self.pipeline.open(self.session.session_id, self._take)

    async def close(self) -> None:
        await self.pipeline.close(self.session.session_id)

    async def unit(self, index: int) -> Chosen:
        """One second, heard in no time; returns what the model did in it, once its sound is there
        too: what is said of a reply then does not depend on which came first."""
        self._answered.clear()
        self._asked = index
        for frame in np.split(second(self.first + index), 16000 // FRAME):
            self.clock.advance(20)
            self.do(lambda session, f=frame: session.feed(f))  # type: ignore[misc]
            self.do(lambda session: session.tick())
        async with asyncio.timeout(240):
            await self._answered.wait()
        return self.chosen[-1]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def do(self, command: Callable[[DuplexSession], None]) -> None:
        command(self.session)
        for chunk in self.session.chunks():
            self.pipeline.send(chunk)
        self.events += self.session.events()

    def _take(self, chunk: Chunk) -> None:
        self.do(lambda session: session.receive(chunk))
        if isinstance(chunk, Speech):
            self.spoken_samples += len(chunk.samples)
            self._voiced.add(chunk.unit_index)
        if isinstance(chunk, Chosen):
            self.chosen.append(chunk)
        if self._is_answered:
            self._answered.set()

    @property
    def _is_answered(self) -> bool:
        if not self.chosen or self.chosen[-1].unit_index != self._asked:
            return False
        last = self.chosen[-1]
        is_silent = last.is_listen and not last.is_turn_end
        return is_silent or last.unit_index in self._voiced


def local(config: OmniConfig) -> Pipeline:
    return LocalPipeline([build_stage(config, name) for name in STAGES])


def ray(config: OmniConfig) -> Pipeline:
    from actors.pipeline import RayPipeline

    return RayPipeline(config)


@asynccontextmanager
async def started(
    make: Callable[[OmniConfig], Pipeline], config: OmniConfig
) -> AsyncIterator[Pipeline]:
    pipeline = make(config)
    await pipeline.start()
    try:
        yield pipeline
    finally:
        await pipeline.stop()


async def test_a_minute_in_sliding_windows() -> None:
    config = tiny(
        "brain.duplex.window.high_rows=200",
        "brain.duplex.window.low_rows=120",
        "brain.duplex.window.patience_rows=100",
    )
    async with started(local, config) as pipeline:
        user = User(pipeline, config, "s", 0)
        await user.open()
        cancelled_at = None
        for index in range(60):
            await user.unit(index)
            if cancelled_at is None and index > 20 and user.session._replies.response_id:
                user.do(lambda session: session.cancel())
                cancelled_at = index
        await user.close()
    assert [answer.unit_index for answer in user.chosen] == list(range(60))
    assert {answer.is_listen for answer in user.chosen} == {True, False}
    assert cancelled_at is not None
    forced = user.chosen[cancelled_at + 1]
    assert (forced.epoch, forced.is_listen, forced.text) == (1, True, "")
    rows = [answer.context_tokens for answer in user.chosen]
    assert max(rows) <= 200 + 100 + 40
    assert sum(after < before for before, after in pairwise(rows)) > 2
    statuses = [e.status for e in user.of(ResponseDone) if isinstance(e, ResponseDone)]
    assert statuses.count("cancelled") == 1
    assert "completed" in statuses
    assert len(user.of(PlayoutCleared)) == 1
    assert user.spoken_samples
    assert user.of(ResponseAudio)
    assert user.of(ResponseText)
    assert not user.of(Failed)


async def together(
    make: Callable[[OmniConfig], Pipeline], firsts: Sequence[int], num_units: int
) -> list[list[tuple[object, ...]]]:
    """What users who begin at different seconds are told, side by side."""
    config = tiny()
    async with started(make, config) as pipeline:
        users = [User(pipeline, config, f"user-{first}", first) for first in firsts]
        await asyncio.gather(*(user.open() for user in users))
        for index in range(num_units):
            await asyncio.gather(*(user.unit(index) for user in users))
        await asyncio.gather(*(user.close() for user in users))
    return [told(user) for user in users]


def told(user: User) -> list[tuple[object, ...]]:
    return [(c.is_listen, c.is_turn_end, c.text, c.num_tokens) for c in user.chosen]


FIRSTS = (0, 9, 18, 27)


async def test_four_sessions_say_what_each_says_alone() -> None:
    four = await together(local, FIRSTS, 10)
    for first, said in zip(FIRSTS, four, strict=True):
        assert await together(local, [first], 10) == [said]
    assert len({str(said) for said in four}) == 4
    assert sum(any(not unit[0] for unit in said) for said in four) > 1


@pytest.mark.ray
@pytest.mark.models
async def test_four_sessions_on_ray_say_what_they_say_in_one_process() -> None:
    assert await together(ray, FIRSTS, 7) == await together(local, FIRSTS, 7)
