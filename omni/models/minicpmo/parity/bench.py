"""The production models of a pack, and what the checks share: sources, a vocoder that is a stub."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import MiniCPMO, load
from omni.models.minicpmo.parity.pack import Pack
from omni.models.minicpmo.sampling import Source, greedy
from omni.models.minicpmo.speech import SpeechOrder
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.wishes import Emit, Feed, Say, Wish, Work

Shared = TypeVar("Shared")

_CPU = torch.device("cpu")
_ROOM = Room(num_sessions=8, context_tokens=4096, speech_tokens=4096)
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
    done: dict[Callable[["Bench"], Any], Any] = field(default_factory=dict)

    def once(self, work: Callable[["Bench"], Shared]) -> Shared:
        """The result of work that several checks share."""
        if work not in self.done:
            self.done[work] = work(self)
        result: Shared = self.done[work]
        return result

    @cached_property
    def model(self) -> MiniCPMO:
        return load(self.pack.folder, _CPU, torch.float32)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.pack.folder)

    @cached_property
    def brain(self) -> Brain:
        return Brain(self.model, self.tokens, StubVocoder(), _ROOM)


@contextmanager
def captured(module: nn.Module) -> Iterator[list[Any]]:
    """What a module gives out while the block runs, call by call."""
    outputs: list[Any] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        hook.remove()


@contextmanager
def read_by(module: nn.Module) -> Iterator[list[Any]]:
    """What a module is given while the block runs, call by call."""
    inputs: list[Any] = []
    hook = module.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    try:
        yield inputs
    finally:
        hook.remove()


def replay(uniforms: Iterable[float] | None) -> Source:
    """A source that gives recorded numbers, or takes the likeliest if there are none."""
    if uniforms is None:
        return greedy
    numbers = iter(uniforms)
    return lambda: next(numbers)


Override = Callable[[Wish], Any]


def traced(work: Work[Any], steps: list[Step], override: Override) -> Work[Any]:
    """Pass work through and note its steps; what `override` answers is not asked of the models."""
    answer = None
    while True:
        try:
            wish = work.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = None if isinstance(wish, Emit) else override(wish)
        if answer is None:
            answer = yield wish
        match wish:
            case Feed(context=context) | Say(order=SpeechOrder(context=context)):
                rows = len(context)
            case _:
                rows = 0
        if not isinstance(wish, Emit):
            steps.append(Step(wish, answer, rows))
