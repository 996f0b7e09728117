"""A session's settings as the Realtime protocol writes them: what is wished, and what holds.

Law: what a client may ask for is accepted, known to us or not. Source: openai-python 3.54,
types/realtime.
"""

from typing import Literal

from omni.protocol.realtime_tools import WireChoice, WireTool
from omni.protocol.realtime_wire import Wire


class AudioFormat(Wire):
    """G.711 is always 8 kHz; PCM is 24 kHz in the protocol, 16 kHz is our extension."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[24000, 16000] | None = None


class Transcription(Wire):
    """`languages`, `keywords`, `prompt` and `delay` guide recognisers that can be guided."""

    model: str | None = None
    language: str | None = None
    languages: list[str] | None = None
    keywords: list[str] | None = None
    prompt: str | None = None
    delay: str | None = None


class NoiseReduction(Wire):
    type: str | None = None
    strength: float | None = None


Eagerness = Literal["low", "medium", "high", "auto"]


class TurnDetectionWire(Wire):
    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    eagerness: Eagerness | None = None
    idle_timeout_ms: int | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class AudioInput(Wire):
    format: AudioFormat | None = None
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetectionWire | None = None


class VoiceId(Wire):
    id: str


class AudioOutput(Wire):
    format: AudioFormat | None = None
    voice: str | VoiceId | None = None
    speed: float | None = None


class SessionAudio(Wire):
    input: AudioInput | None = None
    output: AudioOutput | None = None


class TokenLimits(Wire):
    post_instructions: int | None = None


class RetentionRatio(Wire):
    type: Literal["retention_ratio"]
    retention_ratio: float
    token_limits: TokenLimits | None = None


TruncationWire = Literal["auto", "disabled"] | RetentionRatio


class Reasoning(Wire):
    """Whether it thinks before it answers: `minimal` does not, all else does."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class SessionPatch(Wire):
    """The settings of a client that we can honour; the rest of the protocol's are ignored, and
    what is in effect in their place is told.

    Extension: `tool_filler`: say something while a function of the client's runs.
    """

    type: Literal["realtime", "transcription"]
    instructions: str | None = None
    output_modalities: list[Literal["text", "audio"]] | None = None
    audio: SessionAudio | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    tools: tuple[WireTool, ...] | None = None
    tool_choice: WireChoice | None = None
    tool_filler: bool | None = None
    truncation: TruncationWire | None = None
    reasoning: Reasoning | None = None


class RealtimeSession(Wire):
    """The settings in effect, all of them; what we never do is null, whatever was asked for."""

    type: Literal["realtime"] = "realtime"
    object: Literal["realtime.session"] = "realtime.session"
    id: str
    model: str
    instructions: str
    output_modalities: list[Literal["text", "audio"]]
    audio: SessionAudio
    max_output_tokens: int
    tools: tuple[WireTool, ...] = ()
    tool_choice: WireChoice = "auto"
    tool_filler: bool | None = None
    truncation: TruncationWire
    expires_at: int
    include: None = None
    prompt: None = None
    reasoning: Reasoning | None = None
    tracing: None = None


class TranscriptionSession(Wire):
    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    expires_at: int
    include: None = None
    audio: SessionAudio
