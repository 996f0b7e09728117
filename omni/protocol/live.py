"""One client's view of a session, as OpenAI Live: no turns, one timeline. JSON in, JSON out.

Hides that our session has turns: their words come as spans of the timeline, and nothing marks a
barge-in but silence. Law: a session is closed by `session.closed`, which is the last event.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from omni import events
from omni.clock import Clock, unix_time_s
from omni.config import OmniConfig
from omni.dialog.answering import ResponseRequest
from omni.dialog.options import SessionOptions
from omni.dialog.sessions import AnySession
from omni.errors import OmniError, ProtocolError, to_wire
from omni.events import Item, Part
from omni.protocol import live_wire as wire
from omni.protocol.realtime_audio import InputAudio, OutputAudio
from omni.protocol.realtime_commands import describe, parse_object
from omni.protocol.realtime_config import AudioFormat, VoiceId
from omni.protocol.realtime_session import defaults_of

CLIENT_EVENTS: Final[TypeAdapter[wire.AnyLiveEvent]] = TypeAdapter(wire.LiveEvents)
TELL: Final = "Tell the user this now, in your own words: "
PCM: Final = wire.PcmFormat(type="audio/pcm", rate=24000)


class LiveView:
    """Args:
    config: the server's profile.
    clock: of the timeline.
    """

    def __init__(self, config: OmniConfig, clock: Clock) -> None:
        self._defaults = defaults_of(config)
        self._clock = clock
        self._max_session_s = config.server.max_session_s
        self._settings = wire.LiveConfig(model=self._defaults.model)
        self.options: SessionOptions = self._defaults.options
        self._snapshot: wire.Snapshot | None = None
        self._cause: dict[str, str] = {}  # the id of the event that started it
        self._input, self._output = _audio(PCM)
        self._started_ms = 0.0
        self._spans_ms = {"input": 0, "output": 0}  # where each side's last words ended
        self._last_ids = {"input": "", "output": ""}
        self._is_muted = False
        self._is_replying = False
        self._untold: list[str] = []
        self.is_over = False

    def start(self, text: str | bytes) -> None:
        """Take in the first message, which says what session is wanted. Raises ProtocolError."""
        event = parse(text)
        if not isinstance(event, wire.SessionStart):
            raise ProtocolError("A session begins with session.start.", "session_not_started")
        settings = self._settings = event.session
        if event.event_id:
            self._cause["client_event_id"] = event.event_id
        audio = settings.audio or wire.LiveAudio()
        self._input, self._output = _audio(audio.format or PCM)
        if settings.instructions and settings.instructions.strip():
            self.options = replace(self.options, instructions=settings.instructions)
        asked = audio.output.voice if audio.output else None
        wanted = VoiceId(id=asked.id) if isinstance(asked, wire.LiveVoice) else asked
        if wanted and (voice := self._defaults.voice(wanted)):
            self.options = replace(self.options, voice=voice)

    def opened(self, session_id: str, session: AnySession) -> list[wire.AnyLiveTold]:
        """The session exists: give it its history, and tell the client."""
        self._started_ms = self._clock.now_ms()
        for message in self._settings.input or ():
            session.add_item(_initial(message))
        audio = self._settings.audio or wire.LiveAudio()
        self._snapshot = wire.Snapshot(
            id=session_id,
            expires_at=int(unix_time_s() + self._max_session_s),
            model=self._defaults.model,
            audio=wire.LiveAudio(
                format=audio.format or PCM, output=wire.LiveOutput(voice=self.options.voice)
            ),
            instructions=self.options.instructions,
            delegation=self._settings.delegation,
        )
        started = wire.SessionTold(type="session.started", session=self._snapshot)
        return [started.model_copy(update=self._cause)]

    def receive(self, text: str | bytes, session: AnySession) -> list[wire.AnyLiveTold]:
        """Do what one message of the client says; returns the direct answer, if any."""
        event_id = event_id_of(text)
        try:
            told = self._execute(parse(text), session)
        except OmniError as error:
            return [fault(error, event_id)]
        echo = {"client_event_id": event_id} if event_id else {}
        return [each.model_copy(update=echo) for each in told]

    def render(self, event: events.Event) -> list[wire.AnyLiveTold]:
        """The server events that tell of one internal event."""
        match event:
            case events.SpeechStarted():
                self._spans_ms["input"] = self._now_ms
            case events.TranscriptDelta(item_id=item_id, delta=delta):
                return [self._words("input", item_id, delta)]
            case events.ResponseStarted():
                self._is_replying = True
                self._spans_ms["output"] = self._now_ms
            case events.ResponseText(item_id=item_id, delta=delta):
                return [self._words("output", item_id, delta)]
            case events.ResponseAudio(samples=samples):
                return [wire.AudioDelta(delta=self._output.push(samples))]
            case events.ResponseDone():
                self._is_replying = False
                return [wire.UsageUpdated(usage=self._spent)]
            case events.Failed(code=code, message=message):
                detail = wire.LiveFault(type="server_error", code=code, message=message)
                return [wire.ErrorTold(error=detail)]
            case events.Expired():
                return self._close("expired")
        return []

    # ---- inside

    def _execute(self, event: wire.AnyLiveEvent, session: AnySession) -> list[wire.AnyLiveTold]:
        match event:
            case wire.AudioAppend(audio=audio):
                samples = self._input.push(audio)
                if len(samples):
                    session.feed(np.zeros_like(samples) if self._is_muted else samples)
                self._tell(session)
            case wire.Mute():
                self._is_muted = event.type == "session.input_audio.mute"
                return [wire.Muted(type=f"{event.type}d")]
            case wire.ContextAppend():
                return [self._append(event, session)]
            case wire.SessionUpdate():
                return [self._update(event.session)]
            case wire.SessionClose():
                return self._close("close_requested")
            case wire.SessionStart():
                raise ProtocolError("The session has started already.", "session_already_started")
        return []

    def _append(self, event: wire.ContextAppend, session: AnySession) -> wire.ContextAppended:
        if event.delegation_id is not None:
            raise ProtocolError("There is no such delegation.", param="delegation_id")
        if event.type == "session.commentary.append":
            self._untold.append(event.content)
            self._tell(session)
        else:
            session.add_item(_item("system", event.content))
        at_ms = self._now_ms
        return wire.ContextAppended(
            type=f"{event.type}ed",
            start_ms=at_ms,
            end_ms=at_ms,
        )

    def _tell(self, session: AnySession) -> None:
        """Have the commentary spoken that waits, once nothing else is."""
        if not self._untold or self._is_replying:
            return
        content = " ".join(self._untold)
        self._untold.clear()
        session.add_item(_item("system", TELL + content))
        try:
            session.respond(ResponseRequest())
        except ProtocolError:
            return  # a reply has just begun, and has it before its eyes

    def _update(self, patch: wire.LivePatch) -> wire.SessionTold:
        assert self._snapshot is not None  # nothing is received before `opened`
        if "delegation" in patch.model_fields_set:
            self._snapshot = self._snapshot.model_copy(update={"delegation": patch.delegation})
        return wire.SessionTold(type="session.updated", session=self._snapshot)

    def _close(self, reason: wire.Reason) -> list[wire.AnyLiveTold]:
        assert self._snapshot is not None
        self.is_over = True
        return [wire.SessionClosed(reason=reason, session=self._snapshot, usage=self._spent)]

    def _words(self, side: wire.Side, item_id: str, delta: str) -> wire.TranscriptDelta:
        """A span of one side's transcript; those of all turns together read as one text."""
        if self._last_ids[side] not in ("", item_id) and not delta.startswith(" "):
            delta = f" {delta}"
        self._last_ids[side] = item_id
        start_ms, end_ms = self._spans_ms[side], self._now_ms
        self._spans_ms[side] = end_ms
        return wire.TranscriptDelta(
            type=f"session.{side}_transcript.delta",
            delta=delta,
            start_ms=start_ms,
            end_ms=end_ms,
        )

    @property
    def _now_ms(self) -> int:
        return int(self._clock.now_ms() - self._started_ms)

    @property
    def _spent(self) -> wire.Spent:
        return wire.Spent(seconds=round(self._now_ms / 1000, 3))


