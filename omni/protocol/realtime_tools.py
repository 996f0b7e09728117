"""Tools and the choice among them, between the Realtime protocol and the session's own terms.

Law: what is echoed to a client never holds the secrets it gave for an MCP server.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from omni.chat import Tool
from omni.dialog.tools import ToolChoice, ToolOptions, check_tools
from omni.errands import Approval, McpServer, ToolFilter
from omni.errors import ProtocolError
from omni.protocol.realtime_wire import Wire

NO_PARAMETERS: Final = {"type": "object", "properties": {}}
OWN_HEADERS: Final = ("host", "content-length", "connection", "transfer-encoding", "mcp-session-id")
MAX_SERVERS: Final = 8


class FunctionTool(Wire):
    type: Literal["function"] = "function"
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class WireFilter(Wire):
    tool_names: list[str] | None = None
    read_only: bool | None = None


class WireApproval(Wire):
    always: WireFilter | None = None
    never: WireFilter | None = None


class McpTool(Wire):
    type: Literal["mcp"] = "mcp"
    server_label: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    server_url: str | None = None
    server_description: str | None = None
    connector_id: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: list[str] | WireFilter | None = None
    require_approval: Literal["always", "never"] | WireApproval | None = None


WireTool = Annotated[FunctionTool | McpTool, Field(discriminator="type")]


class NamedFunction(Wire):
    type: Literal["function"]
    name: str


class NamedServer(Wire):
    type: Literal["mcp"]
    server_label: str
    name: str | None = None


WireChoice = (
    Literal["auto", "none", "required"]
    | Annotated[NamedFunction | NamedServer, Field(discriminator="type")]
)


def tool_options(
    tools: Sequence[WireTool], choice: WireChoice, param: str = "session.tools"
) -> ToolOptions:
    """Raises: ProtocolError: a tool that cannot be offered; names the field."""
    functions = tuple(
        Tool(tool.name, tool.description or "", json.dumps(tool.parameters or NO_PARAMETERS))
        for tool in tools
        if isinstance(tool, FunctionTool)
    )
    check_tools(functions, param)
    servers: dict[str, McpServer] = {}
    for index, tool in enumerate(tools):
        if isinstance(tool, McpTool):
            if tool.server_label in servers or len(servers) == MAX_SERVERS:
                fault = f"one entry a server, and at most {MAX_SERVERS}"
                where = f"{param}.{index}.server_label"
                raise ProtocolError(f"Invalid value for '{where}': {fault}.", param=where)
            servers[tool.server_label] = _server(tool)
    return ToolOptions(functions, from_choice(choice), tuple(servers.values()))


def from_choice(choice: WireChoice) -> ToolChoice:
    match choice:
        case NamedFunction():
            return ToolChoice("required", choice.name)
        case NamedServer():
            return ToolChoice("required", choice.name or "", choice.server_label)
        case _:
            return ToolChoice(choice)


def told(tool: WireTool) -> WireTool:
    """A tool as its client is told of it again."""
    if isinstance(tool, FunctionTool):
        return tool
    kept = tool.model_dump(exclude={"authorization", "headers"}, exclude_none=True)
    return McpTool.model_validate(kept)


def _server(tool: McpTool) -> McpServer:
    headers = {k: v for k, v in (tool.headers or {}).items() if k.lower() not in OWN_HEADERS}
    if tool.authorization:
        headers["Authorization"] = f"Bearer {tool.authorization}"
    allowed = tool.allowed_tools
    if isinstance(allowed, list):
        allowed = WireFilter(tool_names=allowed)
    return McpServer(
        tool.server_label,
        tool.server_url or "",
        tuple(sorted(headers.items())),
        _filter(allowed) if allowed else ToolFilter(),
        _approval(tool.require_approval),
    )


def _filter(wire: WireFilter) -> ToolFilter:
    names = None if wire.tool_names is None else frozenset(wire.tool_names)
    return ToolFilter(names, wire.read_only)


def _approval(wire: Literal["always", "never"] | WireApproval | None) -> Approval:
    if not isinstance(wire, WireApproval):
        return Approval(is_default=wire != "never")
    approval = Approval(is_default=wire.always is None)
    if wire.always:
        approval = replace(approval, always=_filter(wire.always))
    return replace(approval, never=_filter(wire.never)) if wire.never else approval
