"""Tools and the choice among them, between the Realtime protocol and the session's own terms.

Law: what is echoed to a client never holds the secrets it gave for an MCP server.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from omni.chat import Tool
from omni.dialog.tools import ToolChoice, ToolOptions, check_tools
from omni.protocol.realtime_wire import Wire

NO_PARAMETERS: Final = {"type": "object", "properties": {}}


class FunctionTool(Wire):
    type: Literal["function"] = "function"
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


WireTool = FunctionTool


class NamedFunction(Wire):
    type: Literal["function"]
    name: str


WireChoice = Literal["auto", "none", "required"] | NamedFunction


def tool_options(
    tools: Sequence[WireTool], choice: WireChoice, param: str = "session.tools"
) -> ToolOptions:
    """Raises: ProtocolError: a tool that cannot be offered; names the field."""
    offered = tuple(
        Tool(tool.name, tool.description or "", json.dumps(tool.parameters or NO_PARAMETERS))
        for tool in tools
    )
    check_tools(offered, param)
    return ToolOptions(offered, from_choice(choice))


def from_choice(choice: WireChoice) -> ToolChoice:
    if isinstance(choice, NamedFunction):
        return ToolChoice("required", choice.name)
    return ToolChoice(choice)
