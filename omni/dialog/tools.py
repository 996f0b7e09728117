"""What tools a reply may call, and what a call that the core wrote means.

Law: a call that leaves here names a tool of the box and fits its schema; anything else is a fault
that says, in words for the model, what was wrong.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from omni.chat import Tool
from omni.dialog.tool_arguments import check_schema, complaint, fit, parse_object, plain_name
from omni.errands import McpServer
from omni.errors import ProtocolError

MAX_TOOLS: Final = 128
MAX_SCHEMA_CHARS: Final = 32_000
OPENING: Final = '<tool_call>\n{"name": "'


@dataclass(frozen=True, slots=True, eq=False)
class ToolChoice:
    """Whether a reply calls a tool. `required` with a name, or an MCP server's label: that one, or
    one of that server's; else any."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str = ""
    server: str = ""


AUTO: Final = ToolChoice()


@dataclass(frozen=True, slots=True, eq=False)
class ToolOptions:
    """The tools of a session or a reply, and the client's choice among them.

    `servers`: MCP servers whose tools are offered too, once they are known. `is_filled`: something
    is said while a tool of the client's runs, as it always is for a server's.
    """

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = AUTO
    servers: tuple[McpServer, ...] = ()
    is_filled: bool = False

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools the core is told of."""
        if self.choice.mode == "none":
            return ()
        of_server = tuple(tool for tool in self.tools if tool.server == self.choice.server)
        return of_server if self.choice.server and of_server else self.tools

    @property
    def num_chars(self) -> int:
        """About what the core is told of them."""
        return sum(len(t.parameters) + len(t.description) + 100 for t in self.offered)

    @property
    def opening(self) -> str:
        """What a reply that must call a tool begins with, so that it can but call one."""
        tools, wanted = self.offered, self.choice.name
        if self.choice.mode != "required" or not tools:
            return ""
        if wanted:
            tools = tuple(t for t in tools if wanted in (t.name, t.remote_name))
        if not tools:
            return ""
        named = tools[0].name if len(tools) == 1 else ""
        return f'{OPENING}{named}", "arguments": {{' if named else OPENING


NO_TOOLS: Final = ToolOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call to be made; `arguments` is a JSON object's text that fits the tool's schema."""

    tool: Tool
    arguments: str


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """Why a call cannot be made, in words for the model; `is_unreadable`: it is not even a call."""

    message: str
    is_unreadable: bool = False


UNREADABLE: Final = Fault(
    'A call is {"name": <function-name>, "arguments": <args-json-object>}.', is_unreadable=True
)


class Toolbox:
    """Args:
    tools: those that may be called.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def read(self, text: str) -> Call | Fault:
        """A call from what the core wrote of it."""
        written = parse_object(text)
        name, arguments = _parts(written) if written else (None, None)
        if name is None:
            return UNREADABLE
        tool = self._find(name)
        if tool is None:
            return Fault(f"There is no function {name}. There are: {', '.join(self._tools)}.")
        if isinstance(arguments, str):
            arguments = parse_object(arguments)
        if not isinstance(arguments, dict):
            return Fault(f"The arguments of {tool.name} are a JSON object.")
        schema = json.loads(tool.parameters)
        fitted = fit(arguments, schema)
        if fault := complaint(fitted, schema):
            return Fault(f"The arguments of {tool.name} are wrong: {fault}.")
        return Call(tool, json.dumps(fitted, ensure_ascii=False))

    def _find(self, name: str) -> Tool | None:
        if name in self._tools:
            return self._tools[name]
        alike = [t for t in self._tools.values() if plain_name(t.name) == plain_name(name)]
        return alike[0] if len(alike) == 1 else None


def is_usable(tool: Tool) -> bool:
    """Whether a tool that somebody else lists can be offered."""
    is_named = bool(tool.name) and len(tool.parameters) <= MAX_SCHEMA_CHARS
    return is_named and check_schema(tool.parameters) is None


def check_tools(tools: Sequence[Tool], param: str) -> None:
    """Raises ProtocolError, naming the field, for tools that cannot be offered."""
    if len(tools) > MAX_TOOLS:
        raise ProtocolError(f"Invalid value for '{param}': at most {MAX_TOOLS} tools.", param=param)
    names: set[str] = set()
    for index, tool in enumerate(tools):
        where = f"{param}.{index}"
        if not tool.name or tool.name in names:
            fault = "is missing" if not tool.name else f"{tool.name} is there twice"
            raise ProtocolError(f"Invalid value for '{where}.name': it {fault}.",
                                param=f"{where}.name")  # fmt: skip
        names.add(tool.name)
        if len(tool.parameters) > MAX_SCHEMA_CHARS:
            fault = f"more than {MAX_SCHEMA_CHARS} characters"
        else:
            fault = check_schema(tool.parameters) or ""
        if fault:
            raise ProtocolError(f"Invalid value for '{where}.parameters': {fault}.",
                                param=f"{where}.parameters")  # fmt: skip


def _parts(written: dict[str, Any]) -> tuple[str | None, Any]:
    """Name and arguments, in whichever form the model put them."""
    inner = written.get("function")
    if isinstance(inner, dict):
        written = inner
    name = written.get("name") or inner
    if not isinstance(name, str):
        return None, None
    for key in ("arguments", "parameters", "args", "input"):
        if key in written:
            return name, written[key]
    rest = {k: v for k, v in written.items() if k not in ("name", "function", "type", "id")}
    return name, rest
