"""What a session wants done: events for the client, chunks for the stages, errands; its epoch, and
what it may still ask for.

Shared by the two halves of a session (listening, replying), so that both stamp chunks alike.
"""

import itertools
import secrets

from omni.clock import Clock
from omni.config import ServerConfig
from omni.dialog.allowance import Allowance
from omni.errands import Errand
from omni.events import Event, Expired
from omni.types import Chunk, Fence, Prompt


class Outbox:
    """Collects; the driver drains with `take_events` and `take_chunks`, in this order kept."""

    def __init__(self, session_id: str, clock: Clock, config: ServerConfig) -> None:
        self.session_id = session_id
        self.clock = clock
        self.allowance = Allowance(clock, config)
        self.epoch = 0
        self.unit_index = 0
        self.prompted_id = ""  # the reply that the core was asked for last
        self._max_session_s = config.max_session_s
        self._ends_ms: float | None = clock.now_ms() + config.max_session_s * 1000
        self._events: list[Event] = []
        self._chunks: list[Chunk] = []
        self._errands: list[Errand] = []
        self._salt = secrets.token_hex(6)
        self._ids = itertools.count(1)

    @property
    def stamp(self) -> tuple[str, int, int]:
        """The first three fields of any chunk made now."""
        return self.session_id, self.epoch, self.unit_index

    def new_id(self, kind: str) -> str:
        """An id such as `item_5f0c…_7`, unique over all sessions."""
        return f"{kind}_{self._salt}{next(self._ids):06x}"

    def emit(self, event: Event) -> None:
        self._events.append(event)

    def send(self, chunk: Chunk) -> None:
        if isinstance(chunk, Prompt):
            self.prompted_id = chunk.response_id
        self._chunks.append(chunk)

    def run(self, errand: Errand) -> None:
        self._errands.append(errand)

    def raise_epoch(self) -> None:
        """Make every reply chunk that is under way stale, here and in all stages."""
        self.epoch += 1
        self.send(Fence(*self.stamp))

    def watch_time(self) -> None:
        """Tell, once, that the session has lasted as long as it may."""
        if self._ends_ms is not None and self.clock.now_ms() >= self._ends_ms:
            self._ends_ms = None
            self.emit(Expired(self._max_session_s))

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def take_errands(self) -> list[Errand]:
        errands, self._errands = self._errands, []
        return errands

    def take_chunks(self) -> list[Chunk]:
        chunks, self._chunks = self._chunks, []
        return chunks
