"""The short way of packets between a call's socket and us, past aiortc's queues and tasks.

Law: handling, statistics and reports stay aiortc's. Upstream: the day RTCDtlsTransport handles
packets without a task, and RTCRtpSender takes them from a call, this goes.
"""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Coroutine
from typing import Any, Final

import aiortc
import pylibsrtp
from aiortc import RTCRtpCodecParameters, RTCRtpSender, clock
from aiortc.rtcdtlstransport import RTCDtlsTransport, State
from aiortc.rtcrtpsender import random_sequence_number
from aiortc.rtp import RtpPacket, is_rtcp
from aiortc.utils import random32

from omni.errors import StageError

log = logging.getLogger(__name__)

AIORTC: Final = "1.16.0"  # whose insides these are; tests hold them to it
MAX_DATAGRAM_BYTES: Final = 1500
REPORT_PACKETS: Final = 25  # between two looks at the clock, for sender reports


def check_version() -> None:
    """Raises StageError: this aiortc is another one."""
    if aiortc.__version__ != AIORTC:
        raise StageError(f"aiortc {AIORTC} is needed", "unsupported_aiortc")


def receive_at_once(transport: RTCDtlsTransport) -> None:
    """Handle RTP as it is read from the socket; all else goes the usual way."""
    check_version()
    connection = transport.transport._connection
    usual_way = connection.data_received

    def data_received(data: bytes, component: int) -> None:
        if not 0 < len(data) <= MAX_DATAGRAM_BYTES:
            return  # anybody can send one, and it would end aiortc's reading for good
        srtp = transport._rx_srtp
        if srtp is None or not 127 < data[0] < 192 or is_rtcp(data):
            usual_way(data, component)
            return
        try:
            plain = srtp.unprotect(data)
        except (pylibsrtp.Error, ValueError):
            return  # forged, damaged or sent twice
        try:
            _run(transport._handle_rtp_data(plain, arrival_time_ms=clock.current_ms()))
        except (ValueError, IndexError, struct.error):
            log.debug("a malformed RTP packet was dropped")

    setattr(connection, usual_way.__name__, data_received)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """To its end, which it reaches without waiting, since sockets and not relays are written to."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise StageError("a packet's handling waited", "unsupported_aiortc")


class PacketSender:
    """One stream out, in the place of an RTCRtpSender's own loop over a track."""

    def __init__(self, sender: RTCRtpSender) -> None:
        check_version()
        self._sender = sender
        self._origin = random32()
        self._sequence = random_sequence_number()
        self._start, self._rest = b"", b""  # of the header, before and after number and time
        self._num_packets = self._num_bytes = 0
        setattr(sender, sender._run_rtp.__name__, self._stand_in)

    @property
    def is_ready(self) -> bool:
        """Whether packets reach the other side; before, they are not worth making."""
        return bool(self._start) and self._sender.transport._state is State.CONNECTED

    def send(self, payload: bytes, ticks: int) -> None:
        """A packet of the time `ticks` since the stream began."""
        transport = self._sender.transport
        pair = transport.transport._connection._nominated.get(1)
        if pair is None or not self.is_ready:
            return
        timestamp = (self._origin + ticks) & 0xFFFFFFFF
        header = self._start + struct.pack("!HL", self._sequence, timestamp) + self._rest
        self._sequence = (self._sequence + 1) & 0xFFFF
        pair.protocol.transport.sendto(
            transport._tx_srtp.protect(header + payload), pair.remote_addr
        )
        self._report(timestamp, len(payload))

    def _report(self, timestamp: int, num_bytes: int) -> None:
        """What aiortc's sender reports tell."""
        if self._num_packets % REPORT_PACKETS == 0:
            self._set("ntp_timestamp", clock.current_ntp_time())
            self._set("rtp_timestamp", timestamp)
        self._num_packets += 1
        self._num_bytes += num_bytes
        self._set("packet_count", self._num_packets)
        self._set("octet_count", self._num_bytes)

    def _get(self, name: str) -> Any:
        return getattr(self._sender, f"_RTCRtpSender__{name}")

    def _set(self, name: str, value: int) -> None:
        setattr(self._sender, f"_RTCRtpSender__{name}", value)

    async def _stand_in(self, codec: RTCRtpCodecParameters) -> None:
        """RTCRtpSender._run_rtp: lasts until it is cancelled."""
        packet = RtpPacket(payload_type=codec.payloadType or 0, ssrc=self._sender._ssrc)
        packet.extensions.mid = self._get("mid")
        header = packet.serialize(self._get("rtp_header_extensions_map"))
        self._start, self._rest = header[:2], header[8:]
        self._get("rtp_started").set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        self._start = b""
        self._get("rtp_exited").set()
