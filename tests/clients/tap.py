"""A wire between a client and the server: passes every websocket message on, and keeps them all.

Stands outside both, so that what is checked is what the client really got.
"""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Connection = ClientConnection | ServerConnection
PASSED_ON = ("authorization", "origin", "user-agent")
NEVER_SENT = (1005, 1006, 1015)  # they stand for a close without a code


class Tap:
    """`told`: the server's events, oldest first; `asked`: the client's; `closes`: close codes."""

    def __init__(self, target: str) -> None:
        self._target = target.replace("http", "ws", 1)
        self._server: Server | None = None
        self.closes: list[int | None] = []
        self._passed: list[tuple[str, dict[str, Any]]] = []

    @property
    def told(self) -> list[dict[str, Any]]:
        return [event for way, event in self._passed if way == "<"]

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [event for way, event in self._passed if way == ">"]

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, to be called instead of the server's."""
        assert self._server
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def account(self) -> str:
        """Both sides, one event a line, for whoever reads of a failed test."""
        kept = [(w, e) for w, e in self._passed if not e["type"].endswith((".append", ".delta"))]
        return "\n".join(f"{way} {json.dumps(event)[:300]}" for way, event in kept)

    def told_types(self) -> list[str]:
        return [event["type"] for event in self.told]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The server's events of that type."""
        return [event for event in self.told if event["type"] == kind]

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
            max_size=None,
            compression=None,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, client: ServerConnection) -> None:
        assert client.request
        headers = [(n, v) for n, v in client.request.headers.raw_items() if n.lower() in PASSED_ON]
        offered = client.request.headers.get_all("Sec-WebSocket-Protocol")
        async with connect(
            self._target + client.request.path,
            additional_headers=headers,
            user_agent_header=None,
            subprotocols=[p.strip() for line in offered for p in line.split(",")] or None,
            max_size=None,
            compression=None,
        ) as server:
            ways = (
                asyncio.create_task(self._pass(client, server, ">")),
                asyncio.create_task(self._pass(server, client, "<")),
            )
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.closes.append(client.close_code or server.close_code)

    async def _pass(self, source: Connection, sink: Connection, way: str) -> None:
        try:
            async for message in source:
                self._passed.append((way, json.loads(message)))
                await sink.send(message)
        except ConnectionClosed:
            pass
        code = source.close_code
        await sink.close(code if code and code not in NEVER_SENT else 1000)
