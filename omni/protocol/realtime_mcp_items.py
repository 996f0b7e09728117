"""Items about MCP servers between the internal form and the Realtime protocol's."""

import json

from omni.chat import Tool
from omni.errands import ErrandError
from omni.events import Item, Mcp
from omni.protocol.realtime_item_wire import (
    ListedTool,
    McpApprovalRequestItem,
    McpApprovalResponseItem,
    McpCallItem,
    McpError,
    McpListToolsItem,
)

McpItem = McpListToolsItem | McpCallItem | McpApprovalRequestItem | McpApprovalResponseItem


def to_mcp_item(item: Item, mcp: Mcp) -> McpItem:
    """An item of an MCP kind as clients see it."""
    name, arguments = item.tool_name or "", item.arguments or ""
    match item.kind:
        case "mcp_list_tools":
            tools = tuple(_listed(tool) for tool in mcp.tools)
            return McpListToolsItem(id=item.item_id, server_label=mcp.server, tools=tools)
        case "mcp_approval_request":
            return McpApprovalRequestItem(
                id=item.item_id, server_label=mcp.server, name=name, arguments=arguments
            )
        case "mcp_approval_response":
            return McpApprovalResponseItem(
                id=item.item_id,
                approval_request_id=mcp.approval_id or "",
                approve=mcp.is_approved,
                **({"reason": mcp.reason} if mcp.reason else {}),
            )
    optional = {
        "approval_request_id": mcp.approval_id,
        "error": _to_error(mcp.error) if mcp.error else None,
    }
    return McpCallItem(
        id=item.item_id,
        server_label=mcp.server,
        name=name,
        arguments=arguments,
        output=item.output,  # always there: agents-realtime breaks without it
        **{key: value for key, value in optional.items() if value is not None},
    )


def from_mcp_item(wire: McpItem, item_id: str) -> Item:
    """An item of an MCP kind as a client made it."""
    match wire:
        case McpApprovalResponseItem():
            mcp = Mcp("", (), wire.approval_request_id, wire.approve, wire.reason)
            return Item(item_id, "mcp_approval_response", mcp=mcp)
        case McpApprovalRequestItem() | McpCallItem():
            output = wire.output if isinstance(wire, McpCallItem) else None
            return Item(
                item_id,
                wire.type,
                tool_name=wire.name,
                arguments=wire.arguments,
                output=output,
                mcp=Mcp(wire.server_label),
            )
        case McpListToolsItem():
            return Item(item_id, "mcp_list_tools", mcp=Mcp(wire.server_label))


def _listed(tool: Tool) -> ListedTool:
    listed = ListedTool(
        name=tool.remote_name,
        description=tool.description,
        input_schema=json.loads(tool.parameters),
    )
    if not tool.is_read_only:
        return listed
    return listed.model_copy(update={"annotations": {"readOnlyHint": True}})


def _to_error(error: ErrandError) -> McpError:
    if error.kind == "tool_execution_error":
        return McpError(type=error.kind, message=error.message)
    return McpError(type=error.kind, code=error.code, message=error.message)
