"""Packets past aiortc's queues: none is lost, its reports stay true, nothing forged gets in."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiortc
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from omni.errors import StageError
from omni.evaluation.network_call import Voice
from omni.serve.opus import OpusReceiver
from omni.serve.rtp import RtpPacket
from omni.serve.short_way import PacketSender, receive_at_once
from omni.serve.tap import PacketTap, tap_receiver
from omni.types import Samples
from tests.serve.packets import tone


class End:
    """Our end of a call, nothing but sound."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        audio = self.connection.addTransceiver("audio", direction="sendrecv")
        self.receiver = audio.receiver
        self.sender = PacketSender(audio.sender)
        self.packets: list[RtpPacket] = []
        self.heard: list[Samples] = []
        self._opus = OpusReceiver()
        tap_receiver(audio.receiver, PacketTap(self._hear))

    def _hear(self, packet: RtpPacket) -> bool:
        self.packets.append(packet)
        self.heard.append(self._opus.push(packet, 20.0 * len(self.packets)))
        return False


@asynccontextmanager
async def call(payloads: list[bytes]) -> AsyncIterator[tuple[End, RTCPeerConnection, Voice]]:
    """A caller who sends these payloads, then stops."""
    voice = Voice(payloads)
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    caller.addTransceiver(voice, direction="sendrecv")
    end = End()
    await caller.setLocalDescription(await caller.createOffer())
    await end.connection.setRemoteDescription(caller.localDescription)
    receive_at_once(end.receiver.transport)
    await end.connection.setLocalDescription(await end.connection.createAnswer())
    await caller.setRemoteDescription(end.connection.localDescription)
    try:
        await asyncio.wait_for(voice.begun.wait(), 240)
        yield end, caller, voice
    finally:
        await caller.close()
        await end.connection.close()


async def stats(of: Any, kind: str) -> Any:
    """One of a sender's or receiver's statistics, as soon as there is one."""
    while True:
        for entry in (await of.getStats()).values():
            if entry.type == kind:
                return entry
        await asyncio.sleep(0.02)


async def test_empty_and_broken_packets_of_a_caller_deafen_nobody() -> None:
    payloads = [packet.payload for packet in tone(100)]
    payloads[40:43] = [b"", b"", b""]
    payloads[60:62] = [b"\xff", secrets.token_bytes(200)]
    async with call(payloads) as (end, _, voice):
        await voice.done.wait()
        while (await stats(end.receiver, "inbound-rtp")).packetsReceived < 95:
            await asyncio.sleep(0.02)
        sound = np.concatenate(end.heard)
        assert len(end.packets) >= 95
        assert (await stats(end.receiver, "inbound-rtp")).packetsReceived == len(end.packets)
    loudness = np.abs(sound[: len(sound) // 320 * 320].reshape(-1, 320)).max(1)
    assert loudness[-30:].min() > 0.2  # since 100 ms after the last of them, at the latest
    assert (loudness > 0.2).sum() > 80


async def test_what_is_sent_arrives_and_is_reported() -> None:
    sent = [packet.payload for packet in tone(50)]
    async with call([sent[0]] * 300) as (end, caller, _):
        while not end.sender.is_ready:
            await asyncio.sleep(0.01)
        for n, payload in enumerate(sent):
            end.sender.send(payload, n * 960)
            await asyncio.sleep(0)
        (receiver,) = caller.getReceivers()
        assert (await stats(receiver, "remote-outbound-rtp")).bytesSent == sum(map(len, sent))
        assert (await stats(receiver, "remote-outbound-rtp")).packetsSent == 50
        inbound = await stats(receiver, "inbound-rtp")
        assert (inbound.packetsReceived, inbound.packetsLost) == (50, 0)


async def test_forged_packets_end_nothing() -> None:
    payloads = [packet.payload for packet in tone(100)]
    async with call(payloads) as (end, _, voice):
        while len(end.packets) < 10:
            await asyncio.sleep(0.01)
        ice = end.receiver.transport.transport._connection
        ice.data_received(b"", 1)
        for start in (b"\x80\x60", b"\x80\xc8", b"\x16\xfe", b"\xff", b"\0"):
            for num_bytes in (0, 1, 11, 12, 100, 1400, 3000):
                ice.data_received(start + secrets.token_bytes(num_bytes), 1)
        await voice.done.wait()
        while len(end.packets) < 95:
            await asyncio.sleep(0.01)
        assert end.connection.connectionState == "connected"
        assert len({packet.ssrc for packet in end.packets}) == 1


async def test_before_and_after_a_call_nothing_is_sent() -> None:
    end = End()
    assert not end.sender.is_ready
    end.sender.send(b"\0", 0)
    await end.connection.close()
    async with call([b"\0"] * 10) as (end, _, voice):
        await voice.done.wait()
    assert not end.sender.is_ready
    end.sender.send(b"\0", 0)


async def test_another_aiortc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc, "__version__", "1.17.0")
    with pytest.raises(StageError, match=r"1\.16\.0"):
        End()
