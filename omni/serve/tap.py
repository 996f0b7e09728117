"""Where we take packets from aiortc: in the place of a receiver's jitter buffer.

Nothing gets past a tap, so that aiortc's decoder thread and frame queue stay empty. Sender reports
are overheard.
"""

from collections.abc import Callable

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket

from omni.errors import StageError
from omni.serve.rtp import RtpPacket


class PacketTap:
    """Args:
    take: gets every packet as it arrives; returns whether the sender is to be asked for a whole
        picture.
    """

    def __init__(self, take: Callable[[RtpPacket], bool]) -> None:
        self._take = take

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        return self._take(packet), None


def tap_receiver(receiver: RTCRtpReceiver, tap: PacketTap) -> None:
    """Put a tap in the place of a receiver's jitter buffer.

    Raises:
        StageError: this aiortc has none; ours is pinned, and a test keeps this true.
    """
    name = "_RTCRtpReceiver__jitter_buffer"
    if not isinstance(getattr(receiver, name, None), JitterBuffer):
        raise StageError("this version of aiortc is not supported", "unsupported_aiortc")
    setattr(receiver, name, tap)


def overhear_reports(receiver: RTCRtpReceiver, take: Callable[[int, int], None]) -> None:
    """Be told of the sender's reports: an NTP time (32.32 bits) and the RTP time that it is.

    Raises:
        StageError: this aiortc is another one.
    """
    handle = getattr(receiver, "_handle_rtcp_packet", None)
    if handle is None:
        raise StageError("this version of aiortc is not supported", "unsupported_aiortc")

    async def overheard(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            take(packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await handle(packet)

    setattr(receiver, handle.__name__, overheard)