def parse(text: str | bytes) -> wire.AnyLiveEvent:
    """One client event from its JSON. Raises ProtocolError, which names the field."""
    data = parse_object(text)
    try:
        return CLIENT_EVENTS.validate_python(data)
    except ValidationError as error:
        found = describe(error, data)
        if error.errors()[0]["type"] == "extra_forbidden":
            message = f"Unknown parameter: '{found.param}'."
            raise ProtocolError(message, "unknown_parameter", found.param) from error
        raise found from error


def fault(error: BaseException, event_id: str | None = None) -> wire.ErrorTold:
    """Any error as the client may see it; `event_id` is the client event that caused it."""
    told = to_wire(error)
    detail = {"type": told.type, "code": told.code, "message": told.message, "param": told.param}
    cause = {"client_event_id": event_id} if event_id else {}
    given = {name: value for name, value in detail.items() if value is not None}
    return wire.ErrorTold(error=wire.LiveFault.model_validate({**given, **cause}), **cause)


def event_id_of(text: str | bytes) -> str | None:
    """The id of a client event, even of one that cannot be understood."""
    try:
        found = parse_object(text).get("event_id")
    except OmniError:
        return None
    return found if isinstance(found, str) else None


def _audio(form: wire.PcmFormat | wire.G711Format) -> tuple[InputAudio, OutputAudio]:
    rate = form.rate if isinstance(form, wire.PcmFormat) else None
    both = AudioFormat(type=form.type, rate=rate)
    return InputAudio(both), OutputAudio(both)


def _initial(message: wire.InitialMessage) -> Item:
    role = "system" if message.role == "developer" else message.role
    return _item(role, message.content[0].text)


def _item(role: wire.Role, text: str) -> Item:
    part = Part("output_text" if role == "assistant" else "input_text", text)
    return Item("", "message", role, parts=(part,))
