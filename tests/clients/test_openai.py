"""The openai package for Python, exactly as published."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.clients import strict
from tests.clients.conftest import LONG_REPLY, RATE_HZ, silence
from tests.clients.tap import Tap
from tests.pictures import noise
from tests.serve.conftest import Live

CHUNK_BYTES = RATE_HZ // 10 * 2


@pytest.fixture
async def tap(live: Live) -> AsyncIterator[Tap]:
    """Whatever a test does, every event it was sent must be of the package's own types."""
    async with Tap(live.url) as made:
        yield made
        assert strict.faults(made.told) == []


@pytest.fixture
async def client(live: Live, tap: Tap) -> AsyncIterator[AsyncOpenAI]:
    """Plain requests go to the server, websockets through the tap."""
    urls = {"base_url": f"{live.url}/v1", "websocket_base_url": f"ws://{tap.host}/v1"}
    async with AsyncOpenAI(api_key="none", **urls) as made:
        yield made


@asynccontextmanager
async def talking(
    connection: AsyncRealtimeConnection, speech: bytes = b""
) -> AsyncIterator[list[bytes]]:
    """An open microphone: says what is in the list, then silence."""
    to_say = [speech]

    async def microphone() -> None:
        while True:
            chunk, to_say[0] = to_say[0][:CHUNK_BYTES], to_say[0][CHUNK_BYTES:]
            audio = base64.b64encode(chunk or silence(0.1)).decode()
            await connection.input_audio_buffer.append(audio=audio)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(microphone())
    try:
        yield to_say
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    events = []
    async for event in connection:
        assert event.type != "error", event
        events.append(event)
        if event.type == kind:
            return events
    raise AssertionError(f"the connection closed before {kind}")


async def write(connection: AsyncRealtimeConnection, *content: dict[str, str]) -> None:
    item = {"type": "message", "role": "user", "content": list(content)}
    await connection.conversation.item.create(item=item)


async def test_a_spoken_question_is_answered_by_voice(client: AsyncOpenAI, question: Path) -> None:
    async with client.realtime.connect(model="omni-stub") as connection:
        await until(connection, "session.created")
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "Be brief.",
                "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}},
            }
        )
        (updated,) = await until(connection, "session.updated")
        assert updated.session.instructions == "Be brief."
        async with talking(connection, question.read_bytes()):
            events = await until(connection, "response.done")
    sound = b"".join(
        base64.b64decode(e.delta) for e in events if e.type == "response.output_audio.delta"
    )
    (heard,) = (
        e.transcript
        for e in events
        if e.type == "conversation.item.input_audio_transcription.completed"
    )
    assert events[-1].response.status == "completed"
    assert events[-1].response.output[0].content[0].transcript == LONG_REPLY.format(text=heard)
    assert len(sound) > RATE_HZ
    assert np.abs(np.frombuffer(sound, "<i2")).max() > 1000


async def test_talking_over_the_reply_cuts_it(client: AsyncOpenAI, question: Path) -> None:
    async with (
        client.realtime.connect(model="omni-stub") as connection,
        talking(connection, question.read_bytes()) as to_say,
    ):
        await until(connection, "response.output_audio.delta")
        to_say[0] = question.read_bytes()
        events = await until(connection, "response.done")
        response = events[-1].response
        assert (response.status, response.status_details.reason) == ("cancelled", "turn_detected")
        (item,) = response.output
        # What was played is for the client to say, and it may say too much.
        await connection.conversation.item.truncate(
            item_id=item.id, content_index=0, audio_end_ms=600
        )
        (*_, cut) = await until(connection, "conversation.item.truncated")
        assert cut.item_id == item.id
        await connection.conversation.item.retrieve(item_id=item.id)
        (*_, kept) = await until(connection, "conversation.item.retrieved")
        assert kept.item.status == "incomplete"
        assert LONG_REPLY.format(text="9 tenths").startswith(kept.item.content[0].transcript)
        events = await until(connection, "response.done")
    assert events[-1].response.status == "completed"


