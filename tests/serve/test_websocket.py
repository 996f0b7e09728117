"""The websocket against a live server: limits, refusals, faults and goodbyes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from omni.clock import SystemClock
from omni.dialog.headroom import Headroom
from omni.events import UnitDone
from tests.protocol.desk import complaint
from tests.serve.conftest import Live, Serve

UPDATE = {"type": "session.update", "session": {"type": "realtime"}}


@asynccontextmanager
async def connected(live: Live, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(live.ws_url, **options) as socket:
        assert (await receive(socket))["type"] == "session.created"
        yield socket


async def receive(socket: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await socket.recv())
    assert complaint(event) is None
    return event


async def ask(socket: ClientConnection, message: Any) -> dict[str, Any]:
    await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return await receive(socket)


async def read_all(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


async def no_session_left(live: Live) -> None:
    while live.gateway.num_sessions:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        (b"\x00\x01", "invalid_event"),
        ({"type": "nonsense"}, "invalid_value"),
        ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_media"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
    ],
)
async def test_a_fault_is_told_and_the_session_goes_on(live: Live, message: Any, code: str) -> None:
    async with connected(live) as socket:
        assert (await ask(socket, message))["error"]["code"] == code
        assert (await ask(socket, UPDATE))["type"] == "session.updated"


async def test_an_oversized_message_closes_with_1009(live: Live) -> None:
    async with connected(live) as socket:
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - either may notice
            await socket.send("x" * ((16 << 20) + 1))
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    await no_session_left(live)


async def test_one_that_does_not_read_is_let_go_and_others_do_not_notice(live: Live) -> None:
    content = [{"type": "input_text", "text": "x" * 600_000}]
    item = {"id": "big", "type": "message", "role": "user", "content": content}
    async with connected(live, max_queue=1) as socket:
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        retrieve = json.dumps({"type": "conversation.item.retrieve", "item_id": "big"})
        for _ in range(40):
            await socket.send(retrieve)
        await no_session_left(live)
        async with connected(live) as other:
            assert (await ask(other, UPDATE))["type"] == "session.updated"
        with pytest.raises(ConnectionClosed) as closed:
            await read_all(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


async def test_a_session_too_many_is_refused_before_the_upgrade(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = serve("server.max_sessions=1")
    monkeypatch.setattr(logging.getLogger("uvicorn"), "handlers", [caplog.handler])
    async with connected(live):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(live.ws_url)
        assert refusal.value.response.status_code == 429
        body = json.loads(refusal.value.response.body)
        assert body["error"]["code"] == "session_limit_reached"
    await no_session_left(live)
    async with connected(live):
        pass
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_a_server_whose_units_take_too_long_takes_nobody_else(serve: Serve) -> None:
    live = serve("server.max_sessions=8")
    # What a brain with timed units has; the stub's are not timed.
    live.gateway._headroom = Headroom(800, SystemClock())
    async with connected(live):
        assert live.loop is not None
        (conversation,) = live.gateway._conversations._open.values()
        for _ in range(20):
            live.loop.call_soon_threadsafe(conversation._on_event, UnitDone(930.0))
        with pytest.raises(InvalidStatus) as refusal:
            await connect(live.ws_url)
        assert refusal.value.response.status_code == 429
        error = json.loads(refusal.value.response.body)["error"]
        assert error["code"] == "session_limit_reached"
        assert "a unit would take 930 ms (p95), more than 800" in error["message"]
        told = httpx.get(f"{live.url}/metrics").text
        assert "omni_unit_seconds_count 20.0" in told
        assert 'omni_sessions_refused_total{code="session_limit_reached"} 1.0' in told
    await no_session_left(live)
    async with connected(live):
        pass


async def test_a_silent_session_is_ended(serve: Serve) -> None:
    live = serve("server.idle_timeout_s=0.2")
    async with connected(live) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    await no_session_left(live)


async def test_a_stopping_server_says_goodbye_with_1001(serve: Serve) -> None:
    live = serve()
    async with connected(live) as socket:
        live.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 401),
        ({"additional_headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"additional_headers": {"Authorization": "Bearer k"}, "origin": "http://evil.example"},
         403),
    ],
)  # fmt: skip
async def test_strangers_are_refused_before_the_upgrade(
    serve: Serve, options: dict[str, Any], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(serve(key="k").ws_url, **options)
    assert refusal.value.response.status_code == status
    assert json.loads(refusal.value.response.body)["error"]["message"]


async def test_friends_get_in(serve: Serve) -> None:
    live = serve(key="k")
    async with connected(live, additional_headers={"Authorization": "Bearer k"}) as socket:
        assert socket.subprotocol is None
    protocols = ["realtime", "openai-insecure-api-key.k"]
    async with connected(live, subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
    async with connected(
        live,
        additional_headers={"Authorization": "Bearer k"},
        origin=f"http://localhost:{live.port}",
    ):
        pass


async def test_a_session_that_has_lasted_long_enough_is_told_so_and_ended(serve: Serve) -> None:
    live = serve("server.max_session_s=0.3")
    async with connected(live) as socket:
        assert (await receive(socket))["error"]["code"] == "session_expired"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    await no_session_left(live)


async def test_a_transcription_may_be_meant_from_the_start(live: Live) -> None:
    async with connect(f"{live.ws_url}?intent=transcription") as socket:
        assert (await receive(socket))["session"]["type"] == "transcription"
