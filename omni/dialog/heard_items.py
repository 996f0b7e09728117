"""What the user said as items of the conversation, told of in the protocol's order.

Law: an item that was announced is completed, with its words or with the news that they are lost.
"""

from dataclasses import replace
from typing import Final

from omni.dialog.history import History, with_text
from omni.dialog.outbox import Outbox
from omni.dialog.turn import Turn
from omni.events import (
    InputCommitted,
    Item,
    ItemAdded,
    ItemDone,
    Part,
    SilenceTimedOut,
    TranscriptDelta,
    TranscriptDone,
    TranscriptFailed,
)

SILENCE: Final = "[The user has been silent for a while. Ask briefly whether they are there.]"


class HeardItems:
    """Args:
    outbox: where events go.
    history: gets the items.
    """

    def __init__(self, outbox: Outbox, history: History) -> None:
        self._out = outbox
        self._history = history

    def commit(self, turn: Turn) -> Item:
        """The turn is part of the conversation; its words may not be known yet."""
        part = Part("input_audio", audio_ms=int(turn.duration_s * 1000))
        item = Item(turn.item_id, "message", "user", parts=(part,))
        self._add(item)
        return item

    def commit_unwritten(self, turn: Turn) -> None:
        """The turn is part of the conversation; nobody writes its words down."""
        part = Part("input_audio", audio_ms=int(turn.duration_s * 1000))
        item = Item(turn.item_id, "message", "user", parts=(part,))
        self._out.emit(ItemDone(item, self._add(item)))

    def lose(self, turn: Turn, code: str, message: str) -> None:
        """The words of a committed turn will never be known."""
        if not self._history.has(turn.item_id):  # the client has deleted it
            return
        self._out.emit(TranscriptFailed(turn.item_id, code, message))
        item = replace(self._history.get(turn.item_id), status="incomplete")
        self._out.emit(ItemDone(item, self._history.replace(item)))

    def complete(self, turn: Turn) -> Item | None:
        """The words of a committed turn are known; None if the client has deleted it."""
        if not self._history.has(turn.item_id):
            return None
        text = turn.text or ""
        if text.startswith(turn.shown) and (rest := text[len(turn.shown) :]):
            self._out.emit(TranscriptDelta(turn.item_id, rest))
        item = with_text(self._history.get(turn.item_id), text, "completed")
        previous = self._history.replace(item)
        done = TranscriptDone(turn.item_id, text, turn.language, turn.duration_s)
        self._out.emit(replace(done, translation=turn.translation))
        self._out.emit(ItemDone(item, previous))
        return item

    def commit_silence(self, start_ms: int, end_ms: int) -> None:
        """Nobody has spoken in this span of the user's sound."""
        part = Part("input_audio", text="", audio_ms=end_ms - start_ms)
        item = Item(self._out.new_id("item"), "message", "user", parts=(part,))
        self._out.emit(SilenceTimedOut(item.item_id, start_ms, end_ms))
        previous = self._add(item)
        self._history.set_aside(item.item_id, SILENCE)
        self._out.emit(ItemDone(item, previous))

    def _add(self, item: Item) -> str | None:
        previous = self._history.add(item)
        self._out.emit(InputCommitted(item.item_id, previous))
        self._out.emit(ItemAdded(item, previous))
        return previous
