"""A whole conversation on virtual time: a session and the stub's stages, stepped by hand.

Thirty seconds of talk take milliseconds, and every run is the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from omni.clock import ManualClock
from omni.config import OmniConfig
from omni.dialog.options import SessionOptions, default_options
from omni.dialog.session import Session
from omni.events import Event
from omni.stages.stub import StubHear, stub_stage
from omni.types import DESTINATIONS, REPLY_CHUNKS, STAGES, Chunk, Fence, Samples, Speech, StageName

E = TypeVar("E")
FRAME = 320  # 20 ms at 16 kHz


class ScriptedHear(StubHear):
    """Hears `words`, if there are any, in whatever it is given."""

    words: str | None = None

    def answer(self, chunk: Chunk) -> list[Chunk]:
        heard = super().answer(chunk)
        if self.words is None:
            return heard
        return [replace(one, text=self.words) for one in heard]  # type: ignore[type-var]


class Talk:
    """A user, a session and its stages. `held` stages keep what they are sent to themselves.

    `hear_ms`: time the recogniser takes; `speak_ms`: the voice, for each piece.
    """

    hear_ms = 0.0
    speak_ms = 0.0

    def __init__(
        self, config: OmniConfig, change: Callable[[SessionOptions], SessionOptions] = lambda o: o
    ) -> None:
        self.clock = ManualClock()
        self.session = Session("s", change(default_options(config)), config, self.clock)
        self.stages = {name: stub_stage(name, config.brain.stub) for name in STAGES}
        self.stages["hear"] = self.ear = ScriptedHear(0)
        self._late: list[tuple[float, Chunk]] = []  # recognised, due at
        self.held: set[StageName] = set()
        self.sent: list[Chunk] = []  # all that the session sent
        self.events: list[Event] = []
        self.times_ms: list[float] = []  # of each event
        self._epoch = 0
        self._pump()

    # ---- the user

    def speak(self, seconds: float, words: str | None = None, level: float = 0.1) -> None:
        """Sound; `words` are what the recogniser finds in it, also if asked later."""
        self.ear.words = words
        self._feed(level, seconds)

    def quiet(self, seconds: float) -> None:
        self._feed(0.0, seconds)

    def do(self, command: Callable[[Session], object]) -> None:
        command(self.session)
        self._pump()

    # ---- what came of it

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[str]:
        """Names of the events in order, runs of the same folded into one."""
        names = [type(event).__name__ for event in self.events]
        return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]

    def deliver(self, chunk: Chunk) -> None:
        """Hand the session a chunk as if a stage had sent it."""
        self.session.receive(chunk)
        self._pump()

    # ---- inside

    def _feed(self, level: float, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.hear(np.full(FRAME, level, np.float32))

    def hear(self, frame: Samples) -> None:
        """What the microphone takes up in the next 20 ms, float32 [n] at 16 kHz."""
        self.session.feed(frame)
        self._pump()
        self.clock.advance(20)
        self._deliver_late()
        self.session.tick()
        self._pump()

    def _pump(self) -> None:
        """Run session and stages until nothing more happens."""
        while True:
            self._drain_events()
            chunks = self.session.chunks()
            self.sent += chunks
            self._route(chunks)
            if not chunks and not self._step_stages():
                self._drain_events()
                return

    def _step_stages(self) -> bool:
        for name, stage in self.stages.items():
            if name not in self.held and stage.has_work():
                self._route(stage.step([]))
                return True
        return False

    def _route(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            if isinstance(chunk, Fence):
                self._epoch = max(self._epoch, chunk.epoch)
            if isinstance(chunk, REPLY_CHUNKS) and chunk.epoch < self._epoch:
                continue
            for receiver in DESTINATIONS[type(chunk)]:
                if isinstance(chunk, Speech) and self.speak_ms:
                    self._late.append((self.clock.now_ms() + self.speak_ms, chunk))
                elif receiver == "gateway":
                    self.session.receive(chunk)
                    self._drain_events()
                elif receiver == "hear" and self.hear_ms and receiver not in self.held:
                    due_ms = self.clock.now_ms() + self.hear_ms
                    self._late += [(due_ms, one) for one in self.stages["hear"].step([chunk])]
                elif receiver not in self.held:
                    self._route(self.stages[receiver].step([chunk]))

    def _deliver_late(self) -> None:
        due = [chunk for at_ms, chunk in self._late if at_ms <= self.clock.now_ms()]
        self._late = [(at_ms, chunk) for at_ms, chunk in self._late if chunk not in due]
        for chunk in due:
            if not isinstance(chunk, Speech):
                self._route([chunk])
            elif chunk.epoch >= self._epoch:
                self.deliver(chunk)

    def _drain_events(self) -> None:
        for event in self.session.events():
            self.events.append(event)
            self.times_ms.append(self.clock.now_ms())
