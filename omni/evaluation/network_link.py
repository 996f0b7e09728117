"""A bad network between two ends of a call, in user space: what it does to packets, and a relay.

Hides how a call is made to go through it: the addresses in its SDP. Needs neither privileges nor
kernel modules; all UDP of the call goes through, handshakes and data channel included.
"""

import asyncio
import heapq
import random
import re
from dataclasses import dataclass
from typing import Any, Final

_CANDIDATE: Final = re.compile(r"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host.*")
_ANY_CANDIDATE: Final = re.compile(r"a=candidate:.*\r\n")
_ANY_END: Final = re.compile(r"a=end-of-candidates\r\n")
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Weather:
    """What one way of the path does.

    Args:
        loss: share of packets lost, each by itself.
        burst_ms: how long everything is lost, every `burst_every_ms`.
        delay_ms: of every packet; `jitter_ms` is its standard deviation, and later packets may
            overtake earlier ones.
        reorder: share of packets that wait for three more frames.
    """

    loss: float = 0.0
    jitter_ms: float = 0.0
    burst_ms: float = 0.0
    burst_every_ms: float = 4000.0
    delay_ms: float = 40.0
    reorder: float = 0.0


REORDER_MS: Final = 60.0


class Link:
    """One way of the path. Is told the time in ms; same seed, same weather."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self._weather = weather
        self._random = random.Random(seed)
        self._under_way: list[tuple[float, int, bytes]] = []
        self._num_sent = 0
        self._began_ms: float | None = None
        self.num_lost = 0

    def send(self, packet: bytes, now_ms: float) -> None:
        weather, self._num_sent = self._weather, self._num_sent + 1
        if self._began_ms is None:
            self._began_ms = now_ms
        in_cycle_ms = (now_ms - self._began_ms) % weather.burst_every_ms
        is_burst = in_cycle_ms >= weather.burst_every_ms - weather.burst_ms
        if is_burst or self._random.random() < weather.loss:
            self.num_lost += 1
            return
        delay_ms = max(0.0, self._random.gauss(weather.delay_ms, weather.jitter_ms))
        if self._random.random() < weather.reorder:
            delay_ms += REORDER_MS
        heapq.heappush(self._under_way, (now_ms + delay_ms, self._num_sent, packet))

    @property
    def next_ms(self) -> float | None:
        """When the next packet comes out."""
        return self._under_way[0][0] if self._under_way else None

    def arrived(self, now_ms: float) -> list[bytes]:
        packets = []
        while self._under_way and self._under_way[0][0] <= now_ms:
            packets.append(heapq.heappop(self._under_way)[2])
        return packets


class Relay:
    """Two links, and the sockets that feed them: the caller talks to one, the server to the other.

    Until `begin`, the weather is fine: what is measured is a call, not its handshake.
    """

    def __init__(self, out: Weather, back: Weather, seed: int) -> None:
        self._weathers = (out, back)
        self._seed = seed
        fine = Weather(delay_ms=out.delay_ms)
        self.links = [Link(fine, seed), Link(fine, seed)]  # from the caller, from the server
        self._sockets: list[asyncio.DatagramTransport] = []
        self._peers: list[Address | None] = [None, None]
        self._timers: list[asyncio.TimerHandle | None] = [None, None]

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for side in (0, 1):
            transport, _ = await loop.create_datagram_endpoint(
                lambda side=side: _Socket(self, side),  # type: ignore[misc]
                local_addr=("0.0.0.0", 0),
            )
            self._sockets.append(transport)

    def begin(self) -> None:
        """Let the weather come."""
        self.links = [Link(weather, self._seed + n) for n, weather in enumerate(self._weathers)]

    def close(self) -> None:
        for timer in self._timers:
            if timer:
                timer.cancel()
        for transport in self._sockets:
            transport.close()

    def offer(self, sdp: str) -> str:
        """The caller's offer as the server is to see it."""
        return self._readdressed(sdp, 1)[0]

    def answer(self, sdp: str) -> str:
        """The server's answer as the caller is to see it."""
        readdressed, self._peers[1] = self._readdressed(sdp, 0)
        return readdressed

    def receive(self, side: int, packet: bytes, sender: Address) -> None:
        """A packet from the caller (0) or the server (1)."""
        self._peers[side] = sender
        loop = asyncio.get_running_loop()
        self.links[side].send(packet, loop.time() * 1000)
        self._pump(side)

    def _pump(self, side: int) -> None:
        loop, link = asyncio.get_running_loop(), self.links[side]
        for packet in link.arrived(loop.time() * 1000):
            if to := self._peers[1 - side]:
                self._sockets[1 - side].sendto(packet, to)
        if timer := self._timers[side]:
            timer.cancel()
        if link.next_ms is not None:
            self._timers[side] = loop.call_at(link.next_ms / 1000, self._pump, side)

    def _readdressed(self, sdp: str, side: int) -> tuple[str, Address]:
        """The SDP with one of our sockets as its only candidate, and whose place it takes."""
        found = _CANDIDATE.search(sdp)
        if found is None:
            raise ValueError("the SDP names no host to relay to")
        host, port = found.group(1), int(found.group(2))
        own_port = self._sockets[side].get_extra_info("sockname")[1]
        ours = found.group(0).strip().replace(f"{host} {port}", f"{host} {own_port}")
        bare = _ANY_END.sub("", _ANY_CANDIDATE.sub("", sdp))
        lines = f"{ours}\r\na=end-of-candidates\r\na=ice-ufrag:"
        return bare.replace("a=ice-ufrag:", lines), (host, port)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay, side: int) -> None:
        self._relay = relay
        self._side = side

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._relay.receive(self._side, data, addr)
