"""Sessions of the tiny model, played without a stage around them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from omni.models.minicpmo.brain import Brain
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.parity.bench import Bench, Step, StubStream, traced
from omni.models.minicpmo.sampling import greedy
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.unit import DuplexRule, DuplexSession, SystemPrompt, UnitInput, UnitOutput
from omni.models.minicpmo.wishes import Decide, Feed, Sound, Wish

PROMPT = SystemPrompt("<|im_start|>system\nTalk.", "<|im_end|>")
SECOND = 16000


def second(bench: Bench, index: int) -> torch.Tensor:
    return bench.pack.stream((index * SECOND, (index + 1) * SECOND))


class Played:
    """A duplex session whose decisions are given, and what it did."""

    def __init__(self, bench: Bench, rule: DuplexRule, brain: Brain | None = None) -> None:
        self.bench = bench
        self.brain = brain or bench.brain
        self.duplex = Duplex(self.brain, rule)
        self.session: DuplexSession = run(
            self.brain, self.duplex.open(PROMPT, StubStream(), greedy, greedy)
        )
        self.steps: list[Step] = []

    def unit(self, decisions: Iterable[int], *, is_forced: bool = False) -> UnitOutput:
        script = iter(decisions)
        self.steps = []

        def answer(wish: Wish) -> Any:
            return next(script) if isinstance(wish, Decide) else None

        samples = second(self.bench, self.session.thinking.num_units)
        work = self.duplex.unit(self.session, UnitInput(samples, (), is_forced))
        output: UnitOutput = run(self.brain, traced(work, self.steps, answer))
        return output

    def fed_ids(self) -> list[int]:
        feeds = [s.wish for s in self.steps if isinstance(s.wish, Feed)]
        return [i for feed in feeds for group in feed.groups for i in group.ids]

    def windows(self) -> Sequence[Sound]:
        return [s.wish for s in self.steps if isinstance(s.wish, Sound)]

    def close(self) -> None:
        self.session.close()
