"""One client's view of a session, as OpenAI Live: no turns, one timeline. JSON in, JSON out.

Hides that our session has turns: their words come as spans of the timeline, and nothing marks a
barge-in but silence. Law: a session is closed by `session.closed`, which is the last event.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ValidationError

from omni import events
from omni.clock import Clock, unix_time_s
from omni.config import OmniConfig
from omni.dialog.answering import ResponseRequest
from omni.dialog.options import SessionOptions
from omni.dialog.sessions import AnySession
from omni.errors import OmniError, ProtocolError
from omni.events import Item, Part
from omni.protocol import live_wire as wire
from omni.protocol.live_reading import described, event_id_of, fault, kind_of, parse
from omni.protocol.realtime_audio import InputAudio, OutputAudio
from omni.protocol.realtime_config import AudioFormat, VoiceId
from omni.protocol.realtime_session import defaults_of

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
        self._settings: wire.AnyConfig = wire.LiveConfig(model=self._defaults.model)
        self.options: SessionOptions = self._defaults.options
        self._snapshot: wire.Snapshot | None = None
        self._cause: dict[str, str] = {}  # the id of the event that started it
        self._format: wire.PcmFormat | wire.G711Format | None = PCM  # None: sound is RTP
        self._input, self._output = _audio(PCM)
        self._started_ms = 0.0
        self._spans_ms = {"input": 0, "output": 0}  # where each side's last words ended
        self._last_ids = {"input": "", "output": ""}
        self.is_muted = False
        self._page = wire.DataChannel()
        self._is_replying = False
        self._untold: list[str] = []
        self.is_over = False

    def start(self, text: str | bytes) -> None:
        """Take in the first message, which says what session is wanted. Raises ProtocolError."""
        event = parse(text)
        if not isinstance(event, wire.SessionStart):
            raise ProtocolError("A session begins with session.start.", "session_not_started")
        if event.event_id:
            self._cause["client_event_id"] = event.event_id
        audio = event.session.audio or wire.LiveAudio()
        self._format = audio.format or PCM
        self._input, self._output = _audio(self._format)
        self._begin(event.session, audio.output)

    def start_call(self, session: Any) -> None:
        """Take in what comes beside an SDP offer. Raises ProtocolError."""
        try:
            settings = wire.MediaConfig.model_validate(session)
        except ValidationError as error:
            raise described(error, session, "session") from error
        self._format = None
        self._page = settings.client.data_channel if settings.client else wire.DataChannel()
        self._begin(settings, settings.audio.output if settings.audio else None)

    def _begin(self, settings: wire.AnyConfig, output: wire.LiveOutput | None) -> None:
        self._settings = settings
        if settings.instructions and settings.instructions.strip():
            self.options = replace(self.options, instructions=settings.instructions)
        asked = output.voice if output else None
        wanted = VoiceId(id=asked.id) if isinstance(asked, wire.LiveVoice) else asked
        if wanted and (voice := self._defaults.voice(wanted)):
            self.options = replace(self.options, voice=voice)

    def greet(self, session: AnySession) -> list[BaseModel]:
        """The session exists: give it its history, and tell the client."""
        self._started_ms = self._clock.now_ms()
        for message in self._settings.input or ():
            session.add_item(_initial(message))
        output = wire.LiveOutput(voice=self.options.voice)
        self._snapshot = wire.Snapshot(
            id=session.session_id,
            expires_at=int(unix_time_s() + self._max_session_s),
            model=self._defaults.model,
            audio=wire.LiveAudio(format=self._format, output=output),
            instructions=self.options.instructions,
            delegation=self._settings.delegation,
        )
        if isinstance(self._settings, wire.MediaConfig) and self._settings.client:
            told = {"client": self._settings.client}
            self._snapshot = self._snapshot.model_copy(update=told)
        return [each.model_copy(update=self._cause) for each in self.resume()]

    def resume(self) -> list[BaseModel]:
        """How the session stands, for whoever joins it."""
        assert self._snapshot is not None
        return [wire.SessionTold(type="session.started", session=self._snapshot)]

    def lost(self) -> list[BaseModel]:
        """The client is gone: what those who watched are told last."""
        is_open = self._snapshot is not None and not self.is_over
        return [*self._close("connection_lost")] if is_open else []

    def shows(self, event: BaseModel) -> bool:
        """Whether the client may see it: a page may have been kept from some."""
        allowed = self._page.allowed_server_events
        if not isinstance(allowed, list):
            return True
        return getattr(event, "type", None) in {each.type for each in allowed}

    def receive(self, text: str | bytes, session: AnySession) -> list[BaseModel]:
        """Do what one message of the client says; returns the direct answer, if any."""
        allowed = self._page.allowed_client_events
        if isinstance(allowed, list) and (kind := kind_of(text)) and kind not in allowed:
            error = ProtocolError(f"This page may not send {kind}.", param="type")
            return [fault(error, event_id_of(text))]
        return self.control(text, session)

    def control(self, text: str | bytes, session: AnySession) -> list[BaseModel]:
        """The same for a backend, which may do all."""
        event_id = event_id_of(text)
        try:
            told = self._execute(parse(text), session)
        except OmniError as error:
            return [fault(error, event_id)]
        echo = {"client_event_id": event_id} if event_id else {}
        return [each.model_copy(update=echo) for each in told]

    def fault(self, error: BaseException) -> BaseModel:
        return fault(error)

    def render(self, event: events.Event) -> Sequence[BaseModel]:
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
            case events.ResponseAudio(samples=samples) if self._format:
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
            case wire.AudioAppend() if self._format is None:
                raise ProtocolError("Over WebRTC sound is sent as RTP.", param="type")
            case wire.AudioAppend(audio=audio):
                samples = self._input.push(audio)
                if len(samples):
                    session.feed(np.zeros_like(samples) if self.is_muted else samples)
                self._tell(session)
            case wire.Mute():
                self.is_muted = event.type == "session.input_audio.mute"
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
