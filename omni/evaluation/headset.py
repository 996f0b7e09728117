"""A caller's end of a WebRTC call: our own way of sound, so that what is measured is the server.

Stock aiortc would hold 80 ms back for good and resample both ways; here what comes is decoded as it
comes, and the buffer that a player needs is the recording's (`recording.BUFFER_S`).
"""

import asyncio

from aiortc import RTCPeerConnection, RTCRtpSender

from omni.evaluation.recording import RATE_HZ, Recording
from omni.serve.opus import FRAME_TICKS, OpusReceiver, OpusSender
from omni.serve.rtp import RtpPacket
from omni.serve.short_way import PacketSender, receive_at_once
from omni.serve.tap import PacketTap, tap_receiver

FRAME_S = 0.02


class Headset:
    """Made before the offer is.

    Args:
        recording: has what is said, and takes what is heard.
    """

    def __init__(self, connection: RTCPeerConnection, recording: Recording) -> None:
        self._recording = recording
        audio = connection.addTransceiver("audio", direction="sendrecv")
        audio.setCodecPreferences(
            [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.name == "opus"]
        )
        self._receiver = audio.receiver
        self._sender = PacketSender(audio.sender)
        self._microphone, self._ear = OpusSender(), OpusReceiver(RATE_HZ)
        tap_receiver(audio.receiver, PacketTap(self._hear))

    async def run(self) -> None:
        """From the answer on, until cancelled: speak and hear in real time."""
        receive_at_once(self._receiver.transport)
        loop = asyncio.get_running_loop()
        due_s, ticks = loop.time(), 0
        while True:
            due_s += FRAME_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if self._sender.is_ready:
                payload = self._microphone.push(self._recording.next_frame())
                self._sender.send(payload, ticks)
                ticks += FRAME_TICKS
            self._recording.stream(self._ear.poll(loop.time() * 1000))

    def _hear(self, packet: RtpPacket) -> bool:
        now_ms = asyncio.get_running_loop().time() * 1000
        self._recording.stream(self._ear.push(packet, now_ms))
        return False
