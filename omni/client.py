"""A small Realtime client over websocket that behaves as a user does, and holds the stopwatch.

The microphone never stops: sound is sent at its own pace, silence when there is none. Latency is
the caller's: from the last sound of the question to the first sound of the reply, as it arrives.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from omni.errors import OmniError
from omni.media import audio
from omni.types import Samples

RATE_HZ = 24000
FRAME_SAMPLES = RATE_HZ // 50
WINDOW_SAMPLES = RATE_HZ // 100
SILENT_BELOW = 0.02  # of the loudest 10 ms


@dataclass(slots=True, eq=False)
class Exchange:
    """One question and its reply. Latencies in ms from the question's last sound; None: never
    happened, or cannot be told because nothing was said aloud. A question with long pauses may
    be taken for several turns: `transcript` joins them, the rest is of the last reply."""

    transcript: str = ""
    reply: str = ""
    audio: Samples = field(default_factory=lambda: np.zeros(0, np.float32))  # [n] at 24 kHz
    v2v_ms: float | None = None
    ttft_ms: float | None = None
    ttfa_ms: float | None = None
    status: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def start_reply(self) -> None:
        """Whatever was replied before, to a part of the question, is not the reply."""
        self.reply, self.audio, self.status = "", np.zeros(0, np.float32), ""
        self.v2v_ms = self.ttft_ms = self.ttfa_ms = None


class Client:
    """A connection to a server. Made by `talking_to`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sound: asyncio.Queue[Samples] = asyncio.Queue()
        self.is_answered = asyncio.Event()  # sound of a reply has arrived, ever
        self._last_sound_s = 0.0

    async def send(self, event: Mapping[str, Any]) -> None:
        await self._connection.send(json.dumps(event))

    async def configure(self, session: Mapping[str, Any]) -> None:
        """Change the session, e.g. `{"instructions": "…"}`."""
        await self.send({"type": "session.update", "session": {"type": "realtime", **session}})

    def hear_microphone(self, samples: Samples) -> None:
        """Sound to send as soon as its turn comes, float32 [n] at 24 kHz."""
        self._sound.put_nowait(samples)

    async def say(self, samples: Samples, timeout_s: float = 180) -> Exchange:
        """Speak, float32 [n] at 24 kHz, in real time; returns when the reply is complete.

        Raises:
            OmniError: no reply in time, or the connection was lost.
        """
        while not self._events.empty():
            self._events.get_nowait()
        self._last_sound_s = 0.0
        self._sound.put_nowait(samples)
        return await self._await_reply(timeout_s)

    async def write(
        self, text: str, image: bytes | None = None, timeout_s: float = 180
    ) -> Exchange:
        """Send a written message, perhaps with a picture (PNG or JPEG); returns the reply."""
        content: list[dict[str, Any]] = [{"type": "input_text", "text": text}]
        if image is not None:
            kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
            url = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
            content.insert(0, {"type": "input_image", "image_url": url})
        item = {"type": "message", "role": "user", "content": content}
        await self.send({"type": "conversation.item.create", "item": item})
        self._last_sound_s = time.perf_counter()
        await self.send({"type": "response.create"})
        return await self._await_reply(timeout_s)

    async def show(self, image: bytes) -> None:
        """A camera's picture (JPEG, PNG or WebP), as of now."""
        data = base64.b64encode(image).decode()
        await self.send({"type": "input_image_buffer.append", "image": data})

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Everything the server says, as it comes."""
        while True:
            event = await self._events.get()
            if event["type"] == "closed":
                raise OmniError("the server closed the connection", "session_closed")
            yield event

    async def _await_reply(self, timeout_s: float) -> Exchange:
        exchange = Exchange()
        try:
            async with asyncio.timeout(timeout_s):
                async for event in self.events():
                    if self._note(exchange, event):
                        return exchange
        except TimeoutError as error:
            raise OmniError(f"no reply within {timeout_s:g} s", "no_reply") from error
        raise OmniError("the server closed the connection", "session_closed")

    def _note(self, exchange: Exchange, event: dict[str, Any]) -> bool:
        """Take an event into account; whether the exchange is over."""
        since_ms = (event["arrived_s"] - self._last_sound_s) * 1000
        match event["type"]:
            case "conversation.item.input_audio_transcription.completed":
                exchange.transcript = f"{exchange.transcript} {event['transcript']}".strip()
            case "response.created":
                exchange.start_reply()
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                exchange.ttft_ms = exchange.ttft_ms or round(since_ms, 1)
                exchange.reply += event["delta"]
            case "response.output_audio.delta":
                self._hear(exchange, event, since_ms)
            case "error":
                exchange.errors.append(event["error"]["message"])
                return bool(event["error"]["type"] == "server_error")
            case "response.done":
                exchange.status = event["response"]["status"]
            case "omni.response.timings":
                names = [name for name in event if name.endswith("_ms")]
                exchange.timings = {name: event[name] for name in names if event[name] is not None}
                exchange.ttft_ms = exchange.timings.get("first_token_ms", exchange.ttft_ms)
                is_done = exchange.status not in ("", "cancelled")  # "": they are of the last one
                return is_done and event["arrived_s"] > self._last_sound_s
        return False

    def _hear(self, exchange: Exchange, event: dict[str, Any], since_ms: float) -> None:
        sound = audio.decode(base64.b64decode(event["delta"]), "pcm16")
        exchange.ttfa_ms = exchange.ttfa_ms or round(since_ms, 1)
        if exchange.v2v_ms is None and (loud := np.flatnonzero(np.abs(sound) > 0.005)).size:
            exchange.v2v_ms = round(since_ms + loud[0] * 1000 / RATE_HZ, 1)
        exchange.audio = np.concatenate([exchange.audio, sound])
        self.is_answered.set()

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self._connection:
                event = json.loads(message)
                event["arrived_s"] = time.perf_counter()
                self._events.put_nowait(event)
        self._events.put_nowait({"type": "closed"})

    async def _talk(self) -> None:
        """The microphone: a frame every 20 ms, on absolute deadlines."""
        pending = np.zeros(0, np.float32)
        silence = np.zeros(FRAME_SAMPLES, np.float32)
        deadline = time.perf_counter()
        while True:
            if not len(pending) and not self._sound.empty():
                pending = self._sound.get_nowait()
                start = deadline - FRAME_SAMPLES / RATE_HZ  # a frame is sent when it is full
                self._last_sound_s = start + (last_sound(pending) + FRAME_SAMPLES) / RATE_HZ
            frame, pending = pending[:FRAME_SAMPLES], pending[FRAME_SAMPLES:]
            frame = np.concatenate([frame, silence[len(frame) :]])
            data = base64.b64encode(audio.encode(frame, "pcm16")).decode()
            try:
                await self.send({"type": "input_audio_buffer.append", "audio": data})
            except ConnectionClosed:
                return
            deadline += FRAME_SAMPLES / RATE_HZ
            await asyncio.sleep(max(0.0, deadline - time.perf_counter()))


@contextlib.asynccontextmanager
async def talking_to(url: str, key: str | None = None) -> AsyncIterator[Client]:
    """Connect to a server, `http://host:port` or a full websocket URL.

    Raises:
        OmniError: the server cannot be reached or refuses.
    """
    if not url.startswith("ws"):
        url = url.replace("http", "ws", 1).rstrip("/") + "/v1/realtime?extensions=omni"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        connection = await connect(url, additional_headers=headers, max_size=16 << 20)
    except Exception as error:
        raise OmniError(f"cannot reach {url}: {error}", "connection_failed") from error
    client = Client(connection)
    tasks = [asyncio.create_task(client._listen()), asyncio.create_task(client._talk())]
    try:
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.close()


def last_sound(samples: Samples) -> int:
    """Index just after the last 10 ms that are louder than a fiftieth of the loudest."""
    num_windows = len(samples) // WINDOW_SAMPLES
    if not num_windows:
        return len(samples)
    windows = samples[: num_windows * WINDOW_SAMPLES].reshape(num_windows, WINDOW_SAMPLES)
    level = np.sqrt(np.mean(windows**2, axis=1))
    loud = np.flatnonzero(level > SILENT_BELOW * level.max())
    return int(loud[-1] + 1) * WINDOW_SAMPLES if loud.size else len(samples)
