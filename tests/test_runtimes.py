"""One scripted conversation gives the same events on both runtimes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omni.chat import Tool
from omni.config import OmniConfig, load
from omni.dialog.answering import ResponseRequest
from omni.dialog.options import default_options
from omni.dialog.tools import ToolChoice, ToolOptions
from omni.events import (
    Event,
    Item,
    Part,
    PlayoutStarted,
    PlayoutStopped,
    ResponseAudio,
    ResponseCall,
    ResponseDone,
    ResponseText,
)
from omni.pipeline import LocalPipeline, Pipeline
from omni.serve.conversation import Conversation, Conversations
from omni.stages.build import build_stage, stage_names

FRAME_S = 0.02
SCHEMA = '{"properties": {"words": {"type": "string"}}, "required": ["words"]}'


def local(config: OmniConfig) -> Pipeline:
    return LocalPipeline([build_stage(config, name) for name in stage_names(config)])


def ray(config: OmniConfig) -> Pipeline:
    from actors.pipeline import RayPipeline

    return RayPipeline(config)


class Script:
    """A user who speaks, is answered, talks over the second answer, writes, has a tool called."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    async def play(self, talk: Conversation) -> None:
        await self._speak(talk, 0.6)
        await self._listen(talk, PlayoutStopped, 1)
        await self._speak(talk, 0.8)
        await self._listen(talk, PlayoutStarted, 2)
        await self._speak(talk, 0.9)
        await self._listen(talk, PlayoutStopped, 2)
        options = replace(talk.session.options, modality="text")
        talk.run(lambda session: session.update(options))
        item = Item("written", "message", "user", parts=(Part("input_text", "hello"),))
        talk.run(lambda session: session.add_item(item))
        talk.run(lambda session: session.respond(ResponseRequest()))
        await self._listen(talk, ResponseDone, 4)
        tools = ToolOptions((Tool("greet", "", SCHEMA),), ToolChoice("required"))
        talk.run(lambda session: session.respond(ResponseRequest(tools=tools)))
        await self._listen(talk, ResponseDone, 5)

    def told(self) -> list[tuple[Any, ...]]:
        """What happened, without ids, times and how sound was cut; a cut reply counts as one."""
        return [
            (type(event).__name__, *_words(event))
            for event in self.events
            if not isinstance(event, ResponseAudio | ResponseText)
        ]

    async def _speak(self, talk: Conversation, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            await self._frame(talk, 0.1)

    async def _listen(self, talk: Conversation, kind: type[Event], count: int) -> None:
        async with asyncio.timeout(240):
            while sum(isinstance(event, kind) for event in self.events) < count:
                await self._frame(talk, 0.0)

    async def _frame(self, talk: Conversation, level: float) -> None:
        talk.feed(np.full(320, level, np.float32))
        await asyncio.sleep(FRAME_S)


def _words(event: Event) -> tuple[Any, ...]:
    if isinstance(event, ResponseDone):
        is_whole = event.status == "completed"
        said = event.item.text or event.item.arguments
        return (event.status, event.reason, said if is_whole else "")
    return (getattr(event, "transcript", None),)


async def played(make: Callable[[OmniConfig], Pipeline]) -> Script:
    config = load("stub")
    script = Script()
    async with started(make(config), config) as conversations:
        talk = await conversations.open(default_options(config), script.on_event)
        await script.play(talk)
    return script


@asynccontextmanager
async def started(pipeline: Pipeline, config: OmniConfig) -> AsyncIterator[Conversations]:
    await pipeline.start()
    conversations = Conversations(pipeline, config)
    try:
        yield conversations
    finally:
        await conversations.stop()
        await pipeline.stop()


@pytest.mark.ray
async def test_the_same_conversation_gives_the_same_events_on_both_runtimes() -> None:
    on_local = await played(local)
    on_ray = await played(ray)
    assert on_local.told() == on_ray.told()
    statuses = [e.status for e in on_local.events if isinstance(e, ResponseDone)]
    assert statuses == ["completed", "cancelled", "completed", "completed", "completed"]
    calls = [e.item.arguments for e in on_ray.events if isinstance(e, ResponseCall)]
    assert calls == ['{"words": "hello"}']
