"""The production models of a pack, and what the checks share: sources, a vocoder that is a stub."""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from omni.models.minicpmo.brain import Brain, Feed, Say, Wish
from omni.models.minicpmo.checkpoint import MiniCPMO, load
from omni.models.minicpmo.parity.pack import Pack
from omni.models.minicpmo.sampling import Source, greedy
from omni.models.minicpmo.tokens import Tokens

_CPU = torch.device("cpu")
_SESSIONS = 4
_CONTEXT_TOKENS = 4096
_STUB_SAMPLES = 960  # a code
_LOOKAHEAD = 3


class StubStream:
    """A stream of the stub vocoder, which remembers nothing."""

    def reset(self) -> None:
        """Nothing to forget."""


class StubVocoder:
    """The packs' sessions were recorded with this in the vocoder's place (their README, 3.13)."""

    silence_code = 4218

    def stream(
        self, streams: Sequence[Any], windows: Sequence[Sequence[int]], is_last: Sequence[bool]
    ) -> list[Tensor]:
        return [
            torch.tensor([code % 4096 + 1 for code in (codes if last else codes[:-_LOOKAHEAD])])
            .repeat_interleave(_STUB_SAMPLES)
            .div(32768)
            for codes, last in zip(windows, is_last, strict=True)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A wish of a session, how it was answered, and the rows then in the context it was about."""

    wish: Wish
    answer: Any
    num_rows: int


@dataclass(eq=False)
class Bench:
    """The models of a pack, loaded when they are first wanted, as a server would load them."""

    pack: Pack

    @cached_property
    def model(self) -> MiniCPMO:
        return load(self.pack.folder, _CPU, torch.float32)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.pack.folder)

    @cached_property
    def brain(self) -> Brain:
        return Brain(self.model, self.tokens, StubVocoder(), _SESSIONS, _CONTEXT_TOKENS)


def replay(uniforms: Iterable[float] | None) -> Source:
    """A source that gives recorded numbers, or takes the likeliest if there are none."""
    if uniforms is None:
        return greedy
    numbers = iter(uniforms)
    return lambda: next(numbers)


Override = Callable[[Wish], Any]


def traced(
    work: Generator[Wish, Any, Any], steps: list[Step], override: Override
) -> Generator[Wish, Any, Any]:
    """Pass work through and note its steps; what `override` answers is not asked of the models."""
    answer = None
    while True:
        try:
            wish = work.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = override(wish)
        if answer is None:
            answer = yield wish
        rows = len(wish.context) if isinstance(wish, Feed | Say) else 0
        steps.append(Step(wish, answer, rows))
