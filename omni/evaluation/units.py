"""How long duplex units take when many sessions share one brain, in real time.

Every session has one unit a second, the sessions' units spread over the second; each unit speaks so
many words. Hides the clockwork: what is due, who has waited, and which model's time it was.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from omni.media.slicing import Pixels
from omni.models.minicpmo.brain import Brain
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.sampling import seeded
from omni.models.minicpmo.scheduler import Job, Scheduler, run
from omni.models.minicpmo.tokens import SpecialIds
from omni.models.minicpmo.unit import (
    UNIT_SAMPLES,
    DuplexRule,
    DuplexSession,
    SystemPrompt,
    UnitInput,
)
from omni.models.minicpmo.wishes import (
    Decide,
    Feed,
    Hear,
    Say,
    See,
    Sound,
    SpeechStream,
    Wish,
    Work,
)

PROMPT: Final = SystemPrompt("You are a helpful assistant.", "Speak.")
WARM_UP_UNITS: Final = 3
STAGES: Final = {See: "see", Hear: "hear", Say: "speak", Sound: "vocode"}


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What is asked of the brain. `num_words` are LLM tokens spoken in each unit."""

    num_sessions: int
    num_units: int
    num_words: int
    picture: Pixels | None = None  # in every unit, uncut
    unit_s: float = 1.0


@dataclass(slots=True, eq=False)
class UnitTime:
    """A unit on its way: whose, when it was due, and what it has cost since, by stage, in ms."""

    index: int
    due_s: float
    job: Job
    wish: Wish | None = None
    has_read: bool = False
    stages_ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    out_ms: float | None = None  # from when it was due to when what it says was out


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """Units after the warm-up, all of them out, and the seconds they took together."""

    units: tuple[UnitTime, ...]
    wall_s: float

    def percentiles(self, stage: str | None = None) -> tuple[float, float]:
        """p50 and p95 in ms, of the whole unit or of a stage's share of it."""
        values = [unit.out_ms if stage is None else unit.stages_ms[stage] for unit in self.units]
        p50, p95 = np.percentile(np.array(values, float), [50, 95])
        return float(p50), float(p95)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for unit in self.units for name in unit.stages_ms))


def run_load(
    brain: Brain, load: Load, stream_of: Callable[[int], SpeechStream], finish: Callable[[], None]
) -> Ran:
    """Serve `load` in real time.

    Args:
        stream_of: a vocoder stream for a session.
        finish: waits until the device has done what it was given.

    Raises:
        OmniError: as the sessions' work does, the first of them.
    """
    duplex = Duplex(brain, DuplexRule(max_chars=None, max_tokens=load.num_words + 3))
    sessions = [_open(duplex, index, stream_of(index)) for index in range(load.num_sessions)]
    try:
        return _Clockwork(duplex, sessions, load, finish).run()
    finally:
        for session in sessions:
            session.close()


def spoken(work: Work[Any], ids: SpecialIds, words: Sequence[int]) -> Work[Any]:
    """The same work, whose unit speaks these words; every decision is still computed."""
    script = iter((ids.speak, *words))
    answer = None
    while True:
        try:
            wish = work.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = yield wish
        if isinstance(wish, Decide):
            answer = next(script, ids.chunk_eos)


class _Clockwork:
    def __init__(
        self,
        duplex: Duplex,
        sessions: Sequence[DuplexSession],
        load: Load,
        finish: Callable[[], None],
    ) -> None:
        self._duplex = duplex
        self._sessions = sessions
        self._load = load
        self._finish = finish
        self._scheduler = Scheduler(duplex.brain)
        self._under_way: list[UnitTime] = []
        self._sound = torch.randn(UNIT_SAMPLES, generator=torch.Generator().manual_seed(0)) / 10

    def run(self) -> Ran:
        load, sessions = self._load, self._sessions
        num_beats = WARM_UP_UNITS + load.num_units
        start_s = time.perf_counter()
        plan = [
            (start_s + (beat + index / len(sessions)) * load.unit_s, index)
            for beat, index in itertools.product(range(num_beats), range(len(sessions)))
        ]
        units: list[UnitTime] = []
        while plan or self._under_way:
            while plan and plan[0][0] <= time.perf_counter() and self._is_free(plan[0][1]):
                units.append(self._submit(*plan.pop(0)))
            if self._under_way:
                self._step()
            else:
                time.sleep(max(0.0, plan[0][0] - time.perf_counter()))
        warm = WARM_UP_UNITS * len(sessions)
        return Ran(tuple(units[warm:]), time.perf_counter() - units[warm].due_s)

    def _is_free(self, index: int) -> bool:
        """A session's unit waits for the one before."""
        return all(unit.index != index for unit in self._under_way)

    def _submit(self, due_s: float, index: int) -> UnitTime:
        load, ids = self._load, self._duplex.brain.tokens.ids
        pictures = [] if load.picture is None else [(load.picture, 1)]
        work = self._duplex.unit(self._sessions[index], UnitInput(self._sound, pictures))
        words = [ids.unk] * load.num_words  # any id costs the same
        unit = UnitTime(index, due_s, self._scheduler.submit(spoken(work, ids, words)))
        self._under_way.append(unit)
        return unit

    def _step(self) -> None:
        """One pass of a model; all whom it served have spent its time."""
        for unit in self._under_way:
            unit.wish = unit.job.wish
        begin_s = time.perf_counter()
        self._scheduler.step()
        self._finish()
        now_s = time.perf_counter()
        for unit in self._under_way:
            if unit.job.error is not None:
                raise unit.job.error
            if unit.job.wish is not unit.wish and unit.out_ms is None:
                unit.stages_ms[_stage(unit)] += (now_s - begin_s) * 1000
            if unit.job.outputs and unit.out_ms is None:
                unit.out_ms = (now_s - unit.due_s) * 1000
                unit.stages_ms["wait"] = unit.out_ms - sum(unit.stages_ms.values())
        self._under_way = [unit for unit in self._under_way if not unit.job.is_done]


def _stage(unit: UnitTime) -> str:
    """Whose time it was; the first rows read are the unit's input, later ones its own words."""
    if isinstance(unit.wish, Feed) and not unit.has_read:
        unit.has_read = True
        return "prefill"
    return STAGES.get(type(unit.wish), "decode")


def _open(duplex: Duplex, index: int, stream: SpeechStream) -> DuplexSession:
    work = duplex.open(PROMPT, stream, seeded(index), seeded(index + 1))
    session: DuplexSession = run(duplex.brain, work)
    return session
