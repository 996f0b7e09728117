"""What a session may wish from the models, and how its work is written.

A session's work is a generator: it yields a wish and is sent the answer. Hides who answers: one
process that holds all models, or the one that holds those of a stage.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

from omni.media.slicing import Pixels
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.mel import MelChunk
from omni.models.minicpmo.prompt import Group
from omni.models.minicpmo.sampling import Decision, DecisionIds, Source, SpeechRule, TextSampler
from omni.models.minicpmo.speech import SpeechOrder


@dataclass(frozen=True, slots=True, eq=False)
class Hear:
    """Encode a unit of sound; answered with embeddings [n, D]."""

    past: KeyValues
    chunk: MelChunk


@dataclass(frozen=True, slots=True, eq=False)
class HearClip:
    """Encode a finished sound [n]; answered with embeddings [rows, D]."""

    samples: Tensor
    chunk_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class See:
    """Embed a picture; answered with its tiles, a list of [queries, D]."""

    picture: Pixels
    max_slices: int


@dataclass(frozen=True, slots=True, eq=False)
class SeePacked:
    """Embed pictures of a film as one, each with its time in 0.1 s; answered with [queries, D]."""

    pictures: tuple[Pixels, ...]
    times: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Append groups to a context; answered with the states of their rows [n, D]."""

    context: Context
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Decide:
    """Choose the next token after a state [D]; answered with its id."""

    state: Tensor
    history: list[int]
    rule: Decision
    ids: DecisionIds
    source: Source


@dataclass(frozen=True, slots=True, eq=False)
class Choose:
    """Choose the next word of a turn-based answer after a state [D]; answered with its id."""

    state: Tensor
    seen: tuple[int, ...]  # what counts as repeated
    sampler: TextSampler


@dataclass(frozen=True, slots=True, eq=False)
class Say:
    """Speak; answered with speech codes."""

    order: SpeechOrder
    rule: SpeechRule


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Make a window of codes audible; answered with samples [n]."""

    stream: "SpeechStream | None"
    codes: tuple[int, ...]
    is_last: bool


class SpeechStream(Protocol):
    """One session's speech in the vocoder."""

    def reset(self) -> None:
        """Begin anew; what was held back is gone."""


class Vocoder(Protocol):
    """What makes codes audible, as `token2wav` does; streams are its own."""

    @property
    def silence_code(self) -> int: ...

    def stream(
        self, streams: Sequence[Any], windows: Sequence[Sequence[int]], is_last: Sequence[bool]
    ) -> list[Tensor]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Emit:
    """Not a wish but a result, to go out at once; answered with nothing."""

    output: Any


Wish = Hear | HearClip | See | SeePacked | Feed | Decide | Choose | Say | Sound
ORDER: tuple[type, ...] = (See, SeePacked, Hear, HearClip, Feed, Decide, Choose, Say, Sound)

Result = TypeVar("Result")
Work = Generator[Wish | Emit, Any, Result]


def relay(work: Work[Result], told: Callable[[Any], Work[None]]) -> Work[Result]:
    """Do work, and in the place of whatever it emits the work that `told` makes of it."""
    answer = None
    while True:
        try:
            wish = work.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        if isinstance(wish, Emit):
            yield from told(wish.output)
            answer = None
        else:
            answer = yield wish
