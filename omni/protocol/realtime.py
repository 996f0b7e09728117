"""One client's view of a session, as the OpenAI Realtime (GA) protocol: JSON in, JSON out, no I/O.

Law: whatever a client sends is answered; no message of a client ends the session.
"""

from collections.abc import Collection, Sequence

from pydantic import BaseModel

from omni import events
from omni.clock import unix_time_s
from omni.config import OmniConfig
from omni.dialog.options import SessionOptions
from omni.dialog.sessions import AnySession
from omni.errors import OmniError, to_wire
from omni.protocol import realtime_commands as commands
from omni.protocol import realtime_events as wire
from omni.protocol.realtime_bounds import Bounds
from omni.protocol.realtime_extensions import EXTENSION, extended
from omni.protocol.realtime_render import Renderer
from omni.protocol.realtime_session import defaults_of, initial_settings
from omni.protocol.realtime_state import Transport, ViewState


class RealtimeView:
    """`is_over`, `is_muted`: of calls by other protocols.

    Args:
    config: the server's profile.
    transport: over WebRTC, sound does not travel in events.
    extensions: those the client asked for.
    """

    is_over = is_muted = False

    def __init__(
        self, config: OmniConfig, transport: Transport, extensions: Collection[str] = ()
    ) -> None:
        defaults = defaults_of(config)
        self._state = ViewState(transport, defaults.model, initial_settings(defaults))
        self._commands = commands.Commands(self._state, defaults)
        self._renderer = Renderer(self._state)
        self._is_extended = EXTENSION in extensions
        self._bounds: Bounds | None = None
        self._lifetime_s = config.server.max_session_s

    @property
    def options(self) -> SessionOptions:
        """The options in effect."""
        return self._state.settings.in_effect

    def configure(self, session_json: str) -> None:
        """Adopt settings that a client gave before the session began. Raises ProtocolError."""
        if self._bounds:
            session_json = self._bounds.narrow_session(session_json)
        self._commands.configure(commands.parse_session(session_json))

    def bind(self, session_json: str) -> None:
        """Adopt settings whose bounds this client may not leave. Raises ProtocolError."""
        self.configure(session_json)
        self._bounds = Bounds(session_json)

    def opened(self, session_id: str) -> list[wire.ServerEvent]:
        """The session exists: greet the client."""
        self._state.session_id = session_id
        self._state.expires_s = int(unix_time_s() + self._lifetime_s)
        return [wire.SessionCreated(session=self._state.session())]

    def greet(self, session: AnySession) -> Sequence[wire.ServerEvent]:
        """The same, of the session that the view is of."""
        return self.opened(session.session_id)

    def resume(self) -> Sequence[wire.ServerEvent]:
        """How the session stands, for whoever joins it."""
        return [wire.SessionCreated(session=self._state.session())]

    def lost(self) -> Sequence[wire.ServerEvent]:
        """The client is gone: nobody need be told."""
        return []

    def shows(self, event: BaseModel) -> bool:
        """The client sees everything."""
        return True

    def fault(self, error: BaseException) -> wire.ServerEvent:
        return error_event(error)

    def receive(self, text: str | bytes, session: AnySession) -> list[wire.ServerEvent]:
        """Do what one message of the client says; returns the direct answer, if any.

        What the session tells of it comes through `render`.
        """
        return self.control(self._bounds.narrow(text) if self._bounds else text, session)

    def control(self, text: str | bytes, session: AnySession) -> list[wire.ServerEvent]:
        """The same for whoever holds the server's key: no secret's bounds apply."""
        event_id = None
        try:
            event = commands.parse(text)
            event_id = event.event_id
            return self._commands.execute(event, session)
        except OmniError as error:
            return [error_event(error, event_id or _event_id(text))]

    def render(self, event: events.Event) -> list[wire.ServerEvent]:
        """The server events that tell of one internal event."""
        if isinstance(event, events.PlayoutStarted) and not self._is_extended:
            self._state.keeps_voice = True
        told = self._renderer.render(event)
        return told + extended(event) if self._is_extended else told


def error_event(error: BaseException, event_id: str | None = None) -> wire.ErrorEvent:
    """Any error as the client may see it; `event_id` is the client event that caused it."""
    fault = to_wire(error)
    optional = {"param": fault.param, "event_id": event_id}
    detail = {"type": fault.type, "code": fault.code, "message": fault.message, **optional}
    given = {name: value for name, value in detail.items() if value is not None}
    return wire.ErrorEvent(error=wire.ErrorDetail.model_validate(given))


def _event_id(text: str | bytes) -> str | None:
    """The id of an event that could not be understood, if even that much is there."""
    try:
        found = commands.parse_object(text).get("event_id")
    except OmniError:
        return None
    return found if isinstance(found, str) else None
