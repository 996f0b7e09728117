"""The conversation as items in order, and as the prompt that the LLM gets.

Law: an assistant item holds exactly the words that were heard; whoever builds a prompt from here
cannot show the model a word that was not.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from omni.chat import Message
from omni.dialog.compaction import Compaction
from omni.dialog.messages import messages_of, size_of
from omni.dialog.options import Truncation
from omni.errors import ProtocolError
from omni.events import Item, Part
from omni.media.script import Script

Status = Literal["in_progress", "completed", "incomplete"]
CHARS_PER_TOKEN = 3  # a cautious average; the core counts exactly and refuses what does not fit


class History:
    """Args:
    marker: shown to the model after words that were cut off; "" shows nothing.
    """

    def __init__(self, marker: str = "") -> None:
        self._items: list[Item] = []
        self._asides: dict[str, str] = {}
        self._scripts: dict[str, Script] = {}  # of spoken replies
        self._compaction = Compaction()
        self._marker = marker

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item, previous_item_id: str | None = None) -> str | None:
        """Insert after `previous_item_id` ("root" = first, None = last); returns the id before it.

        Raises:
            ProtocolError: the id exists already, or the previous one does not.
        """
        if self.has(item.item_id):
            code = "item_create_invalid_item_id"
            raise ProtocolError(f"item {item.item_id} exists already", code, "item.id")
        if previous_item_id is None:
            index = len(self._items)
        elif previous_item_id == "root":
            index = 0
        else:
            code, param = "item_create_invalid_item_id", "previous_item_id"
            index = self._index(previous_item_id, code, param) + 1
        self._items.insert(index, item)
        return self._before(index)

    def get(self, item_id: str, code: str = "item_retrieve_invalid_item_id") -> Item:
        return self._items[self._index(item_id, code)]

    def replace(self, item: Item) -> str | None:
        """Put a newer version of an item in its place; returns the id before it."""
        index = self._index(item.item_id, "item_retrieve_invalid_item_id")
        self._items[index] = item
        return self._before(index)

    def delete(self, item_id: str) -> None:
        item = self._items.pop(self._index(item_id, "item_delete_invalid_item_id"))
        if item.mcp and item.call_id:
            own = ("mcp_output", item.call_id)
            self._items = [i for i in self._items if (i.kind, i.call_id) != own]
        self._asides.pop(item_id, None)
        self._scripts.pop(item_id, None)

    def keep_script(self, item_id: str, script: Script) -> None:
        """When which words of a reply are sounded; it may still grow."""
        self._scripts[item_id] = script

    def script(self, item_id: str) -> Script | None:
        return self._scripts.get(item_id)

    def set_aside(self, item_id: str, text: str) -> None:
        """What the model is told beside an item, and its user never sees. It stays as it is, so
        that the prompt goes on from what was cached."""
        self._asides[item_id] = text

    def has_aside(self, item_id: str) -> bool:
        return item_id in self._asides

    def last(self) -> Item | None:
        return next((item for item in reversed(self._items) if item.kind != "mcp_output"), None)

    def fit(self, room_tokens: int, policy: Truncation | None) -> bool:
        """Leave the oldest items out of the prompt if there are too many; False if that is not
        allowed and they are."""
        return self._compaction.fit(self._items, room_tokens, policy)

    def messages(
        self,
        instructions: str,
        max_tokens: int,
        items: Sequence[Item] | None = None,
        spoken: str = "",
    ) -> tuple[Message, ...]:
        """The prompt: instructions, then as many of the newest messages as fit in `max_tokens`.

        `items`: shown in the place of the conversation's, which they may be among.
        Always begins with a user's message after the instructions, as chat templates expect.
        `spoken`: what the user is saying, which is no item yet.
        """
        kept: list[Message] = []
        budget = max_tokens * CHARS_PER_TOKEN - len(instructions)
        upcoming = Item("", "message", "user", parts=(Part("input_audio", text=spoken),))
        shown = [*(self._compaction.shown(self._items) if items is None else items), upcoming]
        for message in reversed(messages_of(shown, self._marker, self._asides)):
            budget -= size_of(message) + 4 * CHARS_PER_TOKEN
            if budget < 0 and kept:
                break
            kept.append(message)
        kept.reverse()
        if budget < 0:
            while kept and kept[0].role != "user":
                kept.pop(0)
        return (Message("system", instructions), *kept)

    def _before(self, index: int) -> str | None:
        """The id of the item before, among those that clients know of."""
        known = (i.item_id for i in reversed(self._items[:index]) if i.kind != "mcp_output")
        return next(known, None)

    def has(self, item_id: str) -> bool:
        return any(item.item_id == item_id for item in self._items)

    def _index(self, item_id: str, code: str, param: str = "item_id") -> int:
        for index, item in enumerate(self._items):
            if item.item_id == item_id:
                return index
        raise ProtocolError(f"no item {item_id} in this conversation", code, param)


def with_text(item: Item, text: str, status: Status) -> Item:
    """The message with its first part's words replaced."""
    parts = (replace(item.parts[0], text=text), *item.parts[1:])
    return replace(item, parts=parts, status=status)