async def test_typing_gets_a_written_answer(client: AsyncOpenAI) -> None:
    async with client.realtime.connect(model="omni-stub") as connection:
        await write(connection, {"type": "input_text", "text": "Good morning"})
        await connection.response.create(response={"output_modalities": ["text"]})
        events = await until(connection, "response.done")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == LONG_REPLY.format(text="Good morning")


async def test_a_picture_is_part_of_the_question(client: AsyncOpenAI) -> None:
    picture = f"data:image/png;base64,{base64.b64encode(noise(64, 48)).decode()}"
    async with client.realtime.connect(model="omni-stub") as connection:
        await write(
            connection,
            {"type": "input_image", "image_url": picture},
            {"type": "input_text", "text": "What is this?"},
        )
        (*_, shown) = await until(connection, "conversation.item.done")
        assert shown.item.content[0].image_url == picture
        await connection.response.create(response={"output_modalities": ["text"]})
        events = await until(connection, "response.done")
    assert events[-1].response.output[0].content[0].text


async def test_a_tool_is_called_and_its_answer_spoken_of(client: AsyncOpenAI) -> None:
    weather = {
        "type": "function",
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
    async with client.realtime.connect(model="omni-stub") as connection:
        await connection.session.update(session={"type": "realtime", "tools": [weather]})
        # The stub calls a tool whose name it is told, with these words.
        await write(connection, {"type": "input_text", "text": "Please get_weather"})
        await connection.response.create()
        (*_, call) = await until(connection, "response.function_call_arguments.done")
        assert (call.name, call.arguments) == ("get_weather", '{"city": "Please get_weather"}')
        await until(connection, "response.done")
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
        await connection.conversation.item.create(item=output)
        await connection.response.create(response={"output_modalities": ["text"]})
        events = await until(connection, "response.done")
    assert events[-1].response.output[0].content[0].text == LONG_REPLY.format(text="Sunny")


async def test_push_to_talk_and_cancel(client: AsyncOpenAI, question: Path) -> None:
    async with client.realtime.connect(model="omni-stub") as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        )
        speech = base64.b64encode(question.read_bytes()).decode()
        await connection.input_audio_buffer.append(audio=speech)
        await connection.input_audio_buffer.commit()
        await until(connection, "conversation.item.input_audio_transcription.completed")
        await connection.response.create()
        await until(connection, "response.output_audio.delta")
        await connection.response.cancel()
        events = await until(connection, "response.done")
    assert events[-1].response.status == "cancelled"
    assert events[-1].response.status_details.reason == "client_cancelled"


async def test_leaving_is_clean(client: AsyncOpenAI, live: Live, tap: Tap) -> None:
    before = live.gateway.num_sessions
    async with client.realtime.connect(model="omni-stub") as connection:
        await until(connection, "session.created")
    while live.gateway.num_sessions > before or not tap.closes:
        await asyncio.sleep(0.02)
    assert tap.closes == [1000]


async def test_a_borrowed_secret_opens_a_session(client: AsyncOpenAI, tap: Tap) -> None:
    secret = await client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "instructions": "Be brief."},
    )
    assert secret.value.startswith("ek_")
    borrower = client.with_options(api_key=secret.value)
    async with borrower.realtime.connect(model="omni-stub") as connection:
        (created,) = await until(connection, "session.created")
    assert created.session.instructions == "Be brief."


async def test_a_call_is_made_and_hung_up(client: AsyncOpenAI) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("oai-events")
    greeting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    channel.on("message", lambda text: greeting.done() or greeting.set_result(text))
    peer.addTransceiver("audio")
    await peer.setLocalDescription(await peer.createOffer())
    answer = await client.realtime.calls.with_raw_response.create(
        sdp=peer.localDescription.sdp, session={"type": "realtime", "instructions": "Be brief."}
    )
    assert answer.http_response.status_code == 201
    sdp = answer.http_response.text
    await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    assert '"Be brief."' in await asyncio.wait_for(greeting, 120)
    await client.realtime.calls.hangup(answer.headers["location"].rsplit("/", 1)[1])
    await peer.close()


async def test_models_are_listed(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["omni-stub"]
