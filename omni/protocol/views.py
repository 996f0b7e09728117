"""What every protocol's view of a session can do, as far as a call needs it."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel

from omni import events
from omni.dialog.options import SessionOptions
from omni.dialog.sessions import AnySession


class View(Protocol):
    """Events are sent as JSON; those that begin with `error` concern their causer alone."""

    @property
    def options(self) -> SessionOptions:
        """What the session is to be like."""

    @property
    def is_over(self) -> bool:
        """The client was told that nothing follows."""

    @property
    def is_muted(self) -> bool:
        """The client wants its sound not to be heard."""

    def greet(self, session: AnySession) -> Sequence[BaseModel]:
        """The session exists."""

    def resume(self) -> Sequence[BaseModel]:
        """How it stands, for whoever joins it."""

    def lost(self) -> Sequence[BaseModel]:
        """The client is gone: what those who joined are told last."""

    def receive(self, text: str | bytes, session: AnySession) -> Sequence[BaseModel]:
        """Do what one message of the client says; returns the direct answer, if any."""

    def control(self, text: str | bytes, session: AnySession) -> Sequence[BaseModel]:
        """The same for whoever holds the server's key."""

    def render(self, event: events.Event) -> Sequence[BaseModel]:
        """The server events that tell of one internal event."""

    def shows(self, event: BaseModel) -> bool:
        """Whether the client may see it."""

    def fault(self, error: BaseException) -> BaseModel:
        """An error as the client may see it."""


def is_fault(event: BaseModel) -> bool:
    return getattr(event, "type", "") == "error"
