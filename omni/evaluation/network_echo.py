"""Sends back what it hears, in a process of its own: by our way of sound, or by aiortc as it comes.

`python -m omni.evaluation.network_echo omni` (or `aiortc`) prints a line once it is up; then takes
an SDP offer on a line of its standard input, as JSON, and prints the answer likewise.
"""

import asyncio
import json
import sys
from typing import Any, Final

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from omni.media.audio import Framer
from omni.serve.opus import FRAME_SAMPLES, SPOKEN_HZ, OpusReceiver
from omni.serve.reply_stream import FRAME_S, ReplyStream
from omni.serve.rtp import RtpPacket
from omni.serve.short_way import PacketSender, receive_at_once
from omni.serve.tap import PacketTap, tap_receiver
from omni.types import Samples

KINDS: Final = ("omni", "aiortc")


class OmniEcho:
    """The parts of a call that carry sound, and nothing else of it."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        audio = connection.addTransceiver("audio", direction="sendrecv")
        self._receiver = audio.receiver
        self._sender = PacketSender(audio.sender)
        self._reply = ReplyStream(self._sender.send)
        self._opus = OpusReceiver(SPOKEN_HZ)
        self._framer = Framer(FRAME_SAMPLES)
        tap_receiver(audio.receiver, PacketTap(self._hear))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        receive_at_once(self._receiver.transport)
        due_s = loop.time()
        while True:
            due_s += FRAME_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self._take(self._opus.poll(loop.time() * 1000))
            if self._sender.is_ready:
                self._reply.tick(loop.time())

    def _hear(self, packet: RtpPacket) -> bool:
        self._take(self._opus.push(packet, asyncio.get_running_loop().time() * 1000))
        return False

    def _take(self, sound: Samples) -> None:
        if len(sound):
            for frame in self._framer.push(sound):
                self._reply.push(frame)


async def main(kind: str) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    echo = OmniEcho(connection) if kind == "omni" else None

    def on_track(track: Any) -> None:
        if not echo:
            connection.addTrack(track)

    connection.on("track", on_track)
    print("ready", flush=True)
    offer = await asyncio.to_thread(sys.stdin.readline)
    await connection.setRemoteDescription(RTCSessionDescription(json.loads(offer), "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    running = asyncio.create_task(echo.run()) if echo else None
    print(json.dumps(connection.localDescription.sdp), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # until its parent goes away
    if running:
        running.cancel()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
