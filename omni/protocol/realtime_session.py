"""A session's settings: from a client's partial wish to what is in effect, and back to the wire.

Law: what cannot be honoured is clamped or left as it was, and the effective value is told; only
what cannot be understood is an error.
"""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Literal, TypeVar

from omni.config import OmniConfig
from omni.dialog.options import SessionOptions, TurnDetection, default_options
from omni.protocol.realtime_config import (
    AudioFormat,
    AudioInput,
    AudioOutput,
    Eagerness,
    RealtimeSession,
    SessionAudio,
    SessionPatch,
    Transcription,
    TranscriptionSession,
    TurnDetectionWire,
    VoiceId,
)
from omni.protocol.realtime_requests import MAX_OUTPUT_TOKENS
from omni.protocol.realtime_tools import WireChoice, WireTool, tool_options

Number = TypeVar("Number", int, float)

EAGERNESS_MS: Final = {"low": (800, 8000), "medium": (480, 4000), "high": (320, 2000)}
"""The silence that ends a turn, and one that sounds unfinished; `auto` is the profile's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Defaults:
    """What the server's profile offers. No voices known: any name is taken."""

    options: SessionOptions
    turn_detection: TurnDetection
    model: str
    voices: frozenset[str]

    def voice(self, wanted: str | VoiceId) -> str | None:
        """The voice of that name, or the one that resembles it (`alloy` → `af_alloy`), if any."""
        name = wanted.id if isinstance(wanted, VoiceId) else wanted
        if not self.voices or name in self.voices:
            return name
        return min((v for v in self.voices if v.partition("_")[2] == name), default=None)


def defaults_of(config: OmniConfig) -> Defaults:
    """A profile's defaults; its voices are the files `…/voices/NAME.bin` it lists."""
    options = default_options(config)
    assert options.turn_detection is not None  # the profile's default is never push-to-talk
    paths = (PurePosixPath(name) for name in config.files)
    voices = frozenset(path.stem for path in paths if path.parent.name == "voices")
    return Defaults(options, options.turn_detection, f"omni-{config.brain.kind}", voices)


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """All that is in effect. `eagerness` is None under server_vad and without turn detection."""

    kind: Literal["realtime", "transcription"]
    options: SessionOptions
    eagerness: Eagerness | None
    input_format: AudioFormat
    output_format: AudioFormat
    is_transcribed: bool = True
    tools: tuple[WireTool, ...] = ()
    tool_choice: WireChoice = "auto"

    def to_wire(self, session_id: str, model: str) -> RealtimeSession | TranscriptionSession:
        """The session object of session.created and session.updated."""
        options = self.options
        hears = AudioInput(
            format=self.input_format,
            noise_reduction=None,
            transcription=self._transcription(model),
            turn_detection=self._turn_detection(),
        )
        if self.kind == "transcription":
            return TranscriptionSession(id=session_id, audio=SessionAudio(input=hears))
        says = AudioOutput(format=self.output_format, voice=options.voice, speed=options.speed)
        return RealtimeSession(
            id=session_id,
            model=model,
            instructions=options.instructions,
            output_modalities=[options.modality],
            audio=SessionAudio(input=hears, output=says),
            max_output_tokens=options.max_output_tokens,
            tools=self.tools,
            tool_choice=self.tool_choice,
        )

    def _transcription(self, model: str) -> Transcription | None:
        if not self.is_transcribed:
            return None
        if self.options.language is None:
            return Transcription(model=model)
        return Transcription(model=model, language=self.options.language)

    def _turn_detection(self) -> TurnDetectionWire | None:
        detection = self.options.turn_detection
        if detection is None:
            return None
        if self.eagerness:
            return TurnDetectionWire(
                type="semantic_vad",
                eagerness=self.eagerness,
                create_response=detection.creates_response,
                interrupt_response=detection.interrupts_response,
            )
        return TurnDetectionWire(
            type="server_vad",
            threshold=detection.threshold,
            prefix_padding_ms=detection.prefix_padding_ms,
            silence_duration_ms=detection.silence_duration_ms,
            create_response=detection.creates_response,
            interrupt_response=detection.interrupts_response,
        )


def initial_settings(defaults: Defaults) -> Settings:
    pcm = AudioFormat(type="audio/pcm", rate=24000)
    return Settings("realtime", defaults.options, "auto", pcm, pcm)


