"""What happens at MCP servers, as a part of a session's event stream."""

from dataclasses import dataclass
from typing import Literal

State = Literal["in_progress", "completed", "failed"]


@dataclass(frozen=True, slots=True, eq=False)
class ToolListing:
    """A server's tools are asked for; `item_id`: the item that will hold them."""

    item_id: str
    state: State


@dataclass(frozen=True, slots=True, eq=False)
class ToolProgress:
    """A tool runs at a server. `index`: its item's place among those of its reply."""

    item_id: str
    index: int
    state: State
