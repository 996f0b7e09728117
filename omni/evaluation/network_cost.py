"""What one call costs: CPU seconds per second of the process that takes it, caller not counted.

Meant for two processes at the same time: what else the machine does then weighs on both.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import psutil
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole

from omni.evaluation.network_call import CONNECT_S, FRAME_S, Speech, Voice

IDLE_S: Final = 4.0
SETTLE_S: Final = 2.0
SILENT_S: Final = 10.0
TALKING_S: Final = 20.0
Answer = Callable[[str], Awaitable[str]]
"""From an SDP offer to its answer. Raises OmniError where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """In cores: of the process without a call, then with one that is silent, then talking."""

    what: str
    idle: float
    silent: float
    talking: float


async def cost_of_call(what: str, pid: int, answer: Answer, speech: Speech) -> Cost:
    """Raises TimeoutError: the call did not come about."""
    idle = await _cores(pid, IDLE_S)
    num_silent = int((SETTLE_S + SILENT_S) / FRAME_S)
    num_talking = int(TALKING_S / FRAME_S)
    voice = Voice([speech.packets[0]] * num_silent + [*speech.packets][-num_talking:])
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    caller.addTransceiver(voice, direction="sendrecv")
    drain = MediaBlackhole()
    caller.on("track", drain.addTrack)
    try:
        await caller.setLocalDescription(await caller.createOffer())
        sdp = await answer(str(caller.localDescription.sdp))
        await caller.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        await drain.start()
        await asyncio.wait_for(voice.begun.wait(), CONNECT_S)
        await asyncio.sleep(SETTLE_S)
        silent = await _cores(pid, SILENT_S)
        talking = await _cores(pid, len(voice.packets) * FRAME_S - SETTLE_S - SILENT_S)
    finally:
        await drain.stop()
        await caller.close()
    return Cost(what, round(idle, 4), round(silent, 4), round(talking, 4))


async def _cores(pid: int, for_s: float) -> float:
    loop = asyncio.get_running_loop()
    before_s, began_s = _cpu_s(pid), loop.time()
    await asyncio.sleep(for_s)
    return (_cpu_s(pid) - before_s) / (loop.time() - began_s)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
