"""One reply as its client is told of it: when it begins, its message, its calls, how it ended.

Laws: a reply that may call tools has a message only if it has words; a call is told once, whole,
and after the reply itself; what has begun is ended.
"""

from dataclasses import replace

from omni.dialog.allowance import RATE_LIMITED
from omni.dialog.history import History, with_text
from omni.dialog.outbox import Outbox
from omni.dialog.remote_tools import Place, RemoteTools
from omni.dialog.reply import Reason, Reply, Status, done_event
from omni.events import (
    Item,
    ItemAdded,
    ItemDone,
    ResponseCall,
    ResponseStarted,
)
from omni.types import Called


class ReplyItems:
    """Args:
    outbox: where events go.
    history: gets the items.
    remote: runs the calls that are not the client's.
    """

    def __init__(self, outbox: Outbox, history: History, remote: RemoteTools) -> None:
        self._out = outbox
        self._history = history
        self._remote = remote

    def begin(self, reply: Reply) -> None:
        """The reply is told of for the first time."""
        options = reply.options
        self._out.emit(
            ResponseStarted(
                reply.response_id,
                reply.item.item_id,
                options.modality,
                options.speech.voice,
                options.metadata,
                options.max_tokens,
                options.is_in_conversation,
                options.tag,
            )
        )
        if not options.tools.offered:
            self.open_message(reply)
        self.tell_calls(reply)

    def open_message(self, reply: Reply) -> None:
        """The reply has words, or is to be without any."""
        if reply.has_message:
            return
        reply.has_message = True
        previous = self._history.add(reply.item)
        if reply.is_spoken:
            self._history.keep_script(reply.item.item_id, reply.playout.script)
        self._out.emit(ItemAdded(reply.item, previous, reply.response_id))

    def tell_calls(self, reply: Reply) -> None:
        """The calls that the core has written since; those of servers' tools begin to run."""
        while reply.waiting_calls:
            if reply.text.strip():
                self.open_message(reply)  # the words come first
            called = reply.waiting_calls.popleft()
            place = Place(reply.response_id, len(reply.calls) + reply.has_message)
            item = self._tell(reply.response_id, called)
            reply.calls.append(item)
            if item.kind == "mcp_call":
                self._remote.run(item, called.tool, place)
            elif item.kind == "function_call" and reply.options.tools.is_filled:
                self._remote.own_call(item.call_id or "")

    def _tell(self, response_id: str, called: Called) -> Item:
        item = self._item_for(called)
        is_asked = item.kind == "mcp_approval_request"  # nothing more is told of its arguments
        begun = item if is_asked else replace(item, arguments="")
        self._out.emit(ItemAdded(begun, self._history.add(item), response_id))
        if item.kind != "mcp_approval_request":
            self._out.emit(ResponseCall(response_id, item))
        if item.kind != "mcp_call":  # that one is done when its tool has answered
            item = replace(item, status="completed")
        self._out.emit(ItemDone(item, self._history.replace(item), response_id))
        return item

    def end(self, reply: Reply, status: Status, reason: Reason | None = None) -> None:
        if not reply.calls and status != "cancelled":
            self.open_message(reply)
        if reply.has_message:
            if reply.item.status == "in_progress":
                reply.item = with_text(reply.item, reply.item.text, "incomplete")
            previous = self._history.replace(reply.item)
            self._out.emit(ItemDone(reply.item, previous, reply.response_id))
        done, allowance = done_event(reply, status, reason), self._out.allowance
        if done.error_code != RATE_LIMITED:
            allowance.spend(done.usage)
        self._out.emit(replace(done, limits=allowance.limits))

    def _item_for(self, called: Called) -> Item:
        if called.tool.server:
            return self._remote.item_for(called.tool, called.arguments)
        return Item(
            self._out.new_id("item"),
            "function_call",
            status="in_progress",
            call_id=self._out.new_id("call"),
            tool_name=called.tool.name,
            arguments=called.arguments,
        )
