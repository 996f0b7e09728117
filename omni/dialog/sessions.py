"""Which kind of session a profile's brain needs, and what every kind can do."""

import itertools
from typing import Final, Protocol

from omni.clock import Clock
from omni.config import OmniConfig
from omni.dialog.answering import ResponseRequest
from omni.dialog.duplex import DuplexSession
from omni.dialog.half_duplex import HalfDuplexSession
from omni.dialog.options import SessionOptions
from omni.dialog.session import Session
from omni.errands import Errand, Result
from omni.events import Event, Item
from omni.types import Chunk, Samples

PACED: Final = {"lead_ms": 20, "late_ms": 200}


class AnySession(Protocol):
    """What a client or a transport does to a session; meanings are `Session`'s."""

    @property
    def session_id(self) -> str: ...
    @property
    def options(self) -> SessionOptions: ...
    def events(self) -> list[Event]: ...
    def chunks(self) -> list[Chunk]: ...
    def errands(self) -> list[Errand]: ...
    def learn(self, result: Result) -> None: ...
    def feed(self, samples: Samples) -> None: ...
    def show(self, encoded: bytes, captured_ms: int | None = None) -> str: ...
    def receive(self, chunk: Chunk) -> None: ...
    def tick(self) -> None: ...
    def update(self, options: SessionOptions) -> None: ...
    def commit(self) -> None: ...
    def clear_input(self) -> None: ...
    def add_item(self, item: Item, previous_item_id: str | None = None) -> None: ...
    def find_item(self, item_id: str) -> Item: ...
    def retrieve_item(self, item_id: str) -> None: ...
    def delete_item(self, item_id: str) -> None: ...
    def truncate_item(self, item_id: str, audio_end_ms: int) -> None: ...
    def respond(self, request: ResponseRequest) -> None: ...
    def cancel(self, response_id: str | None = None) -> None: ...
    def clear_output(self) -> None: ...


class Sessions:
    """Makes a server's sessions. Those that keep a beat are spread over the second."""

    def __init__(self, config: OmniConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._numbers = itertools.count()

    def new(self, session_id: str, options: SessionOptions) -> AnySession:
        config = _paced(self._config) if options.is_paced else self._config
        if config.brain.kind != "minicpm-o":
            return Session(session_id, options, config, self._clock)
        if config.brain.duplex.mode == "half":
            return HalfDuplexSession(session_id, options, config, self._clock)
        number = next(self._numbers)
        slot = halved(number) if config.brain.duplex.is_staggered else None
        return DuplexSession(session_id, options, config, self._clock, slot)


def _paced(config: OmniConfig) -> OmniConfig:
    """The profile where sound leaves in real time: hardly any of it needs to wait there."""
    return config.model_copy(update={"audio": config.audio.model_copy(update=PACED)})


def halved(number: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8...: each next one in the widest gap (van der Corput)."""
    place, weight = 0.0, 0.5
    while number:
        place += weight * (number & 1)
        number, weight = number >> 1, weight / 2
    return place
