"""What a duplex session is between two units, what goes into a unit and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omni.media.slicing import Pixels
from omni.models.minicpmo.decoder import Context
from omni.models.minicpmo.kv import KeyValues
from omni.models.minicpmo.mel import HOP, RATE_HZ, MelStream
from omni.models.minicpmo.sampling import Decision, Source, SpeechRule
from omni.models.minicpmo.window import Window, WindowRule
from omni.models.minicpmo.wishes import SpeechStream

UNIT_SAMPLES = RATE_HZ
FRAMES_A_UNIT = UNIT_SAMPLES // HOP
FIRST_PADDED = 16560  # samples the first unit is padded to, at its front
FIRST_TAKEN = 16480  # of which so many are heard at once: the rest is a constant lag
_CONTEXT_FRAMES = 2


@dataclass(frozen=True, slots=True, eq=False)
class DuplexRule:
    """How sessions behave. The defaults are the demo's; the release has no `max_chars`,
    `min_window` 28 and a length penalty of 1.

    `is_as_released` keeps three faults of both: an answer that ends in `<|listen|>` is lost, a
    forced listen leaves the speech LM as it was, and `listen_scale` acts on `<|im_end|>`.
    """

    decision: Decision = field(default_factory=Decision)
    speech: SpeechRule = field(default_factory=SpeechRule)
    window: WindowRule = field(default_factory=WindowRule)
    max_tokens: int = 20  # a unit, the end of chunk included
    max_chars: int | None = 28  # a unit
    min_window: int = 8  # codes worth a vocoder call inside a turn
    num_forced_listens: int = 0  # at the start of a session
    is_as_released: bool = False
    is_spoken: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class SystemPrompt:
    """Text before and after the reference recording (16 kHz samples), which may be missing."""

    prefix: str
    suffix: str
    reference: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class UnitInput:
    """One second: sound [16000] or none, pictures, each with the most slices it is cut into."""

    samples: Tensor | None
    pictures: Sequence[tuple[Pixels, int]] = ()
    is_listen_forced: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class UnitOutput:
    """What a unit said. `samples` are 24 kHz; `ids` go with `text`."""

    is_listen: bool
    is_turn_end: bool
    ids: tuple[int, ...]
    text: str
    codes: tuple[int, ...]
    samples: Tensor


@dataclass(slots=True, eq=False)
class Hearing:
    """What the ears keep of a session. `lag` are samples taken in and not heard yet."""

    mel: MelStream = field(default_factory=lambda: MelStream(_CONTEXT_FRAMES))
    past: KeyValues = field(default_factory=KeyValues)
    lag: Tensor = field(default_factory=lambda: torch.zeros(FIRST_PADDED - UNIT_SAMPLES))


@dataclass(slots=True, eq=False)
class Thinking:
    """What the mind keeps of a session. `unit_start` is the row at which its last unit begins."""

    context: Context
    source: Source
    window: Window
    history: list[int] = field(default_factory=list)
    is_turn_open: bool = False
    num_units: int = 0
    unit_start: int = 0


@dataclass(slots=True, eq=False)
class Speaking:
    """What the mouth keeps of a session. `codes` are for the next vocoder window."""

    context: Context
    stream: SpeechStream | None
    source: Source
    codes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class DuplexSession:
    """Everything a session is, between two units."""

    hearing: Hearing
    thinking: Thinking
    speaking: Speaking

    def close(self) -> None:
        self.thinking.context.close()
        self.speaking.context.close()
