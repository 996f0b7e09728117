"""Where we take packets from aiortc: in the place of a receiver's jitter buffer.

Nothing gets past a tap, so that aiortc's decoder thread and frame queue stay empty.
"""

from collections.abc import Callable

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer

from omni.errors import StageError
from omni.serve.opus import RtpPacket


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
