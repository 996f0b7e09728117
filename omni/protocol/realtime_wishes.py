"""What a client wishes of one response: its own instructions, voice, tools, limit and context.

Law: what it does not say is as the session's settings say.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from omni.dialog.answering import ResponseRequest
from omni.dialog.sessions import AnySession
from omni.dialog.tools import ToolOptions
from omni.errors import ProtocolError
from omni.items import Item
from omni.protocol.realtime_config import AudioOutput, VoiceId
from omni.protocol.realtime_items import from_wire_item
from omni.protocol.realtime_requests import InputItem, ItemReference, ResponseOptions
from omni.protocol.realtime_session import SPEEDS, Defaults, full_format, token_limit
from omni.protocol.realtime_state import ViewState
from omni.protocol.realtime_tools import from_choice, tool_options
from omni.protocol.realtime_turns import clamped

VOICE_KEPT: Final = "Cannot update a conversation's voice if assistant audio is present."


class Wishes:
    """Args:
    state: shared with the renderer of the same view.
    defaults: what the server offers.
    """

    def __init__(self, state: ViewState, defaults: Defaults) -> None:
        self._state = state
        self._defaults = defaults

    def request(self, options: ResponseOptions, session: AnySession) -> ResponseRequest:
        """What a client wishes, in the session's terms. Raises ProtocolError, MediaError."""
        if self._state.settings.kind == "transcription":
            raise ProtocolError("A transcription session makes no responses.", param="type")
        request = ResponseRequest(instructions=options.instructions, metadata=options.metadata)
        if options.output_modalities:
            has_audio = "audio" in options.output_modalities
            request = replace(request, modality="audio" if has_audio else "text")
        if options.audio and options.audio.output:
            request = self._sound(request, options.audio.output)
        if options.max_output_tokens is not None:
            limit = token_limit(options.max_output_tokens, self._defaults)
            request = replace(request, max_output_tokens=limit)
        return replace(
            request,
            tools=self._tools(options),
            context=_context(options.input, session),
            is_in_conversation=options.conversation != "none",
        )

    def _sound(self, request: ResponseRequest, wanted: AudioOutput) -> ResponseRequest:
        """One reply's own voice, its speed (an extension) and its format."""
        if wanted.voice:
            request = replace(request, voice=self._voice(wanted.voice))
        if wanted.speed is not None:
            request = replace(request, speed=clamped(wanted.speed, *SPEEDS, 1.0))
        if wanted.format:
            request = replace(request, tag=full_format(wanted.format).model_dump_json())
        return request

    def _tools(self, options: ResponseOptions) -> ToolOptions | None:
        """One reply's own tools, or its own choice among the session's."""
        if options.tools is not None:
            return tool_options(options.tools, options.tool_choice or "auto", "response.tools")
        if options.tool_choice is not None:
            own = self._state.settings.options.tools
            return replace(own, choice=from_choice(options.tool_choice))
        return None

    def _voice(self, wanted: str | VoiceId) -> str | None:
        voice = self._defaults.voice(wanted)
        is_other = voice not in (None, self._state.settings.options.voice)
        if self._state.keeps_voice and is_other:
            raise ProtocolError(VOICE_KEPT, "cannot_update_voice", "response.audio.output.voice")
        return voice


def _context(wanted: Sequence[InputItem] | None, session: AnySession) -> tuple[Item, ...] | None:
    """Items given, and those of the conversation that are referred to."""
    if wanted is None:
        return None
    items = []
    for index, given in enumerate(wanted):
        param = f"response.input.{index}"
        try:
            if isinstance(given, ItemReference):
                items.append(session.find_item(given.id))
            else:
                items.append(from_wire_item(given))
        except ProtocolError as error:
            own = error.param or ""
            path = own.replace("item.", "", 1) if own.startswith("item.") else "id"
            raise ProtocolError(error.message, error.code, f"{param}.{path}") from error
    return tuple(items)
