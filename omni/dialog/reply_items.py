"""One reply as its client is told of it: when it begins, its message, its calls, how it ended.

Laws: a reply that may call tools has a message only if it has words; a call is told once, whole,
and after the reply itself; what has begun is ended.
"""

from dataclasses import replace

from omni.dialog.history import History, with_text
from omni.dialog.outbox import Outbox
from omni.dialog.reply import Reason, Reply, Status, done_event
from omni.events import (
    Item,
    ItemAdded,
    ItemDone,
    Mcp,
    ResponseCall,
    ResponseStarted,
)
from omni.types import Called


class ReplyItems:
    """Args:
    outbox: where events go.
    history: gets the items.
    """

    def __init__(self, outbox: Outbox, history: History) -> None:
        self._out = outbox
        self._history = history

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
        """The calls that the core has written since."""
        while reply.waiting_calls:
            if reply.text.strip():
                self.open_message(reply)  # the words come first
            item = self._call_item(reply.waiting_calls.popleft())
            response_id = reply.response_id
            self._out.emit(ItemAdded(item, self._history.add(item), response_id))
            if item.kind != "mcp_approval_request":
                item = replace(item, status="completed")
                self._out.emit(ResponseCall(response_id, item))
            reply.calls.append(item)
            self._out.emit(ItemDone(item, self._history.replace(item), response_id))

    def end(self, reply: Reply, status: Status, reason: Reason | None = None) -> None:
        if not reply.calls and status != "cancelled":
            self.open_message(reply)
        if reply.has_message:
            if reply.item.status == "in_progress":
                reply.item = with_text(reply.item, reply.item.text, "incomplete")
            previous = self._history.replace(reply.item)
            self._out.emit(ItemDone(reply.item, previous, reply.response_id))
        self._out.emit(done_event(reply, status, reason))

    def _call_item(self, called: Called) -> Item:
        tool = called.tool
        call_id = self._out.new_id("call")
        if not tool.server:
            item_id = self._out.new_id("item")
            return Item(item_id, "function_call", None, "in_progress", (), call_id, tool.name,
                        called.arguments)  # fmt: skip
        raise NotImplementedError(Mcp)
