"""What a session wants done outside, at MCP servers, and what came of it. Plain values.

Law: what a client gave to prove itself to a server is never printed.
"""

from dataclasses import dataclass, field
from typing import Literal

from omni.chat import Tool


@dataclass(frozen=True, slots=True, eq=False)
class ToolFilter:
    """Picks tools by name, by whether they only read, or both; None asks for nothing."""

    names: frozenset[str] | None = None
    is_read_only: bool | None = None

    def takes(self, tool: Tool) -> bool:
        if self.names is not None and tool.remote_name not in self.names:
            return False
        return self.is_read_only in (None, tool.is_read_only)


@dataclass(frozen=True, slots=True, eq=False)
class Approval:
    """Which tools run only with the client's leave; `is_default` is for those of neither filter."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None
    is_default: bool = True

    def is_needed(self, tool: Tool) -> bool:
        if self.never and self.never.takes(tool):
            return False
        return self.is_default or bool(self.always and self.always.takes(tool))


ALWAYS = Approval()


@dataclass(frozen=True, slots=True, eq=False)
class McpServer:
    """A server that a client wants used. `headers` may hold secrets."""

    label: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    allowed: ToolFilter = ToolFilter()
    approval: Approval = ALWAYS


@dataclass(frozen=True, slots=True, eq=False)
class ErrandError:
    """`code`: the HTTP status or the protocol's own code, where there is one."""

    kind: Literal["protocol_error", "tool_execution_error", "http_error"]
    message: str
    code: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ListTools:
    """Ask a server what it has. `item_id`: the item that tells of it."""

    item_id: str
    server: McpServer


@dataclass(frozen=True, slots=True, eq=False)
class RunTool:
    """Have a server run a tool; `arguments` is a JSON object's text."""

    item_id: str
    server: McpServer
    tool: Tool
    arguments: str


Errand = ListTools | RunTool


@dataclass(frozen=True, slots=True, eq=False)
class ToolsListed:
    """What a server has, or why it is not known. A tool's `name` is still the server's own."""

    item_id: str
    tools: tuple[Tool, ...] = ()
    error: ErrandError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ToolRan:
    """What a tool answered, or why it did not."""

    item_id: str
    output: str = ""
    error: ErrandError | None = None


Result = ToolsListed | ToolRan
