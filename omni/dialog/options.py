"""What one session asked for: the settings a client may change while it talks.

Defaults come from the server's profile; protocol views translate the wire's session to this.
"""

from dataclasses import dataclass
from typing import Final, Literal

from omni.config import OmniConfig
from omni.dialog.tools import NO_TOOLS, ToolOptions


@dataclass(frozen=True, slots=True, eq=False)
class TurnDetection:
    """How the end of the user's turn is found; `None` in its place means push-to-talk.

    `idle_timeout_ms`: silence after a reply, in which the user is spoken to again; None never.
    """

    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    max_silence_ms: int
    creates_response: bool = True
    interrupts_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Truncation:
    """What becomes of a conversation too long for the core: its oldest messages are left out until
    `retention_ratio` of the room is used, so that the next ones do not cut again and spoil the
    core's cache. `max_tokens`: room after the instructions, if it is to be less than the core has.
    """

    retention_ratio: float = 0.8
    max_tokens: int | None = None


AUTO_TRUNCATION: Final = Truncation()


@dataclass(frozen=True, slots=True, eq=False)
class SessionOptions:
    """`truncation`: None refuses to answer once the conversation is too long. `is_paced`: the
    transport sends our sound in real time, and makes up for what a stall of ours has kept back.
    `is_thinking`: before every answer, where the model can. `translate_to`: the user's words are
    wanted in this language, too, if the recogniser can.
    """

    instructions: str
    voice: str
    speed: float
    modality: Literal["audio", "text"]
    language: str | None
    turn_detection: TurnDetection | None
    max_output_tokens: int
    temperature: float
    tools: ToolOptions = NO_TOOLS
    truncation: Truncation | None = AUTO_TRUNCATION
    is_paced: bool = False
    is_thinking: bool = False
    translate_to: str | None = None


def default_options(config: OmniConfig) -> SessionOptions:
    """The options of a session whose client asks for nothing."""
    turn, brain = config.turn, config.brain
    return SessionOptions(
        instructions=brain.think.instructions,
        voice=brain.speak.voice,
        speed=brain.speak.speed,
        modality="audio",
        language=brain.hear.language,
        turn_detection=TurnDetection(
            threshold=turn.vad_threshold,
            prefix_padding_ms=turn.prefix_padding_ms,
            silence_duration_ms=turn.silence_duration_ms,
            max_silence_ms=turn.max_silence_ms,
        ),
        max_output_tokens=brain.think.max_reply_tokens,
        temperature=brain.think.temperature,
        is_thinking=brain.duplex.half.is_thinking,
    )
