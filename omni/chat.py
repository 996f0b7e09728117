"""What a prompt is made of: messages, and the tools that a reply may call."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function that the core may call. `parameters`: its JSON schema, as text. `server`: the
    label of the MCP server that runs it, and there it is called `remote_name`; else the client
    does."""

    name: str
    description: str
    parameters: str = "{}"
    server: str = ""
    remote_name: str = ""
    is_read_only: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ToolCall:
    """A call that was made; `arguments` is a JSON object's text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message of the prompt, in the chat template's terms. `calls`: what an assistant called
    after its words; `call_id`: which call a tool answers."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
