"""MCP servers of one conversation: their tools, calls that run there, and what came of them.

Laws: a call runs only where the client has allowed it; whatever a server does, the conversation
goes on; what a tool answered is told once, when nobody speaks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from omni.chat import Tool
from omni.config_tools import ToolsConfig
from omni.dialog.history import History
from omni.dialog.outbox import Outbox
from omni.dialog.tools import MAX_TOOLS, ToolOptions
from omni.errands import ErrandError, ListTools, McpServer, Result, RunTool, ToolRan, ToolsListed
from omni.errors import ProtocolError
from omni.events import Failed, Item, ItemAdded, ItemDone, Mcp
from omni.tool_events import ToolListing, ToolProgress

_DENIED: Final = "The user did not allow this call."


@dataclass(slots=True, eq=False)
class _Server:
    """`tools`: None until they are known."""

    server: McpServer
    item_id: str
    tools: tuple[Tool, ...] | None = None

    @property
    def allowed(self) -> tuple[Tool, ...]:
        return tuple(tool for tool in self.tools or () if self.server.allowed.takes(tool))


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a call stands: which reply made it, and the how manieth of its items it is."""

    response_id: str
    index: int = 0


class RemoteTools:
    """Args:
    outbox: where events and errands go.
    history: gets the items.
    config: how many calls may run at once.
    """

    def __init__(self, outbox: Outbox, history: History, config: ToolsConfig) -> None:
        self._out = outbox
        self._history = history
        self._max_calls = config.max_calls
        self._servers: dict[str, _Server] = {}
        self._running: dict[str, Place] = {}  # by item
        self._own: set[str] = set()  # calls that the client runs, and wants the wait filled of
        self._asked: dict[str, tuple[Tool, Item]] = {}  # requests for approval, by item
        self.num_results = 0  # answers that came, or were refused
        self.on_listed: Callable[[], None] = lambda: None

    @property
    def is_listing(self) -> bool:
        return any(known.tools is None for known in self._servers.values())

    @property
    def is_waited_for(self) -> bool:
        """Some tool runs, and its wait may be filled."""
        return bool(self._running or self._own)

    def own_call(self, call_id: str) -> None:
        """The client runs a tool, and wants the wait filled."""
        self._own.add(call_id)

    def own_answer(self, call_id: str | None) -> None:
        """The client's tool has answered."""
        self._own.discard(call_id or "")

    def configure(self, servers: Iterable[McpServer]) -> None:
        """Use these servers; what is known of one that was there before stays known."""
        before, self._servers = self._servers, {}
        for server in servers:
            known = before.get(server.label)
            if known and (known.server.url, known.server.headers) == (server.url, server.headers):
                known.server = server
                self._servers[server.label] = known
            else:
                self._list(server)

    def offered(self, options: ToolOptions) -> ToolOptions:
        """The options with the tools of their servers beside the client's own."""
        if not options.servers:
            return options
        tools = {tool.name: tool for tool in options.tools}
        for label in [server.label for server in options.servers]:
            known = self._servers.get(label)
            for tool in known.allowed if known else ():
                name = tool.name if tool.name not in tools else f"{label}_{tool.name}"
                tools[name] = replace(tool, name=name)
        return replace(options, tools=tuple(tools.values())[:MAX_TOOLS])

    def item_for(self, tool: Tool, arguments: str) -> Item:
        """The item of a call: the call itself, or a request for leave to make it."""
        known = self._servers.get(tool.server)
        is_asked = known is None or known.server.approval.is_needed(tool)
        item = Item(
            self._out.new_id("mcpr" if is_asked else "mcp"),
            "mcp_approval_request" if is_asked else "mcp_call",
            status="in_progress",
            call_id=self._out.new_id("call"),
            tool_name=tool.remote_name,
            arguments=arguments,
            mcp=Mcp(tool.server),
        )
        if is_asked:
            self._asked[item.item_id] = (tool, item)
        return item

    def run(self, item: Item, tool: Tool, place: Place) -> None:
        """The client was told of the call: have it run."""
        self._running[item.item_id] = place
        self._out.emit(ToolProgress(item.item_id, place.index, "in_progress"))
        known = self._servers.get(tool.server)
        if known is None:
            self._fail(item, "its server is not in use any more")
        elif len(self._running) > self._max_calls:
            self._fail(item, "too many calls are running")
        else:
            self._out.run(RunTool(item.item_id, known.server, tool, item.arguments or "{}"))

    def check_answer(self, item: Item) -> None:
        """Raises: ProtocolError: an answer to a request that is not there, or answered already."""
        if item.mcp and item.mcp.approval_id not in self._asked:
            raise ProtocolError(
                f"no approval is awaited for {item.mcp.approval_id}",
                param="item.approval_request_id",
            )

    def take_answer(self, answer: Item) -> None:
        """The client allows a call, or does not."""
        if answer.mcp is None or answer.mcp.approval_id is None:
            return
        tool, request = self._asked.pop(answer.mcp.approval_id)
        if not answer.mcp.is_approved:
            reason = f" {answer.mcp.reason}" if answer.mcp.reason else ""
            self._settle(request, _DENIED + reason)
            self.num_results += 1
            return
        mcp = Mcp(tool.server, approval_id=request.item_id)
        item_id = self._out.new_id("mcp")
        item = replace(request, item_id=item_id, kind="mcp_call", status="in_progress", mcp=mcp)
        self._out.emit(ItemAdded(item, self._history.add(item)))
        self.run(item, tool, Place(item_id))

    def receive(self, result: Result) -> None:
        """What came of an errand."""
        if isinstance(result, ToolsListed):
            self._listed(result)
        elif result.item_id in self._running:
            self._ran(result)

    # ---- inside

    def _list(self, server: McpServer) -> None:
        item = Item(self._out.new_id("mcpl"), "mcp_list_tools", status="in_progress",
                    mcp=Mcp(server.label))  # fmt: skip
        self._servers[server.label] = _Server(server, item.item_id)
        self._out.emit(ItemAdded(item, self._history.add(item)))
        self._out.emit(ToolListing(item.item_id, "in_progress"))
        self._out.run(ListTools(item.item_id, server))

    def _listed(self, result: ToolsListed) -> None:
        known = next((s for s in self._servers.values() if s.item_id == result.item_id), None)
        if known is None:  # the client has changed its mind
            return
        known.tools = tuple(
            replace(tool, server=known.server.label, remote_name=tool.name) for tool in result.tools
        )
        if self._history.has(result.item_id):
            mcp = Mcp(known.server.label, tools=known.allowed)
            item = Item(result.item_id, "mcp_list_tools", mcp=mcp)
            self._out.emit(ItemDone(item, self._history.replace(item)))
        self._out.emit(ToolListing(result.item_id, "failed" if result.error else "completed"))
        if result.error:
            message = f"the tools of {known.server.label} are not known: {result.error.message}"
            self._out.emit(Failed("mcp_list_tools_failed", message))
        self.on_listed()

    def _fail(self, item: Item, message: str) -> None:
        self._ran(ToolRan(item.item_id, error=ErrandError("tool_execution_error", message)))

    def _ran(self, result: ToolRan) -> None:
        place = self._running.pop(result.item_id)
        if not self._history.has(result.item_id):
            return
        item = self._history.get(result.item_id)
        mcp = replace(item.mcp, error=result.error) if item.mcp else None
        output = None if result.error else result.output
        item = replace(item, status="completed", output=output, mcp=mcp)
        self._history.replace(item)
        state: Final = "failed" if result.error else "completed"
        self._out.emit(ToolProgress(item.item_id, place.index, state))
        self._settle(item, f"Error: {result.error.message}" if result.error else result.output)
        others = (other.response_id for other in self._running.values())
        if place.response_id not in others:  # the answers to one reply are told together
            self.num_results += 1
        self._out.emit(ItemDone(item, self._history.replace(item)))

    def _settle(self, item: Item, output: str) -> None:
        """The model learns what a call came to, at this point of the conversation."""
        answer = Item(self._out.new_id("item"), "mcp_output", call_id=item.call_id, output=output)
        self._history.add(answer)
