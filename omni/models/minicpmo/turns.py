"""What a half-duplex session is between two turns, what it reads and what it says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from omni.media.slicing import Pixels
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.mel import MelStream
from omni.models.minicpmo.rounds import Rounds, RowLimits
from omni.models.minicpmo.sampling import TURN_SPEECH, Source, SpeechRule, TextRule
from omni.models.minicpmo.unit import Speaking

Finish = Literal["stop", "length"] | None

_BROKEN = "\ufffd"  # bytes that are no character yet


@dataclass(frozen=True, slots=True, eq=False)
class HalfDuplexRule:
    """How sessions behave. `max_thoughts`: tokens after which a thought is ended for the model."""

    text: TextRule = field(default_factory=TextRule)
    speech: SpeechRule = TURN_SPEECH
    max_tokens: int = 256  # an answer's words
    max_thoughts: int = 512
    condition_tokens: int = 10  # spoken together
    max_condition_codes: int = 500
    mel_context_frames: int = 0
    limits: RowLimits | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Manner:
    """How one answer is made. `max_tokens`: None is the rule's."""

    is_thinking: bool = False
    is_spoken: bool = True
    max_tokens: int | None = None


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
class Words:
    """The next words of an answer, each with the state at its own position. [n, D]

    The last ones, perhaps none, say how the answer ended.
    """

    ids: tuple[int, ...]
    states: Tensor
    finish: Finish


@dataclass(frozen=True, slots=True, eq=False)
class Voiced:
    """A vocoder window, and how many of the answer's codes can be heard with it."""

    samples: Tensor
    num_codes: int
    is_last: bool


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A piece of an answer: a vocoder window, and the text that is whole by then."""

    samples: Tensor
    text: str


class Spelling:
    """An answer's text, as its bytes become whole.

    Args:
        decode: ids to text.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._num_shown = 0
        self.ids: list[int] = []

    def fresh(self, *, is_last: bool) -> str:
        """What was not shown yet, without characters whose bytes are still coming."""
        text = self._decode(self.ids)
        if not is_last:
            text = text.rstrip(_BROKEN)
        fresh = text[self._num_shown :]
        self._num_shown = max(self._num_shown, len(text))
        return fresh

    def num_ids(self, num_chars: int) -> int:
        """How many ids it takes to say that much of the text."""
        for count in range(len(self.ids)):
            if len(self._decode(self.ids[:count]).rstrip(_BROKEN)) >= num_chars:
                return count
        return len(self.ids)


@dataclass(slots=True, eq=False)
class TurnHearing:
    """What the ears keep of the user's turn under way."""

    mel: MelStream
    past: KeyValues = field(default_factory=KeyValues)


@dataclass(slots=True, eq=False)
class Answer:
    """An answer: the row at which its header begins, and that after each of its words."""

    start: int
    closing: str  # of what came before, if this answer is taken back
    is_thinking: bool
    was_open: bool  # the user's turn, before
    ids: list[int] = field(default_factory=list)  # chosen, in order
    words: list[int] = field(default_factory=list)  # those that are no thoughts
    rows: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # words that were not given out yet
    states: list[Tensor] = field(default_factory=list)  # of the waiting ones
    num_thoughts: int = 0


@dataclass(slots=True, eq=False)
class TurnThinking:
    """What the mind keeps of a session. `closing` ends the last answer, which is not closed."""

    context: Context
    source: Source
    rounds: Rounds
    is_turn_open: bool = False  # the user's
    closing: str = ""
    answer: Answer | None = None  # the last, while nothing was read after it


@dataclass(slots=True, eq=False)
class Utterance:
    """What the mouth keeps of an answer."""

    speaking: Speaking
    window: list[int]  # for the vocoder
    num_words: int = 0
    codes: list[int] = field(default_factory=list)  # of the whole answer
    fresh: list[int] = field(default_factory=list)  # less than a chunk of them
    num_voiced: int = 0  # codes


@dataclass(slots=True, eq=False)
class HalfDuplexSession:
    """Everything a session is, between two turns."""

    hearing: TurnHearing
    thinking: TurnThinking
    speaking: Speaking

    @property
    def context(self) -> Context:
        return self.thinking.context

    def close(self) -> None:
        self.thinking.context.close()
        self.speaking.context.close()
