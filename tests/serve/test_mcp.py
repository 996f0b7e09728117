"""MCP servers for real: the mcp package serves them here, over HTTP, and a stock client talks."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from omni.chat import Tool
from omni.config_tools import ToolsConfig
from omni.errands import ListTools, McpServer, Result, RunTool, ToolRan, ToolsListed
from omni.serve.errands import Errands, is_allowed
from tests.mcp_shop import shop_open
from tests.serve.conftest import Live, living


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """The events up to one of a kind."""
    events = []
    async for event in connection:
        assert event.type != "error", event
        events.append(event)
        if event.type == kind:
            return events
    raise AssertionError(f"the connection closed before {kind}")


HEADERS_SEEN: list[dict[str, str]] = []


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An MCP server's address."""
    with shop_open(HEADERS_SEEN.append) as address:
        yield address


async def done(errand: ListTools | RunTool, allowed: str, **config: Any) -> Result:
    """What comes of an errand."""
    result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    errands = Errands(ToolsConfig(mcp_servers=(allowed,), **config))
    errands.start(errand, result.set_result)
    return await asyncio.wait_for(result, 100)


def running(url: str, name: str, arguments: str = "{}") -> RunTool:
    tool = Tool(name, "", remote_name=name, server="shop")
    return RunTool("i", McpServer("shop", url), tool, arguments)


async def test_a_real_servers_tools_are_listed_and_run(url: str) -> None:
    server = McpServer("shop", url, (("Authorization", "Bearer secret"),))
    listed = await done(ListTools("i", server), url)
    assert isinstance(listed, ToolsListed)
    assert [(tool.name, tool.is_read_only) for tool in listed.tools] == [
        ("price", True),
        ("fail", False),
        ("slow", False),
    ]
    assert '"item"' in listed.tools[0].parameters
    assert HEADERS_SEEN[-1]["authorization"] == "Bearer secret"
    ran = await done(running(url, "price", '{"item": "tea"}'), url)
    assert isinstance(ran, ToolRan)
    assert (ran.output, ran.error) == ("tea costs 3 euros", None)


async def test_a_long_answer_is_cut(url: str) -> None:
    ran = await done(running(url, "price", '{"item": "tea"}'), url, max_output_chars=3)
    assert isinstance(ran, ToolRan)
    assert ran.output == "tea"


@pytest.mark.parametrize(
    ("name", "limit_s", "kind", "message"),
    [
        ("fail", 60, "tool_execution_error", "out of order"),
        ("slow", 1, "http_error", "in time"),
    ],
)
async def test_what_fails_at_the_server_says_so(
    url: str, name: str, limit_s: float, kind: str, message: str
) -> None:
    ran = await done(running(url, name), url, call_timeout_s=limit_s)
    assert isinstance(ran, ToolRan)
    assert ran.error is not None
    assert ran.error.kind == kind
    assert message in ran.error.message


async def test_nobody_else_is_spoken_to(url: str) -> None:
    num_before = len(HEADERS_SEEN)
    ran = await done(running(url, "price", '{"item": "tea"}'), "http://elsewhere.example/mcp")
    assert ran.error is not None
    assert ran.error.code == 403
    assert len(HEADERS_SEEN) == num_before


@pytest.mark.parametrize(
    ("wanted", "pattern", "is_good"),
    [
        ("https://a.example/mcp", "https://a.example/mcp", True),
        ("https://A.example:443/mcp", "https://a.example/mcp", True),
        ("https://a.example/mcp/x?y=1", "https://a.example/*", True),
        ("https://a.example/mcp/x", "https://a.example/mcp", False),
        ("http://a.example/mcp", "https://a.example/mcp", False),
        ("https://a.example:444/mcp", "https://a.example/*", False),
        ("https://a.example.evil.example/mcp", "https://a.example/*", False),
        ("https://a.example@evil.example/mcp", "https://a.example/*", False),
        ("https://user@a.example/mcp", "https://a.example/*", False),
        ("https://a.example/safe/../admin", "https://a.example/safe/*", False),
        ("http://169.254.169.254/latest", "https://a.example/*", False),
        ("file:///etc/passwd", "file:///*", False),
        ("https://a.example:x/", "https://a.example/*", False),
        ("", "https://a.example/*", False),
    ],
)
def test_which_servers_may_be_used(wanted: str, pattern: str, is_good: bool) -> None:
    assert is_allowed(wanted, [pattern]) is is_good


@pytest.fixture(scope="module")
def shop(url: str) -> Iterator[Live]:
    """Our server, whose operator allows that one."""
    with living([f"tools.mcp_servers=['{url}']"], None) as server:
        yield server


async def test_a_stock_client_has_a_servers_tool_called_and_told(shop: Live, url: str) -> None:
    tool = {
        "type": "mcp",
        "server_label": "shop",
        "server_url": url,
        "require_approval": "never",
        "allowed_tools": ["price"],
    }
    part = {"type": "input_text", "text": "What is the price of tea?"}
    item: Any = {"type": "message", "role": "user", "content": [part]}
    async with (
        AsyncOpenAI(api_key="none", base_url=f"{shop.url}/v1") as client,
        client.realtime.connect(model="omni-stub") as connection,
    ):
        session: Any = {"type": "realtime", "output_modalities": ["text"], "tools": [tool]}
        await connection.session.update(session=session)
        events = await until(connection, "mcp_list_tools.completed")
        listed = next(e.item for e in events if e.type == "conversation.item.done")
        assert [tool.name for tool in listed.tools] == ["price"]
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        events = await until(connection, "response.mcp_call.completed")
        assert "response.mcp_call_arguments.done" in [event.type for event in events]
        events = await until(connection, "response.done")  # asked for by nobody
    call = next(e.item for e in events if e.type == "conversation.item.done")
    assert call.output == "What is the price of tea? costs 3 euros"
    assert events[-1].response.output[0].content[0].text == f"You said {call.output}."


async def test_a_server_that_is_not_allowed_is_an_error_and_the_session_goes_on(live: Live) -> None:
    tool = {"type": "mcp", "server_label": "shop", "server_url": "http://127.0.0.1:9/mcp"}
    async with (
        AsyncOpenAI(api_key="none", base_url=f"{live.url}/v1") as client,
        client.realtime.connect(model="omni-stub") as connection,
    ):
        session: Any = {"type": "realtime", "output_modalities": ["text"], "tools": [tool]}
        await connection.session.update(session=session)
        await until(connection, "mcp_list_tools.failed")
        error = await anext(aiter(connection))
        assert (error.type, error.error.code) == ("error", "mcp_list_tools_failed")
        await connection.response.create()
        events = await until(connection, "response.done")
        assert events[-1].response.status == "completed"
