"""One omni as the language model of another, over HTTP, in conversation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from omni.config import load
from omni.errors import StageLost
from omni.stages.build import build_stage
from tests.serve.conftest import Live, Serve


def core_at(live: Live, **more: Any) -> list[str]:
    settings = {"type": "openai", "base_url": f"{live.url}/v1", "model": "omni-stub", **more}
    return [f"brain.think.core.{name}={value}" for name, value in settings.items()]


@asynccontextmanager
async def talking(live: Live, text: str) -> AsyncIterator[AsyncRealtimeConnection]:
    """A session in which something was typed and a reply asked for."""
    async with (
        AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as client,
        client.realtime.connect(model="any") as connection,
    ):
        await ask(connection, text)
        yield connection


async def ask(connection: AsyncRealtimeConnection, text: str) -> None:
    content: Any = [{"type": "input_text", "text": text}]
    await connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": content}
    )
    await connection.response.create()


async def until(connection: AsyncRealtimeConnection, kind: str) -> Any:
    async for event in connection:
        if event.type == kind:
            return event
    raise AssertionError(kind)


def test_its_words_are_ours(serve: Serve) -> None:
    far = serve(key="sk-far")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FAR_KEY", "sk-far")
        near = serve(*core_at(far, key_variable="FAR_KEY"))
    with OpenAI(api_key="none", base_url=f"{near.url}/v1") as client:
        answer = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "hello"}]
        )
    assert answer.choices[0].message.content == "You said hello."
    assert answer.usage
    assert answer.usage.prompt_tokens == 1


async def test_a_reply_is_spoken_as_it_comes(serve: Serve) -> None:
    near = serve(*core_at(serve()))
    async with talking(near, "hello") as connection:
        done = await until(connection, "response.done")
    assert done.response.status == "completed"
    assert done.response.output[0].content[0].transcript == "You said hello."


async def test_a_barge_in_ends_the_request_there(serve: Serve) -> None:
    far = serve("brain.stub.token_ms=600")
    near = serve(*core_at(far))
    async with talking(near, "hello " * 200) as connection:
        await until(connection, "response.output_audio.delta")
        assert far.gateway.num_sessions == 1
        await connection.response.cancel()
        done = await until(connection, "response.done")
        assert done.response.status == "cancelled"
        async with asyncio.timeout(90):  # the whole reply would have taken two minutes
            while far.gateway.num_sessions:
                await asyncio.sleep(0.02)


async def test_a_server_that_is_gone_gets_an_apology_and_is_asked_again(serve: Serve) -> None:
    far = serve()
    near = serve(*core_at(far), "deadlines.apology=Sorry.")
    port = far.port
    far.stop()
    async with talking(near, "hello") as connection:
        done = await until(connection, "response.done")
        assert done.response.status == "failed"
        assert done.response.output[0].content[0].transcript.strip() == "Sorry."
        serve(f"server.port={port}")
        await ask(connection, "hello")
        again = await until(connection, "response.done")
        assert again.response.output[0].content[0].transcript == "You said hello."


def test_a_server_that_was_never_there_is_told_at_the_start() -> None:
    core = "{type: openai, base_url: 'http://127.0.0.1:1/v1', model: any}"
    stage = build_stage(load("stub", [f"brain.think.core={core}"]), "think")
    with pytest.raises(StageLost, match="cannot be reached"):
        stage.load()


def test_its_tools_are_ours(serve: Serve) -> None:
    near = serve(*core_at(serve()))
    look: Any = {"type": "function", "function": {"name": "look", "parameters": {}}}
    with OpenAI(api_key="none", base_url=f"{near.url}/v1") as client:
        for choice in ("auto", "required"):
            answer = client.chat.completions.create(
                model="any",
                messages=[{"role": "user", "content": "please look"}],
                tools=[look],
                tool_choice=choice,  # type: ignore[arg-type]
            )
            (call,) = answer.choices[0].message.tool_calls or ()
            assert call.type == "function"
            assert call.function.name == "look"
