"""A call over WebRTC, with aiortc at the other end and nothing else between."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioice.ice
import httpx
import numpy as np
import pytest
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack
from openai import AsyncOpenAI

from omni.errors import StageError
from omni.serve import webrtc
from omni.serve.tap import tap_receiver
from tests.protocol.desk import complaint
from tests.serve.conftest import Live, Serve

QUESTION = Path(__file__).parent.parent / "media" / "weather_question.wav"
SDP = {"Content-Type": "application/sdp"}
AUDIBLE = 100


class Caller:
    """A browser's part of the call."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.peer.createDataChannel("oai-events")
        self.events: list[dict[str, Any]] = []
        self.num_frames = self.num_audible = 0
        self._arrived = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self.channel.on("message", self._on_message)
        self.peer.on("track", self._on_track)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return str(self.peer.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            for event in self.events:
                if event["type"] == kind:
                    return event
            self._arrived.clear()
            await self._arrived.wait()

    def send(self, event: dict[str, Any]) -> None:
        self.channel.send(json.dumps(event))

    def sockets(self) -> list[Any]:
        ice = self.peer.getTransceivers()[0].receiver.transport.transport._connection
        return [protocol.transport for protocol in ice._protocols]

    async def close(self) -> None:
        if self._listening:
            self._listening.cancel()
        await self.peer.close()

    def _on_message(self, message: str) -> None:
        event = json.loads(message)
        assert complaint(event) is None
        self.events.append(event)
        self._arrived.set()

    def _on_track(self, track: Any) -> None:
        if track.kind == "audio":
            self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.num_frames += 1
            self.num_audible += bool(np.abs(frame.to_ndarray()).max() > AUDIBLE)


@asynccontextmanager
async def calling(live: Live, caller: Caller) -> AsyncIterator[str]:
    """A call that stands; yields the path of its resource."""
    async with httpx.AsyncClient(base_url=live.url) as http:
        response = await http.post("/v1/realtime/calls", content=await caller.offer(), headers=SDP)
        assert response.status_code == 201, response.text
        assert response.headers["content-type"].startswith("application/sdp")
        await caller.accept(response.text)
        try:
            yield response.headers["location"]
        finally:
            await caller.close()


async def no_session_left(live: Live) -> None:
    while live.gateway.num_sessions:
        await asyncio.sleep(0.02)


async def test_a_spoken_question_is_answered_by_voice(live: Live) -> None:
    caller = Caller()
    caller.peer.addTrack(MediaPlayer(str(QUESTION)).audio)
    async with calling(live, caller):
        await caller.until("output_audio_buffer.stopped")
        kinds = [event["type"] for event in caller.events]
        assert kinds[0] == "session.created"
        assert "response.output_audio.delta" not in kinds
        done = await caller.until("response.done")
        assert done["response"]["status"] == "completed"
        transcript = done["response"]["output"][0]["content"][0]["transcript"]
        heard = await caller.until("conversation.item.input_audio_transcription.completed")
        assert transcript == f"You said {heard['transcript']}."
        assert caller.num_audible > 10
        assert caller.num_frames > caller.num_audible
    await no_session_left(live)


async def test_a_typed_question_needs_no_microphone(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio", direction="recvonly")
    async with calling(live, caller):
        await caller.until("session.created")
        content = [{"type": "input_text", "text": "Good morning"}]
        item = {"type": "message", "role": "user", "content": content}
        caller.send({"type": "conversation.item.create", "item": item})
        caller.send({"type": "response.create"})
        await caller.until("output_audio_buffer.stopped")
        assert caller.num_audible > 10


async def test_hanging_up_ends_the_session(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    async with calling(live, caller) as path, httpx.AsyncClient(base_url=live.url) as http:
        await caller.until("session.created")
        assert live.gateway.num_sessions == 1
        assert (await http.post(f"{path}/hangup")).status_code == 200
        assert (await http.post(f"{path}/hangup")).json()["error"]["code"] == "call_not_found"
        await no_session_left(live)


async def test_one_camera_is_taken(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    cameras: list[RTCRtpTransceiver] = [
        caller.peer.addTransceiver(VideoStreamTrack()) for _ in range(2)
    ]
    async with calling(live, caller):
        await caller.until("session.created")
        assert [camera.currentDirection for camera in cameras] == ["sendonly", "inactive"]


async def test_a_server_without_eyes_declines_a_camera(serve: Serve) -> None:
    live = serve("brain.see.enabled=false")
    caller = Caller()
    caller.peer.addTransceiver("audio")
    camera: RTCRtpTransceiver = caller.peer.addTransceiver(VideoStreamTrack())
    async with calling(live, caller):
        await caller.until("session.created")
        assert camera.currentDirection == "inactive"


async def test_pictures_come_upright(live: Live) -> None:
    """Who is not told that we could turn pictures must turn them before they are sent."""
    caller = Caller()
    caller.peer.addTransceiver("audio")
    caller.peer.addTransceiver(VideoStreamTrack())
    orientation = "a=extmap:9 urn:3gpp:video-orientation\r\na=rtcp-mux"
    offer = (await caller.offer()).replace("a=rtcp-mux", orientation)
    async with httpx.AsyncClient(base_url=live.url) as http:
        response = await http.post("/v1/realtime/calls", content=offer, headers=SDP)
    await caller.close()
    assert "VP8/90000" in response.text
    assert "video-orientation" not in response.text


async def test_a_fault_is_told_and_the_call_goes_on(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    async with calling(live, caller):
        await caller.until("session.created")
        caller.send({"type": "nonsense"})
        assert (await caller.until("error"))["error"]["param"] == "type"
        caller.send({"type": "session.update", "session": {"type": "realtime"}})
        await caller.until("session.updated")


async def test_the_openai_package_brings_session_settings(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    async with AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as client:
        answer = await client.realtime.calls.create(
            sdp=await caller.offer(), session={"type": "realtime", "instructions": "Be brief."}
        )
    await caller.accept(answer.text)
    created = await caller.until("session.created")
    assert created["session"]["instructions"] == "Be brief."
    await caller.close()
    await no_session_left(live)


@pytest.mark.parametrize(
    ("body", "headers", "status", "param"),
    [
        ("", SDP, 400, "sdp"),
        ("not sdp", SDP, 400, "sdp"),
        ("v=0\r\n" + "m=audio 9 X 0\r\n" * 1000, SDP, 400, "sdp"),
        ("v=0\r\n" + "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n" * 1000, SDP, 400, "sdp"),
        (b"\xff\xfe", SDP, 400, "sdp"),
        ("{}", {"Content-Type": "application/json"}, 400, "sdp"),
        ("x" * 300_000, SDP, 413, None),
        ("v=0", {**SDP, "Origin": "http://evil.example"}, 403, None),
    ],
)
async def test_bad_offers(
    live: Live, body: Any, headers: dict[str, str], status: int, param: str | None
) -> None:
    async with httpx.AsyncClient(base_url=live.url) as http:
        response = await http.post("/v1/realtime/calls", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["param"] == param
    assert live.gateway.num_sessions == 0


async def test_an_offer_without_sound_is_refused(live: Live) -> None:
    caller = Caller()
    async with httpx.AsyncClient(base_url=live.url) as http:
        offer = await caller.offer()
        response = await http.post("/v1/realtime/calls", content=offer, headers=SDP)
    await caller.close()
    assert (response.status_code, response.json()["error"]["param"]) == (400, "sdp")


@pytest.mark.parametrize("video", ["VP9/90000", "AV1/90000", "H264/90000 "])
async def test_video_of_other_codecs_is_refused_and_the_sound_is_not(
    live: Live, video: str
) -> None:
    caller = Caller()
    caller.peer.addTransceiver("video", direction="sendonly")
    caller.peer.addTransceiver("audio")
    offer = re.sub(r"(VP8|H264)/90000", video, await caller.offer())
    offer = offer.replace("profile-level-id=42", "profile-level-id=64")  # High: aiortc has none
    async with httpx.AsyncClient(base_url=live.url) as http:
        response = await http.post("/v1/realtime/calls", content=offer, headers=SDP)
    assert response.status_code == 201, response.text
    kinds = re.findall(r"^m=(\w+) (\d+)", response.text, re.MULTILINE)
    asked = re.findall(r"^m=(\w+)", offer, re.MULTILINE)
    assert [kind for kind, _ in kinds] == asked
    assert [port == "0" for _, port in kinds] == [kind == "video" for kind in asked]
    # What a browser does with a refused medium, aiortc does not: it never sees it.
    _, *media = re.split(r"(?m)^(?=m=)", offer)
    (refused,) = (re.search(r"a=mid:(\S+)", m)[1] for m in media if m[:7] == "m=video")  # type: ignore[index]
    assert refused not in re.search(r"a=group:BUNDLE(.*)", response.text)[1].split()  # type: ignore[index]
    await caller.close()


async def test_a_call_too_many_is_refused(serve: Serve) -> None:
    live = serve("server.max_sessions=1")
    first, second = Caller(), Caller()
    for caller in (first, second):
        caller.peer.addTransceiver("audio")
    async with calling(live, first), httpx.AsyncClient(base_url=live.url) as http:
        offer = await second.offer()
        response = await http.post("/v1/realtime/calls", content=offer, headers=SDP)
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "session_limit_reached"
        await second.close()


async def test_the_installed_aiortc_has_what_we_replace() -> None:
    peer = RTCPeerConnection()
    receiver: RTCRtpReceiver = peer.addTransceiver("audio").receiver
    tap_receiver(receiver, tap=None)  # type: ignore[arg-type]
    with pytest.raises(StageError):
        tap_receiver(receiver, tap=None)  # type: ignore[arg-type]
    await peer.close()


async def test_an_offer_for_a_call_that_stands_is_declined(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    async with calling(live, caller) as path, httpx.AsyncClient(base_url=live.url) as http:
        await caller.until("session.created")
        again = str(caller.peer.localDescription.sdp)
        for method in ("POST", "PUT", "PATCH"):
            response = await http.request(method, path, content=again, headers=SDP)
            assert response.status_code == 400, response.text
            assert response.json()["error"]["code"] == "renegotiation_unsupported"
        caller.send({"type": "session.update", "session": {"type": "realtime"}})
        await caller.until("session.updated")


async def test_two_calls_at_once_are_two_conversations(live: Live) -> None:
    callers = Caller(), Caller()
    for caller in callers:
        caller.peer.addTransceiver("audio", direction="recvonly")
    async with calling(live, callers[0]), calling(live, callers[1]):
        for caller, text in zip(callers, ("Good morning", "Good night"), strict=True):
            await caller.until("session.created")
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            caller.send({"type": "conversation.item.create", "item": item})
            caller.send({"type": "response.create"})
        for caller, text in zip(callers, ("Good morning", "Good night"), strict=True):
            done = await caller.until("response.done")
            said = done["response"]["output"][0]["content"][0]["transcript"]
            assert said == f"You said {text}."
            await caller.until("output_audio_buffer.stopped")
            assert caller.num_audible > 10


async def test_an_event_of_220_kb_comes_through(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    async with calling(live, caller):
        await caller.until("session.created")
        caller.send({"type": "nonsense", "padding": "x" * 220_000})
        assert (await caller.until("error"))["error"]["param"] == "type"


async def test_a_caller_who_vanishes_frees_the_session(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.1)
    live, caller = serve(), Caller()
    caller.peer.addTransceiver("audio")
    async with calling(live, caller):
        await caller.until("session.created")
        assert live.gateway.num_sessions == 1
        for socket in caller.sockets():
            socket.abort()
        await no_session_left(live)


async def test_a_call_that_never_connects_frees_the_session(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_S", 0.2)
    live, caller = serve(), Caller()
    caller.peer.addTransceiver("audio")
    async with httpx.AsyncClient(base_url=live.url) as http:
        offer = await caller.offer()
        response = await http.post("/v1/realtime/calls", content=offer, headers=SDP)
    assert response.status_code == 201
    await no_session_left(live)
    await caller.close()


async def test_the_answer_asks_for_fec(live: Live) -> None:
    caller = Caller()
    caller.peer.addTransceiver("audio")
    async with calling(live, caller):
        codecs = caller.peer.remoteDescription.sdp
        assert re.search(r"a=fmtp:(\d+) .*useinbandfec=1", codecs)
