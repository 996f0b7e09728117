"""OpenAI Live over WebRTC, by the stock SDK and aiortc, and backends that join a session."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from openai import APIStatusError, AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from tests.serve.conftest import Live, Serve
from tests.serve.test_live import MODELS, talking
from tests.serve.test_webrtc import QUESTION, Caller, no_session_left

LATE = "The train is late."


class LiveCaller(Caller):
    """A page's part of a Live call; every event is held to the SDK's types."""

    def _on_message(self, message: str) -> None:
        event = json.loads(message)
        assert not MODELS[event["type"]].model_validate(event).model_extra, event
        self.events.append(event)
        self._arrived.set()

    def words(self, side: str) -> str:
        kind = f"session.{side}_transcript.delta"
        return "".join(event["delta"] for event in self.events if event["type"] == kind)


@pytest.fixture
async def client(live: Live) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as made:
        yield made


@asynccontextmanager
async def calling(
    sdk: AsyncOpenAI, microphone: MediaStreamTrack | None = None, **session: Any
) -> AsyncIterator[tuple[LiveCaller, str]]:
    """A call that stands, and its session's id."""
    caller = LiveCaller()
    caller.peer.addTransceiver(microphone or "audio")
    made = await sdk.live.create(
        session={"model": "gpt-live-1", **session},  # type: ignore[typeddict-item]
        transport={"type": "webrtc", "sdp": await caller.offer()},
    )
    assert made.transport.type == "webrtc"
    await caller.accept(made.transport.sdp)
    try:
        started = await caller.until("session.started")
        assert started["session"]["id"] == made.session.id
        yield caller, made.session.id
    finally:
        await caller.close()


async def test_a_spoken_question_is_answered_by_voice(client: AsyncOpenAI) -> None:
    microphone = MediaPlayer(str(QUESTION)).audio
    async with calling(client, microphone, instructions="Be brief.") as (caller, _):
        assert caller.events[0]["session"]["instructions"] == "Be brief."
        await caller.until("session.usage.updated")
        assert caller.words("output") == f"You said {caller.words('input')}."
        assert caller.num_audible > 0
        assert "session.output_audio.delta" not in {event["type"] for event in caller.events}
        caller.send({"type": "session.input_audio.append", "audio": ""})
        assert (await caller.until("error"))["error"]["param"] == "type"
        caller.send({"type": "session.close", "event_id": "end"})
        assert (await caller.until("session.closed"))["client_event_id"] == "end"


