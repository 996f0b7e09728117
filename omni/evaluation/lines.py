"""A user's line to a server, over websocket or WebRTC, that records both sides.

Both behave as stock clients do: over websocket what is queued is dropped when the user is heard to
speak; over WebRTC the server's stream is simply played.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from omni.errors import OmniError
from omni.evaluation.headset import Headset
from omni.evaluation.recording import Recording
from omni.media import audio

Transport = Literal["websocket", "webrtc"]
FRAME_S: Final = 0.02
CONNECT_S: Final = 20.0
CUTS: Final = ("input_audio_buffer.speech_started", "conversation.item.truncated")


@contextlib.asynccontextmanager
async def calling(
    url: str, transport: Transport, session: Mapping[str, Any], key: str | None = None
) -> AsyncIterator[Recording]:
    """A call to `http://host:port`, recorded while it lasts; `session` as in session.update.

    Raises:
        OmniError: the server cannot be reached or refuses.
    """
    recording = Recording()
    line = _websocket if transport == "websocket" else _webrtc
    update = {"type": "session.update", "session": {"type": "realtime", **session}}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with line(url.rstrip("/"), recording, json.dumps(update), headers):
        yield recording


@contextlib.asynccontextmanager
async def _websocket(
    url: str, recording: Recording, update: str, headers: dict[str, str]
) -> AsyncIterator[None]:
    address = url.replace("http", "ws", 1) + "/v1/realtime"
    try:
        connection = await connect(address, additional_headers=headers, max_size=16 << 20)
    except Exception as error:
        raise OmniError(f"cannot reach {url}: {error}", "connection_failed") from error

    async def listen() -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                event = json.loads(message)
                if event["type"] == "response.output_audio.delta":
                    recording.play(audio.decode(base64.b64decode(event["delta"]), "pcm16"))
                    continue
                if event["type"] in CUTS:
                    recording.cut()
                recording.note(event)

    async def talk() -> None:
        await connection.send(update)
        deadline = time.perf_counter()
        with contextlib.suppress(ConnectionClosed):
            while True:
                sound = base64.b64encode(audio.encode(recording.next_frame(), "pcm16")).decode()
                await connection.send(
                    json.dumps({"type": "input_audio_buffer.append", "audio": sound})
                )
                while not recording.commands.empty():
                    await connection.send(json.dumps(recording.commands.get_nowait()))
                deadline += FRAME_S
                await asyncio.sleep(max(0.0, deadline - time.perf_counter()))

    tasks = [asyncio.create_task(listen()), asyncio.create_task(talk())]
    try:
        yield
    finally:
        await _end(tasks)
        await connection.close()


@contextlib.asynccontextmanager
async def _webrtc(
    url: str, recording: Recording, update: str, headers: dict[str, str]
) -> AsyncIterator[None]:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("oai-events")
    opened = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def command() -> None:
        await opened.wait()
        channel.send(update)
        while True:
            channel.send(json.dumps(await recording.commands.get()))

    channel.on("open", opened.set)
    channel.on("message", lambda message: recording.note(json.loads(message)))
    headset = Headset(peer, recording)
    try:
        await _connect(peer, f"{url}/v1/realtime/calls", headers)
        tasks += [asyncio.create_task(command()), asyncio.create_task(headset.run())]
        await asyncio.wait_for(opened.wait(), CONNECT_S)
        yield
    except (httpx.HTTPError, TimeoutError) as error:
        raise OmniError(f"cannot call {url}: {error}", "connection_failed") from error
    finally:
        await _end(tasks)
        await peer.close()


async def _connect(peer: RTCPeerConnection, address: str, headers: dict[str, str]) -> None:
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Content-Type": "application/sdp", **headers}
    async with httpx.AsyncClient(timeout=CONNECT_S) as http:
        answer = await http.post(address, content=peer.localDescription.sdp, headers=headers)
    if answer.status_code != 201:
        raise OmniError(f"the call was refused: {answer.text}", "connection_failed")
    await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
