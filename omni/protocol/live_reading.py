"""What a Live client sends, as read: events, or faults in the protocol's terms."""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from omni.errors import OmniError, ProtocolError, to_wire
from omni.protocol import live_wire as wire
from omni.protocol.realtime_commands import describe, parse_object

CLIENT_EVENTS: Final[TypeAdapter[wire.AnyLiveEvent]] = TypeAdapter(wire.LiveEvents)


def parse(text: str | bytes) -> wire.AnyLiveEvent:
    """One client event from its JSON. Raises ProtocolError, which names the field."""
    data = parse_object(text)
    try:
        return CLIENT_EVENTS.validate_python(data)
    except ValidationError as error:
        raise described(error, data) from error


def described(error: ValidationError, data: Any, prefix: str = "") -> ProtocolError:
    """The first fault in the protocol's terms, which has a name for fields it does not know."""
    found = describe(error, data, prefix)
    if error.errors()[0]["type"] == "extra_forbidden":
        message = f"Unknown parameter: '{found.param}'."
        return ProtocolError(message, "unknown_parameter", found.param)
    return found


def fault(error: BaseException, event_id: str | None = None) -> wire.ErrorTold:
    """Any error as the client may see it; `event_id` is the client event that caused it."""
    told = to_wire(error)
    detail = {"type": told.type, "code": told.code, "message": told.message, "param": told.param}
    cause = {"client_event_id": event_id} if event_id else {}
    given = {name: value for name, value in detail.items() if value is not None}
    return wire.ErrorTold(error=wire.LiveFault.model_validate({**given, **cause}), **cause)


def event_id_of(text: str | bytes) -> str | None:
    """The id of a client event, even of one that cannot be understood."""
    return _string_in(text, "event_id")


def kind_of(text: str | bytes) -> str | None:
    """The type of a client event, likewise."""
    return _string_in(text, "type")


def _string_in(text: str | bytes, key: str) -> str | None:
    try:
        found = parse_object(text).get(key)
    except OmniError:
        return None
    return found if isinstance(found, str) else None