class Asking(MediaStreamTrack):
    """A microphone into which the recorded question is spoken when it is told to."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._may_ask, self._is_asked = asyncio.Event(), asyncio.Event()
        self._track: Any = MediaPlayer(str(QUESTION)).audio
        self._at = 0

    async def ask(self) -> None:
        """The whole question, from now on."""
        self._is_asked.clear()
        self._may_ask.set()
        await self._is_asked.wait()

    async def recv(self) -> Any:
        while True:
            await self._may_ask.wait()
            try:
                frame = await self._track.recv()
            except MediaStreamError:
                self._track = MediaPlayer(str(QUESTION)).audio
                self._may_ask.clear()
                self._is_asked.set()
                continue
            frame.pts, self._at = self._at, self._at + frame.samples
            return frame


async def test_what_is_muted_is_not_heard(client: AsyncOpenAI) -> None:
    microphone = Asking()
    async with calling(client, microphone) as (caller, _):
        caller.send({"type": "session.input_audio.mute"})
        await caller.until("session.input_audio.muted")
        await microphone.ask()
        caller.send({"type": "session.input_audio.unmute"})
        await caller.until("session.input_audio.unmuted")
        await microphone.ask()
        await caller.until("session.usage.updated")
        assert caller.words("output") == f"You said {caller.words('input')}."
        assert "tenths" in caller.words("input")
        assert caller.words("input").count("tenths") == 1


async def test_a_backend_joins_and_leads(live: Live, client: AsyncOpenAI) -> None:
    async with (
        calling(client) as (caller, session_id),
        client.live.sideband.connect(session_id=session_id) as backend,
    ):
        started = await backend.recv()
        assert (started.type, started.session.id) == ("session.started", session_id)
        await backend.session.commentary.append(content=LATE, delegation_id=None, event_id="c")
        appended = await caller.until("session.commentary.appended")
        assert appended["client_event_id"] == "c"
        seen = set()
        while "session.usage.updated" not in seen:
            event = await backend.recv()
            seen.add(event.type)
        assert "session.output_transcript.delta" in seen
        assert "error" not in seen
        await client.live.sessions.hangup(session_id)
        assert (await caller.until("session.closed"))["reason"] == "close_requested"
        while (event := await backend.recv()).type != "session.closed":
            pass
        with pytest.raises(ConnectionClosedOK):
            await backend.recv()
    await no_session_left(live)


async def test_a_backend_joins_a_websockets_session_and_learns_of_its_loss(
    client: AsyncOpenAI, live: Live
) -> None:
    async with talking(live) as talker:
        session_id = talker.told[0]["session"]["id"]
        backend = await client.live.sideband.connect(session_id=session_id).enter()
        assert (await backend.recv()).type == "session.started"
        await backend.session.input_audio.mute()
        await talker.until("session.input_audio.muted")
        await backend.send({"type": "decision.create", "event_id": "d"})
        while (event := await backend.recv()).type != "error":
            assert event.type == "session.input_audio.muted"
        assert event.client_event_id == "d"
    while (event := await backend.recv()).type != "session.closed":
        pass
    assert event.reason == "connection_lost"
    assert "error" not in {told["type"] for told in talker.told}
    await backend.close()


async def test_a_page_may_do_no_more_than_it_was_let(client: AsyncOpenAI) -> None:
    allowed: list[str] = ["session.started", "error"]
    channel = {
        "allowed_client_events": ["session.close"],
        "allowed_server_events": [{"type": name} for name in allowed],
    }
    frontend = {"data_channel": channel}
    async with (
        calling(client, client=frontend) as (caller, session_id),
        client.live.sideband.connect(session_id=session_id) as backend,
    ):
        caller.send({"type": "session.input_audio.mute", "event_id": "m"})
        assert (await caller.until("error"))["client_event_id"] == "m"
        await backend.session.input_audio.mute()
        while (await backend.recv()).type != "session.input_audio.muted":
            pass
        caller.send({"type": "session.close"})
        while (await backend.recv()).type != "session.closed":
            pass
        assert {event["type"] for event in caller.events} == set(allowed)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"session": {}, "transport": {"type": "webrtc", "sdp": "x"}}, 400, "session.model"),
        (
            {"session": {"model": "x", "audio": {"format": {}}},
             "transport": {"type": "webrtc", "sdp": "x"}},
            400,
            "session.audio.format",
        ),
        ({"session": {"model": "x"}, "transport": {"type": "webrtc", "sdp": "x"}}, 400, "sdp"),
        ({"session": {"model": "x"}, "transport": {"type": "sip"}}, 400, "transport.type"),
    ],
)  # fmt: skip
async def test_what_cannot_be_met_is_named(
    live: Live, body: dict[str, Any], status: int, param: str
) -> None:
    answer = httpx.post(f"{live.url}/v1/live/sessions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    await no_session_left(live)


async def test_what_needs_a_store_or_a_telephone_is_refused_by_name(
    live: Live, client: AsyncOpenAI
) -> None:
    root = f"{live.url}/v1/live/sessions/sess_x"
    for path in ("fork", "accept", "refer", "reject", "hangup"):
        answer = httpx.post(f"{root}/{path}", json={})
        assert answer.status_code == 404
        assert answer.json()["error"]["message"]
    assert "not stored" in httpx.get(f"{root}/content").json()["error"]["message"]
    with pytest.raises(APIStatusError, match="not stored"):
        await client.live.sessions.fork("sess_x", transport={"type": "webrtc", "sdp": "x"})
    for path in ("attach", "fork"):
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{root.replace('http', 'ws')}/{path}")
        assert refusal.value.response.status_code == 404


async def test_the_key_is_wanted_here_too(serve: Serve) -> None:
    live = serve(key="sk-server")
    assert httpx.post(f"{live.url}/v1/live/sessions", json={}).status_code == 401
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"{live.ws_url.removesuffix('realtime')}live/sessions/sess_x/attach")
    assert refusal.value.response.status_code == 401
