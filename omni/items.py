"""What a conversation consists of: items, and the parts of messages.

They are the Realtime protocol's, so that its view is a plain mapping.
"""

from dataclasses import dataclass
from typing import Literal

from omni.chat import Tool
from omni.errands import ErrandError
from omni.types import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A piece of a message: `text` is the words, or the transcript of its sound, of which `samples`
    (float32 [n] at 16 kHz) are kept until the words are known."""

    kind: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | None = None
    image: bytes | None = None
    audio_ms: int = 0
    samples: Samples | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Mcp:
    """What an item about an MCP server has beside an item's common fields.

    `tools`: as the server lists them. `reason`: why a call was not approved. `approval_id`: the
    request for approval that this answers, or that led to this call.
    """

    server: str
    tools: tuple[Tool, ...] = ()
    approval_id: str | None = None
    is_approved: bool = False
    reason: str | None = None
    error: ErrandError | None = None


ItemKind = Literal[
    "message", "function_call", "function_call_output", "mcp_list_tools", "mcp_call",
    "mcp_approval_request", "mcp_approval_response", "mcp_output",
]  # fmt: skip
"""`mcp_output` is what an MCP call came to, at its place in time; clients see it in the call."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A conversation item: a message, a call of a tool, or what the tool answered."""

    item_id: str
    kind: ItemKind
    role: Literal["system", "user", "assistant"] | None = None
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    parts: tuple[Part, ...] = ()
    call_id: str | None = None
    tool_name: str | None = None
    arguments: str | None = None
    output: str | None = None
    mcp: Mcp | None = None

    @property
    def text(self) -> str:
        """All words of the item."""
        return " ".join(part.text for part in self.parts if part.text)
