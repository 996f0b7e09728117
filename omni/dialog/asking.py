"""What is asked about the user's sound: its words, and whether it sounds finished.

Of the recogniser, only the latest question counts; it is asked again if lost, given up in time.
"""

from dataclasses import replace
from typing import Final

from omni.config import OmniConfig
from omni.dialog.options import default_options
from omni.dialog.outbox import Outbox
from omni.dialog.turn import RATE_HZ, Turn
from omni.media.buffer import SampleBuffer
from omni.types import Heard, JudgeTurn, Recognise

JUDGED_SAMPLES: Final = 8 * RATE_HZ


class Asking:
    """Args:
    outbox: where questions go.
    buffer: the user's sound; questions are about its newest part.
    config: how long an answer may take, and how often is asked about a turn that goes on.
    """

    def __init__(self, outbox: Outbox, buffer: SampleBuffer, config: OmniConfig) -> None:
        self._out = outbox
        self._buffer = buffer
        self._limit_s = config.deadlines.recognise_s
        self._every_samples = config.brain.hear.partial_every_ms * RATE_HZ // 1000
        self._next_sample = 0
        self._asked_at_ms = 0.0
        self._probe_id = ""
        self.options = default_options(config)  # in which language the words are, and wanted
        # Taken for sounds over our speech: of half a second no language can be told.
        self.usual_language: str | None = None
        self.request: Recognise | None = None  # not answered yet

    @property
    def is_overdue(self) -> bool:
        waited_ms = self._out.clock.now_ms() - self._asked_at_ms
        return self.request is not None and waited_ms > self._limit_s * 1000

    def for_all_words(self, turn: Turn) -> None:
        """Recognise from its start to now; no more is expected of this turn."""
        language = self.usual_language if turn.is_tentative else None
        self._ask(turn.item_id, turn.start_sample, language, is_final=True)

    def began(self, at_sample: int) -> None:
        """A turn began."""
        self._next_sample = at_sample + self._every_samples

    def for_words_so_far(self, turn: Turn) -> None:
        """If it is time to ask again, and nothing is being answered."""
        position = self._buffer.position
        if self.request is None and self._every_samples and position >= self._next_sample:
            self._next_sample = position + self._every_samples
            self._ask(turn.item_id, turn.start_sample, None, is_final=False)

    def for_words_since(self, start_sample: int) -> None:
        """A quick look, under an id of its own: its words must not bind those of the turn."""
        self._probe_id = self._out.new_id("probe")
        self._ask(self._probe_id, start_sample, self.usual_language, is_final=False)

    def whether_finished(self, turn: Turn) -> None:
        """Does the turn sound finished? The answer is a `TurnHint`."""
        end = self._buffer.position
        samples = self._buffer.slice(max(turn.start_sample, end - JUDGED_SAMPLES), end)
        self._out.send(JudgeTurn(*self._out.stamp, turn.item_id, samples, end))

    def expects(self, heard: Heard, turn: Turn) -> bool:
        """Whether this is about the turn and still of interest; takes note if it is the answer."""
        asked = self.request
        if heard.turn_id not in (turn.item_id, self._probe_id) or (
            asked is None and not turn.is_tentative
        ):
            return False
        # Its last words so far and all its words may be asked for at the same sample.
        if asked and _key(heard) == _key(asked):
            self.request = None
        return True

    def repeat(self) -> None:
        """The recogniser was lost and is back: it does not know what it owes."""
        if self.request is not None:
            self._asked_at_ms = self._out.clock.now_ms()
            self._out.send(self.request)

    def drop(self) -> Recognise | None:
        """Wait no longer; returns what was waited for."""
        request, self.request, self._probe_id = self.request, None, ""
        return request

    def _ask(
        self, turn_id: str, start_sample: int, language: str | None, *, is_final: bool
    ) -> None:
        end = self._buffer.position
        samples = self._buffer.slice(start_sample, end)
        wanted = self.options.translate_to if is_final else None
        request = Recognise(*self._out.stamp, turn_id, samples, end, is_final)
        language = self.options.language or language
        self.request = replace(request, language=language, translate_to=wanted)
        self.repeat()


def _key(about: Heard | Recognise) -> tuple[str, int, bool]:
    return about.turn_id, about.end_sample, about.is_final
