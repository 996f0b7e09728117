"""The words of sound that is part of the conversation already: committed by hand, or in an item.

Laws: one piece after the other, however many wait; what was announced is completed, with words or
with the news that they are lost; a lost ear is asked again, and every wait has a deadline.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from omni.dialog.history import History
from omni.dialog.outbox import Outbox
from omni.events import Item, ItemDone, TranscriptDelta, TranscriptDone, TranscriptFailed
from omni.media.pauses import pieces
from omni.types import Heard, Recognise, Samples

RATE_HZ: Final = 16000


@dataclass(slots=True, eq=False)
class Job:
    """One part of an item. `is_last`: the item is done with it."""

    item_id: str
    index: int
    num_samples: int
    is_last: bool
    waiting: deque[Samples]
    words: list[str] = field(default_factory=list)
    language: str = ""


class Dictation:
    """Args:
    outbox: where events and questions go.
    history: has the items.
    limit_s: how long an answer may take.
    """

    def __init__(self, outbox: Outbox, history: History, limit_s: float) -> None:
        self._out = outbox
        self._history = history
        self._limit_s = limit_s
        self._jobs: deque[Job] = deque()
        self._request: Recognise | None = None  # about the first job's first piece
        self._asked_at_ms = 0.0
        self.language: str | None = None  # ISO 639-1; None lets the recogniser find it

    @property
    def is_awaited(self) -> bool:
        return any(self._history.has(job.item_id) for job in self._jobs)

    def take(self, item: Item, index: int, samples: Samples, *, is_last: bool) -> None:
        """Find the words of an item's part: float32 [n] at 16 kHz."""
        waiting = deque(samples[p.start : p.end] for p in pieces(samples, RATE_HZ))
        self._jobs.append(Job(item.item_id, index, len(samples), is_last, waiting))
        self._go_on()

    def heard(self, heard: Heard) -> Item | None:
        """Take in an answer; returns the item if its words are all known by this."""
        if self._request is None or heard.turn_id != self._request.turn_id:
            return None
        job, self._request = self._jobs[0], None
        job.waiting.popleft()
        job.words.append(heard.text)
        job.language = job.language or heard.language
        item = self._complete() if not job.waiting else None
        self._go_on()
        return item

    def tick(self) -> None:
        waited_ms = self._out.clock.now_ms() - self._asked_at_ms
        if self._request is not None and waited_ms > self._limit_s * 1000:
            self.give_up("stage_timeout", "the words could not be recognised in time")

    def repeat(self) -> None:
        """The recogniser was lost and is back: it does not know what it owes."""
        if self._request is not None:
            self._asked_at_ms = self._out.clock.now_ms()
            self._out.send(self._request)

    def give_up(self, code: str, message: str) -> None:
        """The words of the first part will never be known."""
        if self._request is None:
            return
        job, self._request = self._jobs.popleft(), None
        if self._history.has(job.item_id):
            self._out.emit(TranscriptFailed(job.item_id, code, message, job.index))
            if job.is_last:
                item = replace(self._history.get(job.item_id), status="incomplete")
                self._out.emit(ItemDone(item, self._history.replace(item)))
        self._go_on()

    def _go_on(self) -> None:
        while self._jobs and self._request is None:
            job = self._jobs[0]
            if not job.waiting:  # silence has no words
                self._complete()
                continue
            samples = job.waiting[0]
            stamp = (*self._out.stamp, self._out.new_id("dictated"))
            self._request = Recognise(*stamp, samples, len(samples), True, self.language)
            self.repeat()

    def _complete(self) -> Item | None:
        job = self._jobs.popleft()
        if not self._history.has(job.item_id):  # the client has deleted it
            return None
        text = " ".join(filter(None, job.words))
        item = self._history.get(job.item_id)
        part = replace(item.parts[job.index], text=text, samples=None)
        parts = (*item.parts[: job.index], part, *item.parts[job.index + 1 :])
        item = replace(item, parts=parts)
        previous = self._history.replace(item)
        if text:
            self._out.emit(TranscriptDelta(job.item_id, text, job.index))
        duration_s = job.num_samples / RATE_HZ
        self._out.emit(TranscriptDone(job.item_id, text, job.language, duration_s, job.index))
        if job.is_last:
            self._out.emit(ItemDone(item, previous))
        return item
