"""A session's settings: from a client's partial wish to what is in effect, and back to the wire.

Law: what cannot be honoured is clamped or left as it was, and the effective value is told; only
what cannot be understood is an error.
"""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Literal

from omni.config import OmniConfig
from omni.dialog.options import (
    AUTO_TRUNCATION,
    SessionOptions,
    Truncation,
    TurnDetection,
    default_options,
)
from omni.protocol import realtime_turns as turns
from omni.protocol.realtime_config import (
    AudioFormat,
    AudioInput,
    AudioOutput,
    Eagerness,
    RealtimeSession,
    Reasoning,
    RetentionRatio,
    SessionAudio,
    SessionPatch,
    TokenLimits,
    Transcription,
    TranscriptionSession,
    TruncationWire,
    TurnDetectionWire,
    VoiceId,
)
from omni.protocol.realtime_requests import MAX_OUTPUT_TOKENS
from omni.protocol.realtime_tools import WireChoice, WireTool, told, tool_options

SPEEDS: Final = (0.25, 1.5)


@dataclass(frozen=True, slots=True, eq=False)
class Defaults:
    """What the server's profile offers. No voices known: any name is taken."""

    options: SessionOptions
    turn_detection: TurnDetection
    model: str
    voices: frozenset[str]
    max_output_tokens: int
    is_transcribed: bool = True  # what the user says is written down
    can_think: bool = False  # before it answers, if it is to

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
    # Half of the context is left to the conversation.
    limit = min(MAX_OUTPUT_TOKENS, config.brain.think.context_tokens // 2)
    has_words = config.brain.kind != "minicpm-o"  # which hears, but does not write down
    model = f"omni-{config.brain.kind}"
    can_think = not has_words and config.brain.duplex.mode == "half"
    return Defaults(options, options.turn_detection, model, voices, limit, has_words, can_think)


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """What a session is called, and when it ends, in seconds since the epoch."""

    session_id: str
    model: str
    expires_s: int


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """All that was agreed. `eagerness` is None under server_vad and without turn detection."""

    kind: Literal["realtime", "transcription"]
    options: SessionOptions
    eagerness: Eagerness | None
    input_format: AudioFormat
    output_format: AudioFormat
    is_transcribed: bool = True
    tools: tuple[WireTool, ...] = ()
    tool_choice: WireChoice = "auto"
    can_think: bool = False

    @property
    def in_effect(self) -> SessionOptions:
        """The options, as far as this kind of session has a use for them."""
        detection = self.options.turn_detection
        if self.kind == "realtime" or detection is None:
            return self.options
        silent = replace(detection, creates_response=False, idle_timeout_ms=None)
        return replace(self.options, turn_detection=silent)

    def to_wire(self, identity: Identity) -> RealtimeSession | TranscriptionSession:
        """The session object of session.created and session.updated."""
        options = self.options
        hears = AudioInput(
            format=self.input_format,
            noise_reduction=None,
            transcription=self._transcription(identity.model),
            turn_detection=self._turn_detection(),
        )
        if self.kind == "transcription":
            return TranscriptionSession(
                id=identity.session_id,
                expires_at=identity.expires_s,
                include=None,
                audio=SessionAudio(input=hears),
            )
        says = AudioOutput(format=self.output_format, voice=options.voice, speed=options.speed)
        return RealtimeSession(
            id=identity.session_id,
            model=identity.model,
            instructions=options.instructions,
            output_modalities=[options.modality],
            audio=SessionAudio(input=hears, output=says),
            max_output_tokens=options.max_output_tokens,
            tools=tuple(told(tool) for tool in self.tools),
            tool_choice=self.tool_choice,
            truncation=self._truncation(),
            expires_at=identity.expires_s,
            include=None,
            prompt=None,
            reasoning=self._reasoning(),
            tracing=None,
            **({"tool_filler": True} if options.tools.is_filled else {}),
        )

    def _transcription(self, model: str) -> Transcription | None:
        if not self.is_transcribed:
            return None
        if self.options.language is None:
            return Transcription(model=model)
        return Transcription(model=model, language=self.options.language)

    def _turn_detection(self) -> TurnDetectionWire | None:
        detection = self.in_effect.turn_detection
        return turns.to_wire(detection, self.eagerness) if detection else None

    def _reasoning(self) -> Reasoning | None:
        if not self.can_think:
            return None
        return Reasoning(effort="high" if self.options.is_thinking else "minimal")

    def _truncation(self) -> TruncationWire:
        policy = self.options.truncation
        if policy is None:
            return "disabled"
        if policy is AUTO_TRUNCATION:
            return "auto"
        ratio = RetentionRatio(type="retention_ratio", retention_ratio=policy.retention_ratio)
        if policy.max_tokens is None:
            return ratio
        limits = TokenLimits(post_instructions=policy.max_tokens)
        return ratio.model_copy(update={"token_limits": limits})


def initial_settings(defaults: Defaults) -> Settings:
    pcm = AudioFormat(type="audio/pcm", rate=24000)
    return Settings(
        "realtime",
        defaults.options,
        "auto",
        pcm,
        pcm,
        is_transcribed=defaults.is_transcribed,
        can_think=defaults.can_think,
    )


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
    if patch.truncation is not None:
        options = replace(options, truncation=_policy(patch.truncation))
    if patch.reasoning is not None and patch.reasoning.effort is not None:
        is_thinking = settings.can_think and patch.reasoning.effort != "minimal"
        options = replace(options, is_thinking=is_thinking)
    settings = _merge_tools(replace(settings, kind=patch.type, options=options), patch)
    audio = patch.audio or SessionAudio()
    settings = _merge_input(settings, audio.input or AudioInput(), defaults)
    return _merge_output(settings, audio.output or AudioOutput(), defaults)


def _merge_tools(settings: Settings, patch: SessionPatch) -> Settings:
    if patch.tools is None and patch.tool_choice is None and patch.tool_filler is None:
        return settings
    tools = settings.tools if patch.tools is None else patch.tools
    choice = patch.tool_choice or settings.tool_choice
    was_filled = settings.options.tools.is_filled
    is_filled = was_filled if patch.tool_filler is None else patch.tool_filler
    offered = replace(tool_options(tools, choice), is_filled=is_filled)
    options = replace(settings.options, tools=offered)
    return replace(settings, options=options, tools=tools, tool_choice=choice)


def token_limit(wanted: int | Literal["inf"], defaults: Defaults) -> int:
    """Tokens a reply may have; unlimited means the profile's limit."""
    if wanted == "inf":
        return defaults.options.max_output_tokens
    return max(1, min(wanted, defaults.max_output_tokens))


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
            is_transcribed=transcription is not None and defaults.is_transcribed,
            options=replace(settings.options, language=language or defaults.options.language),
        )
    if "turn_detection" in given:
        detection, eagerness = None, None
        if wanted.turn_detection is not None:
            own = defaults.turn_detection
            detection, eagerness = turns.from_wire(wanted.turn_detection, own)
        options = replace(settings.options, turn_detection=detection)
        settings = replace(settings, eagerness=eagerness, options=options)
    return settings


def _policy(wanted: TruncationWire) -> Truncation | None:
    match wanted:
        case "disabled":
            return None
        case "auto":
            return AUTO_TRUNCATION
    limits = wanted.token_limits
    limit = limits.post_instructions if limits else None
    ratio = turns.clamped(wanted.retention_ratio, 0.0, 1.0, 1.0)
    return Truncation(ratio, None if limit is None else max(1, limit))


def _merge_output(settings: Settings, wanted: AudioOutput, defaults: Defaults) -> Settings:
    options = settings.options
    if wanted.format is not None:
        settings = replace(settings, output_format=full_format(wanted.format))
    if wanted.voice is not None and (voice := defaults.voice(wanted.voice)):
        options = replace(options, voice=voice)
    speed = turns.clamped(wanted.speed, *SPEEDS, options.speed)
    return replace(settings, options=replace(options, speed=speed))
