"""What a session wants done at MCP servers, done on the event loop.

Hides the MCP client. Laws: only servers that the operator has named are spoken to, without
following them elsewhere; every errand ends, with a result that never says more than it must.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as ListedTool
from pydantic import ValidationError

from omni.chat import Tool
from omni.config_tools import ToolsConfig
from omni.dialog.tools import MAX_TOOLS, is_usable
from omni.errands import (
    Errand,
    ErrandError,
    ListTools,
    McpServer,
    Result,
    RunTool,
    ToolRan,
    ToolsListed,
)

log = logging.getLogger(__name__)

MAX_PAGES: Final = 8
OnResult = Callable[[Result], None]


class Errands:
    """The errands of one conversation.

    Args:
        config: which servers may be spoken to, and for how long.
    """

    def __init__(self, config: ToolsConfig) -> None:
        self._config = config
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, errand: Errand, on_result: OnResult) -> None:
        """Do it; `on_result` is called once, on the event loop, unless `close` comes first."""
        task = asyncio.create_task(self._do(errand, on_result), name="errand")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Give up all that is under way."""
        for task in self._tasks:
            task.cancel()

    async def _do(self, errand: Errand, on_result: OnResult) -> None:
        try:
            result = await self._attempt(errand)
        except asyncio.CancelledError:
            raise
        except BaseExceptionGroup as group:
            result = _failed(errand, _cause(group))
        except Exception as error:
            result = _failed(errand, error)
        on_result(result)

    async def _attempt(self, errand: Errand) -> Result:
        if not is_allowed(errand.server.url, self._config.mcp_servers):
            raise PermissionError
        is_listing = isinstance(errand, ListTools)
        limit_s = self._config.list_timeout_s if is_listing else self._config.call_timeout_s
        async with asyncio.timeout(limit_s), _http(errand.server, limit_s) as http:
            transport = streamable_http_client(errand.server.url, http_client=http)
            async with Client(transport, read_timeout_seconds=limit_s) as client:
                if isinstance(errand, ListTools):
                    listed = [tool async for tool in _listed(client)]
                    usable = await asyncio.to_thread(_usable, listed)
                    return ToolsListed(errand.item_id, usable)
                return await self._run(errand, client)

    async def _run(self, errand: RunTool, client: Client) -> ToolRan:
        given: dict[str, Any] = json.loads(errand.arguments)
        answer = await client.call_tool(errand.tool.remote_name, given)
        text = _text(answer)[: self._config.max_output_chars]
        if answer.is_error:
            return ToolRan(errand.item_id, error=ErrandError("tool_execution_error", text))
        return ToolRan(errand.item_id, text)


def is_allowed(url: str, allowed: Iterable[str]) -> bool:
    """Whether the operator has named the server: exactly, or by a beginning that ends in `*`."""
    try:
        wanted = _place(url)
        if "@" in urlsplit(url).netloc or ".." in wanted[3]:
            return False
        for pattern in allowed:
            named = _place(pattern.removesuffix("*"))
            is_there = wanted[3].startswith(named[3]) if pattern.endswith("*") else wanted == named
            if wanted[:3] == named[:3] and is_there:
                return True
    except ValueError:
        return False
    return False


def _place(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and the rest. Raises: ValueError: no address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{parts.scheme} is no scheme of a server's")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    query = f"?{parts.query}" if parts.query else ""
    return parts.scheme, parts.hostname.lower(), port, f"{parts.path.rstrip()}{query}"


def _http(server: McpServer, limit_s: float) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        headers=dict(server.headers), timeout=limit_s, follow_redirects=False, trust_env=False
    )


async def _listed(client: Client) -> Any:
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield _tool(tool)
        cursor = page.next_cursor
        if cursor is None:
            return


def _usable(tools: list[Tool]) -> tuple[Tool, ...]:
    """Schemas take milliseconds to check: on a thread, for others talk meanwhile."""
    return tuple(tool for tool in tools[:MAX_TOOLS] if is_usable(tool))


def _tool(tool: ListedTool) -> Tool:
    is_read_only = bool(tool.annotations and tool.annotations.read_only_hint)
    schema = json.dumps(tool.input_schema)
    return Tool(tool.name, tool.description or "", schema, is_read_only=is_read_only)


def _text(answer: CallToolResult) -> str:
    parts = [
        part.text if isinstance(part, TextContent) else f"[{part.type}]" for part in answer.content
    ]
    if not parts and answer.structured_content is not None:
        return json.dumps(answer.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def _cause(error: BaseException) -> BaseException:
    """The first real error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _failed(errand: Errand, error: BaseException) -> Result:
    fault = _describe(error)
    log.info("an errand failed", extra={"server": errand.server.label, "fault": fault.kind})
    if isinstance(errand, ListTools):
        return ToolsListed(errand.item_id, error=fault)
    return ToolRan(errand.item_id, error=fault)


def _describe(error: BaseException) -> ErrandError:
    match error:
        case PermissionError():
            return ErrandError("http_error", "this server does not let its clients use it", 403)
        case TimeoutError() | httpx2.TimeoutException():
            return ErrandError("http_error", "it did not answer in time", 504)
        case MCPError():
            return ErrandError("protocol_error", error.message[:300], error.code)
        case httpx2.HTTPStatusError():
            status = error.response.status_code
            return ErrandError("http_error", f"it answered with status {status}", status)
        case httpx2.HTTPError():
            return ErrandError("http_error", "it cannot be reached", 502)
        case ValidationError():
            return ErrandError("protocol_error", "it sent what is not MCP", -32600)
        case _:
            return ErrandError("protocol_error", "the server could not be used", -32603)
