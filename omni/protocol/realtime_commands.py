"""What a Realtime client sends: validated, then done to the session.

Law: whatever arrives, the answer is an effect or a ProtocolError that names the field.
"""

from typing import Any, Final

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from omni.dialog.sessions import AnySession
from omni.errors import ProtocolError
from omni.protocol import realtime_requests as wire
from omni.protocol.realtime_audio import InputAudio
from omni.protocol.realtime_config import SessionPatch
from omni.protocol.realtime_events import ServerEvent, SessionUpdated
from omni.protocol.realtime_items import decode_image, from_wire_item
from omni.protocol.realtime_session import Defaults, merge
from omni.protocol.realtime_state import ViewState
from omni.protocol.realtime_wishes import VOICE_KEPT, Wishes

CLIENT_EVENTS: Final[TypeAdapter[wire.AnyClientEvent]] = TypeAdapter(wire.ClientEvents)


class Commands:
    """Args:
    state: shared with the renderer of the same view.
    defaults: what the server offers.
    """

    def __init__(self, state: ViewState, defaults: Defaults) -> None:
        self._state = state
        self._defaults = defaults
        self._input = InputAudio(state.settings.input_format)
        self._wishes = Wishes(state, defaults)

    def configure(self, patch: SessionPatch) -> None:
        """Adopt a client's settings."""
        state, before = self._state, self._state.settings
        after = merge(before, patch, self._defaults)
        if state.keeps_voice and after.options.voice != before.options.voice:
            raise ProtocolError(VOICE_KEPT, "cannot_update_voice", "session.audio.output.voice")
        state.settings = after
        if after.input_format != before.input_format:
            self._input = InputAudio(after.input_format)

    def execute(self, event: wire.AnyClientEvent, session: AnySession) -> list[ServerEvent]:
        """Do what a client asks; returns what the session itself does not tell.

        Raises:
            ProtocolError, MediaError: it cannot be done; nothing has changed.
        """
        match event:
            case wire.SessionUpdate():
                self.configure(event.session)
                session.update(self._state.settings.in_effect)
                return [SessionUpdated(session=self._state.session())]
            case wire.InputAudioAppend() | wire.InputAudioCommit() | wire.InputAudioClear():
                self._hear(event, session)
            case wire.InputImageAppend():
                session.show(decode_image(event.image, "image"), event.captured_ms)
            case wire.OutputAudioClear():
                session.clear_output()
            case wire.ResponseCreate():
                wanted = event.response or wire.ResponseOptions()
                session.respond(self._wishes.request(wanted, session))
            case wire.ResponseCancel():
                session.cancel(event.response_id)
            case _:
                self._edit(event, session)
        return []

    def _hear(
        self,
        event: wire.InputAudioAppend | wire.InputAudioCommit | wire.InputAudioClear,
        session: AnySession,
    ) -> None:
        match event:
            case wire.InputAudioAppend():
                samples = self._input.push(event.audio)
                if len(samples):
                    session.feed(samples)
            case wire.InputAudioCommit():
                session.feed(self._input.flush())
                session.commit()
            case wire.InputAudioClear():
                self._input.flush()
                session.clear_input()

    def _edit(
        self,
        event: wire.ItemCreate | wire.ItemRetrieve | wire.ItemDelete | wire.ItemTruncate,
        session: AnySession,
    ) -> None:
        match event:
            case wire.ItemCreate():
                item = from_wire_item(event.item, self._state.settings.input_format)
                session.add_item(item, event.previous_item_id)
            case wire.ItemRetrieve():
                session.retrieve_item(event.item_id)
            case wire.ItemDelete():
                session.delete_item(event.item_id)
            case wire.ItemTruncate():
                if event.content_index != 0:
                    raise ProtocolError("A reply has one part of content.", param="content_index")
                session.truncate_item(event.item_id, event.audio_end_ms)


def parse(text: str | bytes) -> wire.AnyClientEvent:
    """One client event from its JSON.

    Raises:
        ProtocolError: not JSON (`invalid_json`), or a field missing or wrong.
    """
    data = parse_object(text)
    try:
        return CLIENT_EVENTS.validate_python(data)
    except ValidationError as error:
        raise describe(error, data) from error


def parse_session(text: str | bytes) -> SessionPatch:
    """The session settings that come beside an SDP offer. Raises ProtocolError."""
    data = parse_object(text)
    try:
        return SessionPatch.model_validate({"type": "realtime", **data})
    except ValidationError as error:
        raise describe(error, data, "session") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Raises: ProtocolError: not a JSON object."""
    try:
        data = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ProtocolError("The message is not valid JSON.", "invalid_json") from error
    if not isinstance(data, dict):
        raise ProtocolError("A message is a JSON object with a 'type'.", "invalid_event")
    return data


def describe(error: ValidationError, data: Any, prefix: str = "") -> ProtocolError:
    """The first fault in the protocol's terms; says nothing of the value itself."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = [prefix] if prefix else []
    node = data
    for part in first["loc"]:
        # The path also names branches of unions; those are not fields of the message.
        is_missing = first["type"] == "missing" and part == first["loc"][-1]
        is_field = isinstance(node, dict) and (part in node or is_missing)
        if is_field or isinstance(node, list):
            path.append(str(part))
            node = _child(node, part)
    kind = first["type"]
    if kind.startswith("union_tag"):
        path.append("type")
    param = ".".join(path)
    if kind in ("missing", "union_tag_not_found"):
        return ProtocolError(
            f"Missing required parameter: '{param}'.", "missing_required_parameter", param
        )
    if kind == "union_tag_invalid":
        expected = first["ctx"]["expected_tags"]
        return ProtocolError(f"Invalid value for '{param}': it is one of {expected}.", param=param)
    return ProtocolError(f"Invalid value for '{param}': {first['msg']}.", param=param)


def _child(node: Any, part: int | str) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None
