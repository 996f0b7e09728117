"""What a half-duplex session is between two turns, what it reads and what it says."""

from dataclasses import dataclass, field

from torch import Tensor

from omni.media.slicing import Pixels
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.mel import MelStream
from omni.models.minicpmo.rounds import Rounds, RowLimits
from omni.models.minicpmo.sampling import TURN_SPEECH, Source, SpeechRule, TextRule
from omni.models.minicpmo.wishes import SpeechStream


@dataclass(frozen=True, slots=True, eq=False)
class HalfDuplexRule:
    text: TextRule = field(default_factory=TextRule)
    speech: SpeechRule = TURN_SPEECH
    max_tokens: int = 256  # an answer
    condition_tokens: int = 10  # spoken together
    max_condition_codes: int = 500
    mel_context_frames: int = 0
    limits: RowLimits | None = None
    is_thinking: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    pixels: Pixels
    max_slices: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One second of a user's turn that is still going on. [16000]"""

    samples: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A finished sound of any length. [n]"""

    samples: Tensor


Content = str | Frame | Unit | Segment


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A piece of an answer: a vocoder window, and the text that is whole by then."""

    samples: Tensor
    text: str


@dataclass(slots=True, eq=False)
class HalfDuplexSession:
    """Everything a session is, between two turns."""

    context: Context
    speech: Context
    stream: SpeechStream
    text_source: Source
    speech_source: Source
    rounds: Rounds
    mel: MelStream
    heard: KeyValues = field(default_factory=KeyValues)
    is_turn_open: bool = False  # the user's
    has_answered: bool = False

    def close(self) -> None:
        self.context.close()
        self.speech.close()


@dataclass(slots=True, eq=False)
class Answer:
    """An answer under way."""

    ids: list[int] = field(default_factory=list)  # chosen, in order
    spoken: list[int] = field(default_factory=list)  # those that are words
    waiting: list[int] = field(default_factory=list)  # not said yet
    states: list[Tensor] = field(default_factory=list)  # of the waiting ones
    codes: list[int] = field(default_factory=list)  # of the whole answer
    fresh: list[int] = field(default_factory=list)  # less than a chunk of them
    window: list[int] = field(default_factory=list)  # for the vocoder
    num_shown: int = 0  # characters
    is_thinking: bool = False
