"""What a client does to the conversation's items: add, fetch, delete, cut to what was heard.

Law: an item only ever loses words; our own ledger and the client's agree on the fewer.
"""

from dataclasses import replace

from omni.dialog.history import History, with_text
from omni.dialog.outbox import Outbox
from omni.errors import ProtocolError
from omni.events import Item, ItemAdded, ItemDeleted, ItemDone, ItemRetrieved, ItemTruncated
from omni.media.script import RATE_HZ


class Editing:
    """Args:
    outbox: where events go.
    history: the conversation.
    """

    def __init__(self, outbox: Outbox, history: History) -> None:
        self._out = outbox
        self._history = history

    def add(self, item: Item, previous_item_id: str | None) -> Item:
        """Insert an item; returns it with its id. Raises ProtocolError for a bad place or id."""
        item = replace(item, item_id=item.item_id or self._out.new_id("item"))
        previous = self._history.add(item, previous_item_id)
        self._out.emit(ItemAdded(item, previous))
        self._out.emit(ItemDone(item, previous))
        return item

    def retrieve(self, item_id: str) -> None:
        self._out.emit(ItemRetrieved(self._history.get(item_id)))

    def delete(self, item_id: str) -> None:
        self._history.delete(item_id)
        self._out.emit(ItemDeleted(item_id))

    def truncatable(self, item_id: str) -> Item:
        """Raises: ProtocolError: no such item, or none with a reply's sound."""
        item = self._history.get(item_id, "item_truncate_invalid_item_id")
        if item.role != "assistant" or not item.parts or item.parts[0].kind != "output_audio":
            code = "unsupported_content_type"
            raise ProtocolError("only a reply's audio can be truncated", code, "item_id")
        return item

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """Keep the words that were sounded by then; a time past the end means all of them."""
        item = self.truncatable(item_id)
        script = self._history.script(item_id)
        end_ms = max(0, audio_end_ms)
        if script is not None:
            end_ms = min(end_ms, script.num_samples * 1000 // RATE_HZ)
            heard = script.text_until(end_ms * RATE_HZ // 1000).strip()
        else:  # the client's own item, of which no sound is known
            heard = item.text if end_ms else ""
        if len(heard) < len(item.text):
            self._history.replace(with_text(item, heard, "incomplete"))
        self._out.emit(ItemTruncated(item_id, end_ms, is_asked_for=True))
