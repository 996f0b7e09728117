"""OpenAI Live over a websocket, by the stock SDK; every event is held to its types, strictly."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
from openai import AsyncOpenAI
from openai.types.live import ServerEvent
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus

from omni.media.audio import encode, resample
from tests.serve.conftest import Live, Serve

QUESTION = Path(__file__).parent.parent / "media" / "weather_question.wav"
MODELS: dict[str, Any] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(ServerEvent)[0])
}
START: dict[str, Any] = {"type": "session.start", "session": {"model": "any"}}


class Talker:
    """A Live client; `told` is all it was told, every event checked."""

    def __init__(self, socket: ClientConnection, rate_hz: int = 24000) -> None:
        self._socket = socket
        self._rate_hz = rate_hz
        self.told: list[dict[str, Any]] = []

    async def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            await self._socket.send(json.dumps(event))

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(await self._socket.recv())
            model = MODELS[event["type"]].model_validate(event)
            assert not model.model_extra, model
            self.told.append(event)
            if event["type"] == kind:
                return event

    async def ask(self) -> None:
        """A recorded question and a pause, in twice real time."""
        samples, rate_hz = soundfile.read(QUESTION, dtype="float32")
        pause = np.zeros(self._rate_hz * 3 // 2, np.float32)
        sound = np.concatenate([resample(samples, rate_hz, self._rate_hz), pause])
        pcm = encode(sound, "pcm16")
        size = self._rate_hz // 10 * 2
        for start in range(0, len(pcm), size):
            chunk = base64.b64encode(pcm[start : start + size]).decode()
            await self.send({"type": "session.input_audio.append", "audio": chunk})
            await asyncio.sleep(0.05)

    def words(self, side: str) -> str:
        kind = f"session.{side}_transcript.delta"
        return "".join(event["delta"] for event in self.told if event["type"] == kind)

    def sound(self) -> bytes:
        deltas = (e["delta"] for e in self.told if e["type"] == "session.output_audio.delta")
        return b"".join(base64.b64decode(delta) for delta in deltas)


@asynccontextmanager
async def talking(live: Live, **session: Any) -> AsyncIterator[Talker]:
    rate_hz = session.get("audio", {}).get("format", {}).get("rate", 24000)
    async with connect(f"{live.ws_url.removesuffix('realtime')}live/sessions") as socket:
        talker = Talker(socket, rate_hz)
        await talker.send({"type": "session.start", "session": {"model": "any", **session}})
        await talker.until("session.started")
        yield talker


async def test_the_stock_sdk_talks_and_closes(live: Live) -> None:
    async with (
        AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as client,
        client.live.connect() as connection,
    ):
        await connection.session.start(
            session={"model": "gpt-live-1", "instructions": "Be brief."}, event_id="begin"
        )
        started = await connection.recv()
        assert started.type == "session.started"
        assert started.client_event_id == "begin"
        assert started.session.instructions == "Be brief."
        assert started.session.model == "omni-stub"
        await connection.session.commentary.append(content="The train is late.", delegation_id=None)
        while (event := await connection.recv()).type != "session.output_transcript.delta":
            assert event.type != "error", event
        await connection.session.close(event_id="end")
        while (event := await connection.recv()).type != "session.closed":
            assert event.type != "error", event
        assert event.reason == "close_requested"
        assert event.client_event_id == "end"
        assert event.usage.seconds > 0


@pytest.mark.parametrize("rate_hz", [24000, 16000])
async def test_a_spoken_question_is_answered_by_voice(live: Live, rate_hz: int) -> None:
    form = {"type": "audio/pcm", "rate": rate_hz}
    async with talking(live, audio={"format": form, "output": {"voice": "marin"}}) as talker:
        assert talker.told[0]["session"]["audio"]["format"] == form
        await talker.ask()
        await talker.until("session.usage.updated")
        heard = talker.words("input")
        assert heard
        assert talker.words("output") == f"You said {heard}."
        samples = np.frombuffer(talker.sound(), "<i2")
        assert np.abs(samples).max() > 1000
        # The stub's tone lasts 60 ms a character.
        length_s = 0.06 * len(talker.words("output"))
        assert len(samples) / rate_hz == pytest.approx(length_s, abs=0.1)
    spans = [(e["start_ms"], e["end_ms"]) for e in talker.told if "start_ms" in e]
    assert all(0 <= start <= end for start, end in spans)
    ends = [end for _, end in spans]
    assert ends == sorted(ends)


async def test_history_and_context_are_before_the_model(live: Live) -> None:
    history = [
        {"role": "developer", "content": [{"text": "You know trains."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
    ]
    async with talking(live, input=history) as talker:
        for kind in ("instructions", "thinking", "commentary"):
            append = {"type": f"session.{kind}.append", "content": "late", "delegation_id": None}
            await talker.send({**append, "event_id": kind})
            told = await talker.until(f"session.{kind}.appended")
            assert told["client_event_id"] == kind
            assert told["start_ms"] == told["end_ms"]
        await talker.until("session.usage.updated")
        assert talker.words("output") == "You said Hi.."  # the stub answers the last not system's


async def test_commentary_waits_for_the_reply_under_way(live: Live) -> None:
    async with talking(live) as talker:
        for content in ("one", "two", "three"):
            append = {"type": "session.commentary.append", "content": content}
            await talker.send({**append, "delegation_id": None})
        await talker.until("session.usage.updated")
        silence = base64.b64encode(bytes(4800)).decode()
        await talker.send({"type": "session.input_audio.append", "audio": silence})
        await talker.until("session.usage.updated")
    replies = [e for e in talker.told if e["type"] == "session.usage.updated"]
    assert len(replies) == 2


async def test_what_is_muted_is_not_heard(live: Live) -> None:
    async with talking(live) as talker:
        await talker.send({"type": "session.input_audio.mute", "event_id": "m"})
        assert (await talker.until("session.input_audio.muted"))["client_event_id"] == "m"
        await talker.ask()
        await talker.send({"type": "session.input_audio.unmute"})
        await talker.until("session.input_audio.unmuted")
        assert talker.words("input") == ""
        await talker.ask()
        await talker.until("session.usage.updated")
        assert talker.words("input")


async def test_speaking_over_it_ends_its_words(live: Live) -> None:
    long = " ".join(["train"] * 200)  # over a minute, as the stub speaks
    history = [{"role": "user", "content": [{"text": long}]}]
    async with talking(live, input=history) as talker:
        append = {"type": "session.commentary.append", "content": "late", "delegation_id": None}
        await talker.send(append)
        await talker.until("session.output_audio.delta")
        await talker.ask()
        await talker.until("session.usage.updated")
        assert talker.words("output").startswith("You said")
        assert len(talker.words("output")) < len(long) / 2
        assert len(talker.sound()) < 0.06 * len(long) / 2 * 48000


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"model": "any", "color": "red"}, "unknown_parameter", "session.color"),
        ({}, "missing_required_parameter", "session.model"),
        ({"model": "any", "store": True}, "invalid_value", "session.store"),
        (
            {"model": "any", "delegation": {"type": "responses", "responses": {"model": "x"}}},
            None,
            None,
        ),
        (
            {"model": "any", "audio": {"format": {"type": "audio/pcm", "rate": 8000}}},
            "invalid_value",
            "session.audio.format.rate",
        ),
    ],
)
async def test_a_start_that_cannot_be_met_is_told_and_may_be_put_right(
    live: Live, session: dict[str, Any], code: str | None, param: str | None
) -> None:
    async with connect(f"{live.ws_url.removesuffix('realtime')}live/sessions") as socket:
        talker = Talker(socket)
        await talker.send({"type": "session.input_audio.mute"})
        assert (await talker.until("error"))["error"]["code"] == "session_not_started"
        await talker.send({"type": "session.start", "session": session, "event_id": "s"})
        error = (await talker.until("error"))["error"]
        if code:
            assert (error["code"], error["param"]) == (code, param)
        await talker.send(START)
        await talker.until("session.started")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.output_audio.fixture.play", "audio": ""},
        {"type": "decision.create"},
        {"type": "session.start", "session": {"model": "any"}},
        {"type": "session.instructions.append", "content": "x", "delegation_id": "d_1"},
        {"type": "session.input_audio.append", "audio": "?"},
        {"type": "session.update", "session": {"instructions": "y"}},
    ],
)
async def test_a_fault_is_told_and_the_session_goes_on(live: Live, event: dict[str, Any]) -> None:
    async with talking(live) as talker:
        await talker.send({**event, "event_id": "mine"})
        told = await talker.until("error")
        assert told["error"]["message"]
        assert told["error"]["client_event_id"] == told["client_event_id"] == "mine"
        update = {"delegation": {"type": "client", "acknowledgement_delay_ms": 100}}
        await talker.send({"type": "session.update", "session": update})
        told = await talker.until("session.updated")
        assert told["session"]["delegation"]["acknowledgement_delay_ms"] == 100


async def test_no_room_is_told_as_an_error(serve: Serve) -> None:
    live = serve("server.max_sessions=1")
    async with (
        talking(live),
        connect(f"{live.ws_url.removesuffix('realtime')}live/sessions") as socket,
    ):
        second = Talker(socket)
        await second.send(START)
        assert (await second.until("error"))["error"]["code"] == "session_limit_reached"
        with pytest.raises(ConnectionClosed) as closed:
            await second.until("nothing")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
    while live.gateway.num_sessions:
        await asyncio.sleep(0.02)


async def test_a_session_that_is_over_says_so_last(serve: Serve) -> None:
    live = serve("server.max_session_s=0.5")
    async with talking(live) as talker:
        assert (await talker.until("session.closed"))["reason"] == "expired"
        with pytest.raises(ConnectionClosedOK):
            await talker.until("nothing")


async def test_the_key_is_wanted_here_too(serve: Serve) -> None:
    live = serve(key="sk-server")
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"{live.ws_url.removesuffix('realtime')}live/sessions")
    assert refusal.value.response.status_code == 401
