"""One client over WebRTC: the microphone in, the reply's sound out, events on a data channel.

Hides aiortc. Its jitter buffer, decoder thread and encoder are bypassed (80 ms of delay that only
ever grows, stereo at 96 kb/s, a decoder that one empty packet ends): packets come to us as they
arrive and leave ready-made. Nothing is negotiated but Opus each way and one camera to us.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from pydantic import BaseModel

from omni import events
from omni.dialog.sessions import AnySession
from omni.errors import ProtocolError
from omni.protocol.views import View, is_fault
from omni.serve.camera import Camera
from omni.serve.conversation import Conversation
from omni.serve.event_channel import EventChannel, Observer
from omni.serve.gateway import Gateway
from omni.serve.key_frames import codecs_in
from omni.serve.media_clock import MediaClock
from omni.serve.opus import FRAME_SAMPLES, OpusReceiver
from omni.serve.reply_stream import ReplyStream
from omni.serve.rtp import RtpPacket
from omni.serve.sdp import Offer
from omni.serve.short_way import PacketSender, receive_at_once
from omni.serve.tap import PacketTap, overhear_reports, tap_receiver
from omni.types import Samples

log = logging.getLogger(__name__)

MAX_MEDIA: Final = 8  # each costs sockets
MAX_CANDIDATES: Final = 200  # each costs checks
CONNECT_S: Final = 30.0
STALL_S: Final = 0.06  # between ticks: it was we who were away,
UNREAD_S: Final = 0.1  # and packets wait to be read

CLOSING_S: Final = 1.0  # for the client to read the last event

Receive = Callable[[str, AnySession], Sequence[BaseModel]]


class Peer:
    """One call, from offer to hang-up."""

    def __init__(self, gateway: Gateway, view: View) -> None:
        self.call_id = f"rtc_{secrets.token_hex(12)}"
        self.closed = asyncio.Event()
        self._gateway = gateway
        self._view = view
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._audio = self._connection.addTransceiver("audio", direction="sendrecv")
        self._sender = PacketSender(self._audio.sender)
        self._reply = ReplyStream(self._sender.send)
        self._opus = OpusReceiver()
        self._clock = MediaClock()
        self._camera = Camera(self._show, self._clock)
        self._conversation: Conversation | None = None
        self._channel = EventChannel(
            view,
            lambda text: self._command(text, view.receive),
            lambda: self._leave(1013, "reading too slowly"),
        )
        self._connecting: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._is_ending = False
        self._ticked_s = self._unread_until_s = 0.0

    async def answer(self, offer: str) -> str:
        """Take an SDP offer and open a session; returns the SDP answer.

        Raises:
            ProtocolError: an offer that cannot be met. SessionCapacity and others: no room.
        """
        try:
            return await self._answer(Offer(offer))
        except BaseException:
            await self.close(1011, "not connected")
            raise

    async def _answer(self, offer: Offer) -> str:
        peer = self._connection
        peer.on("datachannel", self._channel.open)
        peer.on("connectionstatechange", self._on_state)
        audio = self._audio
        opus = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.name == "opus"]
        audio.setCodecPreferences(opus)
        tap_receiver(audio.receiver, PacketTap(self.hear))
        overhear_reports(audio.receiver, lambda ntp, rtp: self._clock.report("audio", ntp, rtp))
        accepted = [audio]
        if codecs_in(offer.known) and self._gateway.config.brain.see.enabled:
            accepted.append(self._camera.attach(peer))
        await self._offered(offer.known, accepted)
        transports = {t.receiver.transport for t in peer.getTransceivers()}
        for transport in transports | ({peer.sctp.transport} if peer.sctp else set()):
            receive_at_once(transport)
        options = replace(self._view.options, is_paced=True)
        conversation = await self._gateway.open(self, options, self._on_event)
        self._conversation = conversation
        conversation.run(lambda session: self._channel.send(self._view.greet(session)))
        await peer.setLocalDescription(await peer.createAnswer())
        self._camera.expect(peer.localDescription.sdp)
        conversation.on_tick = self._tick
        loop = asyncio.get_running_loop()
        self._connecting = loop.call_later(CONNECT_S, self._leave, 1006, "never connected")
        return offer.answer(str(peer.localDescription.sdp))

    async def _offered(self, offer: str, accepted: list[RTCRtpTransceiver]) -> None:
        num_media, num_candidates = offer.count("\nm="), offer.count("\na=candidate:")
        if num_media > MAX_MEDIA or num_candidates > MAX_CANDIDATES:
            raise ProtocolError("The SDP offer asks for too much.", param="sdp")
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        except Exception as error:  # aiortc raises whatever its parser stumbles over
            log.info("an SDP offer was refused", extra={"error": type(error).__name__})
            raise ProtocolError("The SDP offer cannot be met.", param="sdp") from error
        if accepted[0].mid is None:
            raise ProtocolError("The SDP offer has no audio.", param="sdp")
        for transceiver in self._connection.getTransceivers():
            if transceiver not in accepted:
                transceiver.direction = "inactive"

    async def close(self, code: int, reason: str) -> None:
        """Hang up. The code is a websocket's; WebRTC has no way to tell it."""
        if self.closed.is_set():
            return
        self._channel.send(self._view.lost())
        self.closed.set()
        log.info("call over", extra={"call": self.call_id, "code": code, "reason": reason})
        if self._connecting:
            self._connecting.cancel()
        if self._conversation:
            await self._gateway.close(self, self._conversation)
        self._camera.close()
        await self._connection.close()

    def hear(self, packet: RtpPacket) -> bool:
        """A packet of the user's sound, as it arrives."""
        now_ms = asyncio.get_running_loop().time() * 1000
        try:
            self._feed(self._opus.push(packet, now_ms))
        except Exception:
            log.exception("a packet of sound failed")
        return False

    @property
    def session_id(self) -> str:
        """Once the offer is answered."""
        return self._conversation.session.session_id if self._conversation else ""

    def attach(self, observer: Observer) -> Sequence[BaseModel]:
        """Show somebody else every event from now on; returns how the session stands."""
        self._channel.attach(observer)
        return self._view.resume() if self._conversation else []

    def detach(self, observer: Observer) -> None:
        self._channel.detach(observer)

    def control(self, text: str) -> Sequence[BaseModel]:
        """Do what a backend's message says; shows the answers to all, and returns its faults."""
        answers = self._command(text, self._view.control)
        self._channel.send([answer for answer in answers if not is_fault(answer)])
        return [answer for answer in answers if is_fault(answer)]

    # ---- inside

    def _feed(self, samples: Samples) -> None:
        if self._conversation and len(samples) and not self.closed.is_set():
            self._clock.heard(len(samples), self._opus.next_timestamp)
            if self._view.is_muted:
                samples = np.zeros_like(samples)
            self._conversation.feed(samples)

    def _show(self, still: bytes, captured_ms: int) -> None:
        def show(session: AnySession) -> None:
            session.show(still, captured_ms)

        if self._conversation and not self.closed.is_set():
            self._conversation.run(show)

    async def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self._connecting:
            self._connecting.cancel()
        if state in ("failed", "closed"):
            await self.close(1006, "the connection was lost")

    def _tick(self) -> None:
        """Every 20 ms, after the session's own tick."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._ticked_s > STALL_S:
            self._unread_until_s = now_s + UNREAD_S
        self._ticked_s = now_s
        if now_s > self._unread_until_s:
            self._feed(self._opus.poll(now_s * 1000))
        if self._sender.is_ready:
            self._reply.tick(now_s)

    def _leave(self, code: int, reason: str) -> None:
        self._leaving = self._leaving or asyncio.ensure_future(self.close(code, reason))

    def _command(self, text: str, receive: Receive) -> Sequence[BaseModel]:
        conversation = self._conversation
        if conversation is None or self.closed.is_set():
            return []
        answers: list[BaseModel] = []
        try:
            conversation.run(lambda session: answers.extend(receive(text, session)))
        except Exception as error:
            log.exception("a client event failed")
            answers.append(self._view.fault(error))
        self._end_if_over()
        return answers

    def _end_if_over(self) -> None:
        if self._view.is_over and not self._is_ending:
            self._is_ending = True
            loop = asyncio.get_running_loop()
            loop.call_later(CLOSING_S, self._leave, 1000, "the session is closed")

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.ResponseAudio(samples=samples):
                self._reply.push(samples[:FRAME_SAMPLES])
            case events.PlayoutCleared():
                self._reply.clear()
            case events.SpeechStarted():
                self._camera.ask()
        self._channel.send(self._view.render(event))
        self._end_if_over()