def merge(settings: Settings, patch: SessionPatch, defaults: Defaults) -> Settings:
    """Settings after a session.update: fields that are absent stay as they are."""
    options = settings.options
    if patch.instructions is not None:
        options = replace(options, instructions=patch.instructions)
    if patch.output_modalities:
        # Both together are not to be had: sound always brings its transcript.
        has_audio = "audio" in patch.output_modalities
        options = replace(options, modality="audio" if has_audio else "text")
    if patch.max_output_tokens is not None:
        limit = token_limit(patch.max_output_tokens, defaults)
        options = replace(options, max_output_tokens=limit)
    settings = _merge_tools(replace(settings, kind=patch.type, options=options), patch)
    audio = patch.audio or SessionAudio()
    settings = _merge_input(settings, audio.input or AudioInput(), defaults)
    settings = _merge_output(settings, audio.output or AudioOutput(), defaults)
    return _without_replies(settings) if settings.kind == "transcription" else settings


def _merge_tools(settings: Settings, patch: SessionPatch) -> Settings:
    if patch.tools is None and patch.tool_choice is None:
        return settings
    tools = settings.tools if patch.tools is None else patch.tools
    choice = patch.tool_choice or settings.tool_choice
    options = replace(settings.options, tools=tool_options(tools, choice))
    return replace(settings, options=options, tools=tools, tool_choice=choice)


def token_limit(wanted: int | Literal["inf"], defaults: Defaults) -> int:
    """Tokens a reply may have; unlimited means the profile's limit."""
    if wanted == "inf":
        return defaults.options.max_output_tokens
    return max(1, min(wanted, MAX_OUTPUT_TOKENS))


def full_format(wanted: AudioFormat) -> AudioFormat:
    """The format with its rate filled in (G.711 has none on the wire)."""
    if wanted.type == "audio/pcm":
        return AudioFormat(type="audio/pcm", rate=wanted.rate or 24000)
    return AudioFormat(type=wanted.type)


def _merge_input(settings: Settings, wanted: AudioInput, defaults: Defaults) -> Settings:
    given = wanted.model_fields_set
    if wanted.format is not None:
        settings = replace(settings, input_format=full_format(wanted.format))
    if "transcription" in given:
        transcription = wanted.transcription
        language = transcription.language if transcription else None
        settings = replace(
            settings,
            is_transcribed=transcription is not None,
            options=replace(settings.options, language=language or defaults.options.language),
        )
    if "turn_detection" in given:
        settings = _merge_turn_detection(settings, wanted.turn_detection, defaults.turn_detection)
    return settings


def _merge_turn_detection(
    settings: Settings, wanted: TurnDetectionWire | None, default: TurnDetection
) -> Settings:
    if wanted is None:
        return replace(
            settings, eagerness=None, options=replace(settings.options, turn_detection=None)
        )
    detection = replace(
        default,
        creates_response=wanted.create_response is not False,
        interrupts_response=wanted.interrupt_response is not False,
    )
    eagerness: Eagerness | None = None
    if wanted.type == "semantic_vad":
        eagerness = wanted.eagerness or "auto"
        own = (default.silence_duration_ms, default.max_silence_ms)
        silence_ms, patience_ms = EAGERNESS_MS.get(eagerness, own)
        detection = replace(detection, silence_duration_ms=silence_ms, max_silence_ms=patience_ms)
    else:
        silence_ms = _clamp(wanted.silence_duration_ms, 100, 10_000, default.silence_duration_ms)
        detection = replace(
            detection,
            threshold=_clamp(wanted.threshold, 0.05, 0.95, default.threshold),
            prefix_padding_ms=_clamp(wanted.prefix_padding_ms, 0, 5000, default.prefix_padding_ms),
            silence_duration_ms=silence_ms,
            max_silence_ms=silence_ms,  # the client asked for silence alone to decide
        )
    options = replace(settings.options, turn_detection=detection)
    return replace(settings, eagerness=eagerness, options=options)


def _merge_output(settings: Settings, wanted: AudioOutput, defaults: Defaults) -> Settings:
    options = settings.options
    if wanted.format is not None:
        settings = replace(settings, output_format=full_format(wanted.format))
    if wanted.voice is not None and (voice := defaults.voice(wanted.voice)):
        options = replace(options, voice=voice)
    speed = _clamp(wanted.speed, 0.25, 1.5, options.speed)
    return replace(settings, options=replace(options, speed=speed))


def _without_replies(settings: Settings) -> Settings:
    detection = settings.options.turn_detection
    if detection is None:
        return settings
    detection = replace(detection, creates_response=False)
    return replace(settings, options=replace(settings.options, turn_detection=detection))


def _clamp(value: Number | None, low: Number, high: Number, default: Number) -> Number:
    return default if value is None else max(low, min(value, high))
