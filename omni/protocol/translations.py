"""One client's view of a session as an interpreter: no turns and no replies, two streams of words.

Hides that each turn of the user's is translated by a reply of its own, one after the other, however
the user goes on speaking. Law: nothing is translated with what was said before in mind, so that
nothing is answered in place of being translated. Source: openai-python 3.54, types/realtime.
"""

from collections import deque
from dataclasses import replace
from typing import Final, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from omni import events
from omni.clock import Clock, unix_time_s
from omni.config import OmniConfig
from omni.dialog.answering import ResponseRequest
from omni.dialog.options import SessionOptions
from omni.dialog.sessions import AnySession
from omni.errors import OmniError
from omni.items import Item, Part
from omni.protocol import translations_wire as wire
from omni.protocol.realtime import error_event
from omni.protocol.realtime_audio import InputAudio, OutputAudio
from omni.protocol.realtime_commands import describe, parse_object
from omni.protocol.realtime_config import AudioFormat
from omni.protocol.realtime_session import Defaults, defaults_of

CLIENT_EVENTS: Final[TypeAdapter[wire.AnyClientEvent]] = TypeAdapter(wire.ClientEvents)
PCM: Final = AudioFormat(type="audio/pcm", rate=24000)
VOICES: Final = {  # the letter with which a language's voices begin
    "en": ("English", "a"), "es": ("Spanish", "e"), "fr": ("French", "f"), "hi": ("Hindi", "h"),
    "it": ("Italian", "i"), "ja": ("Japanese", "j"), "pt": ("Portuguese", "p"),
    "zh": ("Chinese", "z"),
}  # fmt: skip
INSTRUCTIONS: Final = "You translate into {name}. Say the translation and nothing else."
# Small writers answer questions unless they are shown that questions are translated, too.
EXAMPLES: Final = {
    "en": ("What time does the museum open?", "I would like a coffee, please."),
    "es": ("¿A qué hora abre el museo?", "Quisiera un café, por favor."),
    "fr": ("À quelle heure ouvre le musée ?", "Je voudrais un café, s'il vous plaît."),
    "hi": ("संग्रहालय कितने बजे खुलता है?", "मुझे एक कॉफ़ी चाहिए।"),
    "it": ("A che ora apre il museo?", "Vorrei un caffè, per favore."),
    "ja": ("美術館は何時に開きますか？", "コーヒーをお願いします。"),
    "pt": ("A que horas abre o museu?", "Eu gostaria de um café, por favor."),
    "zh": ("博物馆几点开门？", "请给我一杯咖啡。"),
}


