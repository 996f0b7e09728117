"""The events of one call: its data channel, and whoever else was let in to see them.

Hides that the channel opens later than the session, and may not be read. Law: all see the same
events in the same order; only a fault is told to its causer alone.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError
from pydantic import BaseModel

from omni.errors import ProtocolError
from omni.protocol.views import View, is_fault

LABEL: Final = "oai-events"
MAX_PENDING_EVENTS: Final = 500
MAX_BUFFERED_BYTES: Final = 4 << 20

Observer = Callable[[Sequence[BaseModel]], None]


class EventChannel:
    """Args:
    view: what the client may see, and how it is told of faults.
    on_text: does what a message says; returns the answers.
    on_overflow: the client does not read.
    """

    def __init__(
        self,
        view: View,
        on_text: Callable[[str], Sequence[BaseModel]],
        on_overflow: Callable[[], None],
    ) -> None:
        self._view = view
        self._on_text = on_text
        self._on_overflow = on_overflow
        self._channel: RTCDataChannel | None = None
        self._pending: deque[BaseModel] = deque(maxlen=MAX_PENDING_EVENTS)
        self._observers: list[Observer] = []

    def open(self, channel: RTCDataChannel) -> None:
        """The client opened a channel; only the first of the right name counts."""
        if channel.label != LABEL or self._channel is not None:
            return
        self._channel = channel
        channel.on("message", self._on_message)
        while self._pending:
            self._transmit(self._pending.popleft())

    def attach(self, observer: Observer) -> None:
        """Show somebody else every event from now on."""
        self._observers.append(observer)

    def detach(self, observer: Observer) -> None:
        self._observers.remove(observer)

    def send(self, events: Sequence[BaseModel]) -> None:
        """To everybody."""
        self._tell(events)
        for observer in self._observers:
            observer(events)

    def _tell(self, events: Sequence[BaseModel]) -> None:
        for event in events:
            if not self._view.shows(event):
                continue
            if self._channel is None:
                self._pending.append(event)
            else:
                self._transmit(event)

    def _on_message(self, message: Any) -> None:
        if isinstance(message, str):
            answers = self._on_text(message)
        else:
            fault = ProtocolError("Messages are JSON text, not binary.", "invalid_event")
            answers = [self._view.fault(fault)]
        for answer in answers:
            (self._tell if is_fault(answer) else self.send)([answer])

    def _transmit(self, event: BaseModel) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount > MAX_BUFFERED_BYTES:
            self._on_overflow()
            return
        with contextlib.suppress(InvalidStateError):
            channel.send(event.model_dump_json())
