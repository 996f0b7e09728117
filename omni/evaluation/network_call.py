"""A call through bad weather: a real caller, a relay, and an ear, ours or aiortc's as it comes.

`simulate` is the same for our ear without sockets, on virtual time: it depends on nothing but the
seed, and takes a second.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from omni.evaluation.network_link import Link, Relay, Weather
from omni.protocol.realtime import RealtimeView
from omni.serve.gateway import Gateway
from omni.serve.opus import FRAME_TICKS, HEARD_HZ, OpusReceiver
from omni.serve.rtp import OPUS_HZ
from omni.serve.webrtc import Peer
from omni.types import Samples

FRAME_S: Final = 0.02
LEAD_FRAMES: Final = 50  # of fine weather, in which the call settles
CONNECT_S: Final = 20.0
TAIL_S: Final = 1.0
POLL_PHASE_MS: Final = 13  # of the 20 between packets
_TIME_BASE: Final = Fraction(1, OPUS_HZ)


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """What is said: a voice at 16 kHz and as Opus packets; each text with its span in seconds."""

    samples: Samples
    packets: Sequence[bytes]
    texts: Sequence[tuple[str, float, float]]


@dataclass(slots=True)
class Hearing:
    """What an ear told, piece by piece: when, in s, and float32 [n] at 16 kHz."""

    pieces: list[tuple[float, Samples]] = field(default_factory=list)
    lost_share: float = 0.0

    def tell(self, samples: Samples) -> None:
        self.note(asyncio.get_running_loop().time(), samples)

    def note(self, now_s: float, samples: Samples) -> None:
        if len(samples):
            self.pieces.append((now_s, samples))

    @property
    def samples(self) -> Samples:
        sound = [samples for _, samples in self.pieces]
        return np.concatenate(sound) if sound else np.zeros(0, np.float32)


class Voice(MediaStreamTrack):
    """The caller's microphone: ready-made packets on absolute deadlines."""

    kind = "audio"

    def __init__(self, packets: Sequence[bytes]) -> None:
        super().__init__()
        self.begun, self.done = asyncio.Event(), asyncio.Event()
        self.packets = packets
        self._sent = 0
        self._began_s = 0.0

    async def recv(self) -> "av.Packet[Any]":
        if not self._sent:
            self._began_s = asyncio.get_running_loop().time()
            self.begun.set()
        if self._sent == len(self.packets):
            self.done.set()
            self.stop()
            raise MediaStreamError
        due_s = self._began_s + self._sent * FRAME_S
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
        packet = av.Packet(self.packets[self._sent])
        packet.pts, packet.time_base = self._sent * FRAME_TICKS, _TIME_BASE
        self._sent += 1
        return packet


class OmniEar:
    """A call that this product takes, whole but for HTTP."""

    def __init__(self, gateway: Gateway) -> None:
        self.hearing = hearing = Hearing()

        class Overheard(Peer):
            def _feed(self, samples: Samples) -> None:
                hearing.tell(samples)
                super()._feed(samples)

        self._peer = Overheard(gateway, RealtimeView(gateway.config, "webrtc"))

    async def answer(self, offer: str) -> str:
        return await self._peer.answer(offer)

    async def close(self) -> None:
        await self._peer.close(1000, "measured")


class AiortcEar:
    """aiortc as it comes."""

    def __init__(self) -> None:
        self.hearing = Hearing()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("track", self._on_track)
        self._listening: asyncio.Task[None] | None = None

    async def answer(self, offer: str) -> str:
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    async def close(self) -> None:
        if self._listening:
            self._listening.cancel()
        await self._connection.close()

    def _on_track(self, track: Any) -> None:
        self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: Any) -> None:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=HEARD_HZ)
        with contextlib.suppress(MediaStreamError):
            while True:
                for frame in resampler.resample(await track.recv()):
                    self.hearing.tell(np.asarray(frame.to_ndarray().reshape(-1), np.float32))


async def call(ear: OmniEar | AiortcEar, speech: Speech, weather: Weather, seed: int) -> Hearing:
    """Say everything once through this weather.

    Raises:
        TimeoutError: the call did not come about.
    """
    relay = Relay(weather, weather, seed)
    await relay.open()
    voice = Voice(speech.packets)
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    caller.addTransceiver(voice, direction="sendonly")
    try:
        await caller.setLocalDescription(await caller.createOffer())
        answer = await ear.answer(relay.offer(str(caller.localDescription.sdp)))
        await caller.setRemoteDescription(
            RTCSessionDescription(relay.answer(answer), type="answer")
        )
        await asyncio.wait_for(voice.begun.wait(), CONNECT_S)
        await asyncio.sleep(LEAD_FRAMES / 2 * FRAME_S)
        relay.begin()
        await voice.done.wait()
        await asyncio.sleep(TAIL_S)
    finally:
        await caller.close()
        await ear.close()
        relay.close()
    ear.hearing.lost_share = relay.links[0].num_lost / len(speech.packets)
    return ear.hearing


@dataclass(frozen=True, slots=True, eq=False)
class _Packet:
    sequence_number: int
    payload: bytes
    ssrc: int = 1
    payload_type: int = 0
    marker: int = 0

    @property
    def timestamp(self) -> int:
        return self.sequence_number * FRAME_TICKS


def simulate(speech: Speech, weather: Weather, seed: int) -> Hearing:
    """What our ear tells of the speech, polled every 20 ms as a server polls it."""
    fine, link = Link(Weather(delay_ms=weather.delay_ms), seed), Link(weather, seed)
    hearing, ear = Hearing(), OpusReceiver()
    for now_ms in range(int((len(speech.packets) * FRAME_S + TAIL_S) * 1000)):
        number, phase_ms = divmod(now_ms, 20)
        if not phase_ms and number < len(speech.packets):
            path = fine if number < LEAD_FRAMES / 2 else link
            path.send(number.to_bytes(4, "big"), now_ms)
        for sent in (*fine.arrived(now_ms), *link.arrived(now_ms)):
            arrived = int.from_bytes(sent, "big")
            sound = ear.push(_Packet(arrived, speech.packets[arrived]), now_ms)
            hearing.note(now_ms / 1000, sound)
        if phase_ms == POLL_PHASE_MS:
            hearing.note(now_ms / 1000, ear.poll(now_ms))
    hearing.lost_share = link.num_lost / len(speech.packets)
    return hearing