class TranslationView:
    """Args:
    config: the server's profile.
    clock: of the streams.
    """

    def __init__(self, config: OmniConfig, clock: Clock) -> None:
        self._defaults = defaults_of(config)
        self._clock = clock
        self._lifetime_s = config.server.max_session_s
        self._language = "en"
        self._input, self._output = InputAudio(PCM), OutputAudio(PCM)
        self._started_ms = clock.now_ms()
        self._session = wire.TranslationSession(
            id="", model=self._defaults.model, expires_at=0, audio=wire.audio_for("en")
        )
        self._untranslated: deque[tuple[str, str]] = deque()  # words, and in English if known
        self._last_ids = {"input": "", "output": ""}  # whose words were told last
        self._is_translating = False
        self.is_over = False
        self.options = self._options()

    def configure(self, session_json: str) -> None:
        """Adopt settings that were given before the session began. Raises ProtocolError."""
        data = parse_object(session_json)
        try:
            self._adopt(wire.SessionWish.model_validate(data))
        except ValidationError as error:
            raise describe(error, data, "session") from error

    def opened(self, session_id: str) -> list[BaseModel]:
        """The session exists: greet the client."""
        self._started_ms = self._clock.now_ms()
        expires_at = int(unix_time_s() + self._lifetime_s)
        changes = {"id": session_id, "expires_at": expires_at}
        self._session = self._session.model_copy(update=changes)
        return [wire.SessionTold(type="session.created", session=self._session)]

    def receive(self, text: str | bytes, session: AnySession) -> list[BaseModel]:
        """Do what one message of the client says; returns the direct answer, if any."""
        event_id = None
        try:
            data = parse_object(text)
            event_id = found if isinstance(found := data.get("event_id"), str) else None
            try:
                event = CLIENT_EVENTS.validate_python(data)
            except ValidationError as error:
                raise describe(error, data) from error
            return self._execute(event, session)
        except OmniError as error:
            return [error_event(error, event_id)]

    def render(self, event: events.Event) -> list[BaseModel]:
        """The server events that tell of one internal event."""
        match event:
            case events.TranscriptDelta(item_id=item_id, delta=delta):
                delta = self._apart("input", item_id, delta)
                return [wire.InputTranscriptDelta(delta=delta, elapsed_ms=self._elapsed_ms)]
            case events.TranscriptDone(transcript=transcript) if transcript.strip():
                self._untranslated.append((transcript.strip(), event.translation))
            case events.ResponseText(item_id=item_id, delta=delta):
                delta = self._apart("output", item_id, delta)
                return [wire.OutputTranscriptDelta(delta=delta, elapsed_ms=self._elapsed_ms)]
            case events.ResponseAudio(samples=samples):
                audio = self._output.push(samples)
                return [wire.OutputAudioDelta(delta=audio, elapsed_ms=self._elapsed_ms)]
            case events.ResponseDone():
                self._is_translating = False
            case events.Failed(code=code, message=message):
                return [error_event(OmniError(message, code))]
            case events.Expired():
                self.is_over = True
                return [wire.SessionClosed()]
        return []

    def wish(self) -> ResponseRequest | None:
        """What is to be translated now, if anything is; asked after every event."""
        if self._is_translating or not self._untranslated:
            return None
        self._is_translating = True
        words, in_english = self._untranslated.popleft()
        if in_english and self._language == "en":
            return ResponseRequest(context=(), words=in_english)
        # Into English by the example of Spanish, into the others by that of English.
        sources = EXAMPLES["es" if self._language == "en" else "en"]
        context = []
        for source, target in zip(sources, EXAMPLES[self._language], strict=True):
            context += [self._asked(source), _item("assistant", target)]
        return ResponseRequest(context=(*context, self._asked(words)))

    def give_up(self) -> None:
        """The last wish could not be met."""
        self._is_translating = False

    # ---- inside

    def _apart(self, side: Literal["input", "output"], item_id: str, delta: str) -> str:
        """All turns together read as one text."""
        is_next = self._last_ids[side] not in ("", item_id)
        self._last_ids[side] = item_id
        return f" {delta.lstrip()}" if is_next else delta

    def _asked(self, words: str) -> Item:
        name, _ = VOICES[self._language]
        return _item("user", f"Translate into {name}: {words}")

    @property
    def _elapsed_ms(self) -> int:
        return int(self._clock.now_ms() - self._started_ms)

    def _execute(self, event: wire.AnyClientEvent, session: AnySession) -> list[BaseModel]:
        match event:
            case wire.SessionUpdate():
                self._adopt(event.session)
                session.update(self.options)
                return [wire.SessionTold(type="session.updated", session=self._session)]
            case wire.InputAudioAppend():
                samples = self._input.push(event.audio)
                if len(samples):
                    session.feed(samples)
                return []
            case wire.SessionClose():
                self.is_over = True
                return [wire.SessionClosed()]

    def _adopt(self, wish: wire.SessionWish) -> None:
        output = wish.audio.output if wish.audio else None
        if output and output.language:
            self._speak(output.language)

    def _speak(self, wanted: str) -> None:
        """Translate into this language, if there is a voice for it; told is what is in effect."""
        language = wanted.strip().lower().replace("_", "-").partition("-")[0]
        if language in VOICES and _voice(language, self._defaults) is not None:
            self._language = language
            self._session = self._session.model_copy(update={"audio": wire.audio_for(language)})
            self.options = self._options()

    def _options(self) -> SessionOptions:
        options, (name, _) = self._defaults.options, VOICES[self._language]
        # The view has each turn translated; it goes on while the next one is spoken.
        detection = replace(
            self._defaults.turn_detection, creates_response=False, interrupts_response=False
        )
        return replace(
            options,
            instructions=INSTRUCTIONS.format(name=name),
            voice=_voice(self._language, self._defaults) or options.voice,
            turn_detection=detection,
            translate_to=self._language,
        )


def _item(role: Literal["user", "assistant"], text: str) -> Item:
    kind: Literal["input_text", "output_text"] = "input_text" if role == "user" else "output_text"
    return Item("", "message", role, parts=(Part(kind, text),))


def _voice(language: str, defaults: Defaults) -> str | None:
    """The profile's own voice if it speaks the language, else the first that does."""
    _, letter = VOICES[language]
    own = defaults.options.voice
    if not defaults.voices or own.startswith(letter):
        return own
    return min((voice for voice in defaults.voices if voice.startswith(letter)), default=None)
