"""The OpenAI Realtime translations protocol's events, with their exact names.

Source: openai-python 3.54, types/realtime/realtime_translation_*.
"""

from typing import Annotated, Literal

from pydantic import Field

from omni.protocol.realtime_events import ServerEvent
from omni.protocol.realtime_wire import Wire


class InputTranscription(Wire):
    model: str


class InputSettings(Wire):
    """Both are null or ours, whatever was asked for."""

    noise_reduction: None = None
    transcription: InputTranscription | None = None


class OutputSettings(Wire):
    language: str | None = None


class AudioWish(Wire):
    output: OutputSettings | None = None


class AudioSettings(Wire):
    input: InputSettings
    output: OutputSettings


def audio_for(language: str) -> AudioSettings:
    """The settings in effect when we speak this language."""
    return AudioSettings(
        input=InputSettings(noise_reduction=None), output=OutputSettings(language=language)
    )


class TranslationSession(Wire):
    type: Literal["translation"] = "translation"
    id: str
    model: str
    expires_at: int
    audio: AudioSettings


# ---- from the client


class SessionWish(Wire):
    audio: AudioWish | None = None


class ClientEvent(Wire):
    event_id: str | None = None


class SessionUpdate(ClientEvent):
    type: Literal["session.update"]
    session: SessionWish


class InputAudioAppend(ClientEvent):
    type: Literal["session.input_audio_buffer.append"]
    audio: str


class SessionClose(ClientEvent):
    type: Literal["session.close"]


AnyClientEvent = SessionUpdate | InputAudioAppend | SessionClose
ClientEvents = Annotated[AnyClientEvent, Field(discriminator="type")]


# ---- to the client


class SessionTold(ServerEvent):
    type: Literal["session.created", "session.updated"]
    session: TranslationSession


class SessionClosed(ServerEvent):
    type: Literal["session.closed"] = "session.closed"


class TimedDelta(ServerEvent):
    """`elapsed_ms` since the session began."""

    delta: str
    elapsed_ms: int


class InputTranscriptDelta(TimedDelta):
    type: Literal["session.input_transcript.delta"] = "session.input_transcript.delta"


class OutputTranscriptDelta(TimedDelta):
    type: Literal["session.output_transcript.delta"] = "session.output_transcript.delta"


class OutputAudioDelta(TimedDelta):
    type: Literal["session.output_audio.delta"] = "session.output_audio.delta"
    format: Literal["pcm16"] = "pcm16"
    sample_rate: int = 24000
    channels: int = 1
