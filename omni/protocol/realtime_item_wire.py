"""Conversation items as the Realtime protocol writes them, in both directions.

Source: openai-python 3.54, types/realtime.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from omni.protocol.realtime_wire import Wire

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class Content(Wire):
    """A part of a message; which fields it has depends on its type."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | None = None
    transcript: str | None = None
    audio: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class MessageItem(Wire):
    type: Literal["message"] = "message"
    id: str | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus | None = None
    role: Literal["system", "user", "assistant"]
    content: list[Content]


class FunctionCallItem(Wire):
    type: Literal["function_call"] = "function_call"
    id: str | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus | None = None
    call_id: str | None = None
    name: str
    arguments: str


class FunctionCallOutputItem(Wire):
    type: Literal["function_call_output"] = "function_call_output"
    id: str | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus | None = None
    call_id: str
    output: str


class ListedTool(Wire):
    name: str
    description: str | None = None
    input_schema: Any
    annotations: Any = None


class McpListToolsItem(Wire):
    type: Literal["mcp_list_tools"] = "mcp_list_tools"
    id: str | None = None
    server_label: str
    tools: tuple[ListedTool, ...] = ()


class McpError(Wire):
    """`code` is missing for an error of the tool itself."""

    type: Literal["protocol_error", "tool_execution_error", "http_error"]
    code: int | None = None
    message: str


class McpCallItem(Wire):
    type: Literal["mcp_call"] = "mcp_call"
    id: str | None = None
    server_label: str
    name: str
    arguments: str
    approval_request_id: str | None = None
    output: str | None = None
    error: McpError | None = None


class McpApprovalRequestItem(Wire):
    type: Literal["mcp_approval_request"] = "mcp_approval_request"
    id: str | None = None
    server_label: str
    name: str
    arguments: str


class McpApprovalResponseItem(Wire):
    type: Literal["mcp_approval_response"] = "mcp_approval_response"
    id: str | None = None
    approval_request_id: str
    approve: bool
    reason: str | None = None


WireItem = Annotated[
    MessageItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | McpListToolsItem
    | McpCallItem
    | McpApprovalRequestItem
    | McpApprovalResponseItem,
    Field(discriminator="type"),
]
