"""A small MCP server for tests: the mcp package serves it here, over HTTP."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from starlette.requests import Request


@contextmanager
def shop_open(see: Callable[[dict[str, str]], None] = lambda headers: None) -> Iterator[str]:
    """The server's address; `see` gets every request's headers."""
    app = _make_server().streamable_http_app(stateless_http=True)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            see(dict(Request(scope).headers))
        await app(scope, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(watched, log_level="error"))
        thread = threading.Thread(target=lambda: server.run([listener]), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{port}/mcp"
        server.should_exit = True
        thread.join(60)


def _make_server() -> MCPServer:
    server = MCPServer("shop")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def price(item: str) -> str:
        """The price of an item."""
        return f"{item} costs 3 euros"

    @server.tool()
    def fail() -> str:
        """Never works."""
        raise ToolError("out of order")

    @server.tool()
    async def slow() -> str:
        """Takes too long."""
        await asyncio.sleep(120)
        return "late"

    return server
