"""One hop: a persistent connection that keeps order, stays bounded, and lets a fence overtake.

The receiver grants credits as it consumes; a sender without credits queues under the same limits
as an inbox (sound: the last 2 s, pictures: the latest, the rest: never dropped but bounded). What
is queued outlives a connection, so a restarted peer gets what is still fresh.
"""

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from actors.wire import SCHEMA, Credit, FrameError, Hello, encode, read
from omni.channel import Channel
from omni.errors import StageLost
from omni.stages.runner import inbox_limits
from omni.types import REPLY_CHUNKS, Chunk, Fence

log = logging.getLogger(__name__)

WINDOW: Final = Credit(num_frames=64, size_bytes=8 << 20)
"""What may be on its way to a receiver that consumes nothing; one frame may overdraw the bytes."""

HELLO_TIMEOUT_S: Final = 5.0
_HELLO_BYTES: Final = 1024
_BUFFER_BYTES: Final = 1 << 18
_TCP_OPTIONS: Final = {
    "TCP_NODELAY": 1,
    "TCP_KEEPIDLE": 2,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 5000,
}
_BACK_OFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an actor listens: by `path` for its own node, by host and port for others."""

    node_id: str
    path: str
    host: str | None = None
    port: int = 0


class Stream(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Queued(NamedTuple):
    chunk: Chunk
    frame: bytes


class Link:
    """Args:
    receive: called on the event loop with every chunk that arrives; must not block or raise.
    queue_ms: sound per session that may wait before the oldest goes.
    """

    def __init__(self, receive: Callable[[Chunk], None], queue_ms: int = 2000) -> None:
        self._receive = receive
        limit_of = inbox_limits(queue_ms)
        self._outbox: Channel[_Queued] = Channel(limit_of=lambda queued: limit_of(queued.chunk))
        self._writer: asyncio.StreamWriter | None = None
        self._may_send = asyncio.Event()
        self._frames_left = self._bytes_left = 0  # what the peer granted and we have not used
        self._frames_owed = self._bytes_owed = 0  # what we received and have not granted anew

    @property
    def num_queued(self) -> int:
        return len(self._outbox)

    def offer(self, chunk: Chunk) -> None:
        """Send a chunk as soon as the peer has room. A fence goes at once, ahead of all others.

        Raises:
            FrameError: the chunk cannot be sent.
            StageError: too much is waiting that may not be dropped.
        """
        frame = encode(chunk)
        if isinstance(chunk, Fence):
            self.void(chunk)
            if self._writer:
                self._writer.write(frame)
        else:
            self._outbox.offer(_Queued(chunk, frame))

    def void(self, fence: Fence) -> None:
        """Drop the reply chunks that wait here and that `fence` makes stale."""
        self._outbox.discard(
            lambda queued: (
                isinstance(queued.chunk, REPLY_CHUNKS)
                and queued.chunk.session_id == fence.session_id
                and queued.chunk.epoch < fence.epoch
            )
        )

    def consumed(self) -> None:
        """All that was received has been used up: let the peer send on.

        Granted in halves of the window, so that few credit frames travel.
        """
        if self._writer and (
            self._frames_owed * 2 >= WINDOW.num_frames or self._bytes_owed * 2 >= WINDOW.size_bytes
        ):
            self._writer.write(encode(Credit(self._frames_owed, self._bytes_owed)))
            self._frames_owed = self._bytes_owed = 0

    async def run(self, stream: Stream) -> None:
        """Serve a connection until it ends."""
        self._writer = stream.writer
        self._frames_left = self._bytes_left = self._frames_owed = self._bytes_owed = 0
        self._may_send.clear()
        self._writer.write(encode(WINDOW))
        pump = asyncio.create_task(self._pump(stream.writer), name="link-pump")
        try:
            await self._read(stream.reader)
        except FrameError as error:
            log.warning("link closed: %s", error.message)
        except (EOFError, OSError):
            log.debug("link ended")
        finally:
            self._writer = None
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            stream.writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            message, size_bytes = await read(reader)
            if isinstance(message, Credit):
                self._frames_left += message.num_frames
                self._bytes_left += message.size_bytes
                if self._frames_left > 0 and self._bytes_left > 0:
                    self._may_send.set()
            elif isinstance(message, Chunk):
                if not isinstance(message, Fence):
                    self._frames_owed += 1
                    self._bytes_owed += size_bytes
                self._receive(message)

    async def _pump(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._outbox.wait()
            await self._may_send.wait()
            for queued in self._outbox.take(1):
                self._frames_left -= 1
                self._bytes_left -= len(queued.frame)
                if self._frames_left <= 0 or self._bytes_left <= 0:
                    self._may_send.clear()
                writer.write(queued.frame)
            await writer.drain()


async def keep_connected(link: Link, address: Address, me: Hello, node_id: str) -> None:
    """Run a link to `address`, again and again with back-off, until cancelled."""
    attempt = 0
    while True:
        try:
            stream = await dial(address, me, node_id)
        except StageLost as error:
            log.info("no connection to a peer yet: %s", error.message)
        else:
            attempt = 0
            await link.run(stream)
        await asyncio.sleep(_BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)])
        attempt += 1


async def dial(address: Address, me: Hello, node_id: str) -> Stream:
    """Connect to an actor, each side proving to the other that it belongs.

    Raises:
        StageLost: nobody listens there, or not one of us.
    """
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            if address.node_id == node_id:
                pair = await asyncio.open_unix_connection(address.path, limit=_BUFFER_BYTES)
            else:
                pair = await asyncio.open_connection(
                    address.host, address.port, limit=_BUFFER_BYTES
                )
            stream = Stream(*pair)
            try:
                stream.writer.write(encode(me))
                await _expect_hello(stream, me.token)
            except BaseException:
                stream.writer.close()
                raise
    except (OSError, EOFError, TimeoutError, FrameError) as error:
        raise StageLost(f"no connection: {type(error).__name__}: {error}") from error
    _notice_dead_nodes(stream)
    return stream


class Listener:
    """The sockets of one actor. `greet` is run for every peer that proved that it belongs."""

    def __init__(self, me: Hello, greet: Callable[[str, Stream], Awaitable[None]]) -> None:
        self._me = me
        self._greet = greet
        self._servers: list[asyncio.Server] = []
        self._peers: set[asyncio.Task[None]] = set()
        self._path: Path | None = None

    async def listen(self, path: Path, host: str | None) -> int:
        """Listen at `path`, and on a free TCP port of `host` if given; returns that port, or 0."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._servers.append(
            await asyncio.start_unix_server(self._serve, path, limit=_BUFFER_BYTES)
        )
        if host is None:
            return 0
        server = await asyncio.start_server(self._serve, host, 0, limit=_BUFFER_BYTES)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for peer in self._peers:
            peer.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)
        if self._path:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others listen in the same folder
                self._path.parent.rmdir()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = asyncio.create_task(self._admit(Stream(reader, writer)), name="link-peer")
        self._peers.add(peer)
        peer.add_done_callback(self._peers.discard)

    async def _admit(self, stream: Stream) -> None:
        with contextlib.closing(stream.writer):
            try:
                async with asyncio.timeout(HELLO_TIMEOUT_S):
                    sender = await _expect_hello(stream, self._me.token)
            except (OSError, EOFError, TimeoutError, FrameError) as error:
                log.warning("peer refused: %s", type(error).__name__)
                return
            stream.writer.write(encode(self._me))
            _notice_dead_nodes(stream)
            await self._greet(sender, stream)


async def _expect_hello(stream: Stream, token: str) -> str:
    """The name of the peer. Raises FrameError if it is none of ours."""
    hello, _ = await read(stream.reader, max_bytes=_HELLO_BYTES)
    if not isinstance(hello, Hello) or not hmac.compare_digest(
        hello.token.encode(), token.encode()
    ):
        raise FrameError("the peer does not know the token")
    if hello.schema != SCHEMA:
        raise FrameError(f"{hello.sender} runs another version of omni")
    return hello.sender


def _notice_dead_nodes(stream: Stream) -> None:
    """A node that loses power closes nothing: have the kernel ask, and give up after some 5 s."""
    connection = stream.writer.get_extra_info("socket")
    if connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP_OPTIONS.items():
        if hasattr(socket, option):  # not every system has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
