"""What every kind of conversation does alike: its outbox, and the client's hand on its items.

Law: an item that is deleted or cut short while it is being spoken is spoken no further.
"""

from abc import ABC, abstractmethod

from omni.dialog.editing import Editing
from omni.dialog.history import History
from omni.dialog.outbox import Outbox
from omni.errands import Errand, Result
from omni.events import Event, Item
from omni.types import Chunk


class BaseSession(ABC):
    """Args:
    out: what the session tells and sends.
    history: its conversation.
    """

    def __init__(self, out: Outbox, history: History) -> None:
        self._out = out
        self._history = history
        self._editing = Editing(out, history)

    @property
    def session_id(self) -> str:
        """Names it in every chunk."""
        return self._out.session_id

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        return self._out.take_events()

    def chunks(self) -> list[Chunk]:
        """What is to be sent to the stages since the last call, in order."""
        return self._out.take_chunks()

    def errands(self) -> list[Errand]:
        """What is to be done outside since the last call, in order."""
        return self._out.take_errands()

    def learn(self, result: Result) -> None:  # noqa: B027
        """What came of an errand; nothing, to a brain that calls no tools."""

    def find_item(self, item_id: str) -> Item:
        """Raises ProtocolError if there is none of that id."""
        return self._history.get(item_id)

    def retrieve_item(self, item_id: str) -> None:
        self._editing.retrieve(item_id)

    def delete_item(self, item_id: str) -> None:
        """Delete it for the client; a model with a context of its own keeps what it has read."""
        self._end_reply_of(item_id)
        self._editing.delete(item_id)

    def truncate_item(self, item_id: str, audio_end_ms: int) -> None:
        """The client says how much of a reply was heard."""
        self._end_reply_of(self._editing.truncatable(item_id).item_id)
        self._editing.truncate(item_id, audio_end_ms)

    @abstractmethod
    def _end_reply_of(self, item_id: str) -> None:
        """End the reply that is this item, if it is still being spoken."""
