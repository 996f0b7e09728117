"""The user's side of the conversation: from sound to turns with words.

Finds where a turn begins and ends, has it recognised while it is spoken, and hands finished turns
to the session. Laws: sound without words makes no turn; a lost ear is asked again; every
recognition has a deadline.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from omni.config import OmniConfig
from omni.dialog.endpointing import Boundary, Endpointer
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.errors import ProtocolError
from omni.events import Failed, InputCleared, SpeechStarted, SpeechStopped, TranscriptDelta
from omni.media.buffer import SampleBuffer
from omni.types import Activity, AudioChunk, Heard, JudgeTurn, Recognise, Samples, TurnHint

RATE_HZ = 16000
MIN_COMMIT_SAMPLES = RATE_HZ // 10
JUDGED_SAMPLES = 8 * RATE_HZ


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A stretch of the user's speech; `item_id` is the item it becomes if it holds words.

    `speech_end_ms`: wall clock of its last voiced sample. `is_closed`: no more will be said in it.
    """

    item_id: str
    start_sample: int
    end_sample: int = 0
    speech_end_ms: float = 0.0
    text: str | None = None
    language: str = ""
    is_closed: bool = False
    is_manual: bool = False

    @property
    def duration_s(self) -> float:
        return (self.end_sample - self.start_sample) / RATE_HZ


class Listener(Protocol):
    """What the session does about the user's speech."""

    def on_began(self) -> None: ...

    def on_likely_end(self, turn: Turn) -> None:
        """The turn has words and a pause; it may still go on."""

    def on_resumed(self) -> None: ...

    def on_committed(self, turn: Turn) -> None:
        """The client ended the turn; its words are not known yet."""

    def on_turn(self, turn: Turn) -> None:
        """The turn is over and has been recognised; `text` may be empty."""


class Listening:
    """Args:
    outbox: where events and chunks go.
    listener: is told of beginnings and ends.
    config: turn and deadline settings.
    options: the session's options, changeable by assignment to `options`.
    """

    def __init__(
        self, outbox: Outbox, listener: Listener, config: OmniConfig, options: SessionOptions
    ) -> None:
        self._out = outbox
        self._listener = listener
        self._config = config
        self._buffer = SampleBuffer(int((config.turn.max_turn_s + 5) * RATE_HZ))
        self._endpointer: Endpointer | None = None
        self.options = options
        self._turn: Turn | None = None
        self._free_from = 0  # sound before this belongs to an earlier turn, or was cleared
        self._asked: Recognise | None = None
        self._asked_at_ms = 0.0
        self._num_shown = 0  # characters of the turn's transcript sent already
        self._next_partial = 0
        self.configure(options)

    @property
    def is_hearing(self) -> bool:
        """The user has the floor."""
        return self._turn is not None

    @property
    def is_awaiting_words(self) -> bool:
        """A turn is over but not recognised yet."""
        return self._turn is not None and self._turn.is_closed

    @property
    def position_ms(self) -> int:
        return self._buffer.position * 1000 // RATE_HZ

    def configure(self, options: SessionOptions) -> None:
        """Adopt new options; a turn in progress goes on unless detection is switched off."""
        self.options = options
        detection = options.turn_detection
        if detection is None:
            self._endpointer = None
        elif self._endpointer is None:
            self._endpointer = Endpointer(detection, self._config.turn.speculate_after_ms)
        else:
            self._endpointer.detection = detection

    def feed(self, samples: Samples) -> None:
        """Take in sound at 16 kHz."""
        start = self._buffer.position
        self._buffer.append(samples)
        audio = self._config.audio
        self._out.unit_index = self._buffer.position * 1000 // (RATE_HZ * audio.unit_ms)
        self._out.send(AudioChunk(*self._out.stamp, start, samples))
        if self._turn and not self._turn.is_closed:
            self._while_speaking(self._turn)

    def activity(self, activity: Activity, min_speech_ms: int) -> None:
        """Follow the voice; `min_speech_ms` of it make a beginning."""
        if self._endpointer is None or activity.end_sample <= self._free_from:
            return
        boundary = self._endpointer.feed(activity.end_sample, activity.probability, min_speech_ms)
        if boundary is not None:
            self._at(boundary)

    def hint(self, hint: TurnHint) -> None:
        if self._endpointer and self._turn and hint.turn_id == self._turn.item_id:
            is_complete = hint.probability >= self._config.turn.complete_threshold
            self._endpointer.hint(is_complete)

    def heard(self, heard: Heard) -> None:
        """Take in the recogniser's words for the turn, partial or whole."""
        turn, asked = self._turn, self._asked
        if turn is None or heard.turn_id != turn.item_id or asked is None:
            return
        if heard.end_sample == asked.end_sample:
            self._asked = None
        self._show(turn, heard.stable)
        if heard.is_final and heard.end_sample >= turn.end_sample > 0:
            self._turn = turn = replace(turn, text=heard.text, language=heard.language)
            if turn.is_closed:
                self._finish(turn)
            elif heard.text:
                self._listener.on_likely_end(turn)

    def commit(self) -> None:
        """The client says that the turn is over.

        Raises:
            ProtocolError: less than 100 ms of sound were given.
        """
        end = self._buffer.position
        start = self._turn.start_sample if self._turn else self._free_from
        if end - start < MIN_COMMIT_SAMPLES:
            raise ProtocolError(
                "the input audio buffer holds less than 100 ms of audio",
                "input_audio_buffer_commit_empty",
            )
        item_id = self._turn.item_id if self._turn else self._out.new_id("item")
        turn = self._close(Turn(item_id, start, is_manual=True), end)
        self._listener.on_committed(turn)
        self._ask(turn, is_final=True)

    def clear(self) -> None:
        """Forget the sound that was not committed yet."""
        self._forget()
        self._free_from = self._buffer.position
        self._out.emit(InputCleared())

    def ask_again(self) -> None:
        """The recogniser was lost and is back: repeat what it still owes."""
        if self._asked is not None:
            self._asked_at_ms = self._out.clock.now_ms()
            self._out.send(self._asked)

    def give_up(self, code: str, message: str) -> None:
        """The recogniser cannot do this turn: say so and listen on."""
        if self._asked is None:
            return
        is_final = self._asked.is_final
        self._asked = None
        if is_final:
            self._forget()
            self._out.emit(Failed(code, message))

    def tick(self) -> None:
        waited_ms = self._out.clock.now_ms() - self._asked_at_ms
        if self._asked and waited_ms > self._config.deadlines.recognise_s * 1000:
            self.give_up("stage_timeout", "your words could not be recognised in time")

    # ---- inside

    def _at(self, boundary: Boundary) -> None:
        match boundary.kind:
            case "began":
                self._begin(boundary.at_sample)
            case _ if self.is_awaiting_words:
                return
            case "paused" if self._turn:
                self._turn = replace(
                    self._turn,
                    end_sample=boundary.at_sample,
                    speech_end_ms=self._wall_ms(boundary.at_sample),
                    text=None,
                )
                self._ask(self._turn, is_final=True)
                self._judge(self._turn)
            case "resumed" if self._turn:
                self._turn = replace(self._turn, end_sample=0, text=None)
                self._listener.on_resumed()
            case "ended" if self._turn:
                self._close(self._turn, self._turn.end_sample)
                if self._turn.text is not None:
                    self._finish(self._turn)

    def _begin(self, at_sample: int) -> None:
        if self._turn is not None:
            self._reopen(self._turn)
            return
        detection = self.options.turn_detection
        padding = detection.prefix_padding_ms * RATE_HZ // 1000 if detection else 0
        start = max(at_sample - padding, self._free_from)
        self._turn = Turn(self._out.new_id("item"), start)
        self._num_shown = 0
        self._next_partial = at_sample + self._partial_samples()
        self._out.emit(SpeechStarted(self._turn.item_id, start * 1000 // RATE_HZ))
        self._listener.on_began()

    def _reopen(self, turn: Turn) -> None:
        """The user goes on while a turn thought over still waits for its words."""
        if turn.is_manual:  # the client has said that it is over; this is heard afterwards
            return
        self._turn = replace(turn, end_sample=0, text=None, is_closed=False)
        self._out.emit(SpeechStarted(turn.item_id, turn.start_sample * 1000 // RATE_HZ))
        self._listener.on_resumed()

    def _while_speaking(self, turn: Turn) -> None:
        position = self._buffer.position
        if (position - turn.start_sample) >= self._config.turn.max_turn_s * RATE_HZ:
            self._ask(self._close(turn, position), is_final=True)
            return
        is_due = self._partial_samples() and position >= self._next_partial
        if is_due and turn.end_sample == 0 and self._asked is None:
            self._next_partial = position + self._partial_samples()
            self._ask(turn, is_final=False)

    def _partial_samples(self) -> int:
        return self._config.brain.hear.partial_every_ms * RATE_HZ // 1000

    def _close(self, turn: Turn, end_sample: int) -> Turn:
        speech_end_ms = turn.speech_end_ms or self._wall_ms(end_sample)
        self._turn = turn = replace(
            turn, end_sample=end_sample, speech_end_ms=speech_end_ms, is_closed=True
        )
        self._free_from = end_sample
        if self._endpointer:
            self._endpointer.stop()
        if not turn.is_manual:
            self._out.emit(SpeechStopped(turn.item_id, end_sample * 1000 // RATE_HZ))
        return turn

    def _finish(self, turn: Turn) -> None:
        self._forget()
        self._listener.on_turn(turn)

    def _forget(self) -> None:
        self._turn = self._asked = None
        if self._endpointer:
            self._endpointer.stop()

    def _ask(self, turn: Turn, *, is_final: bool) -> None:
        end = self._buffer.position
        samples = self._buffer.slice(turn.start_sample, end)
        language = self.options.language
        self._asked = Recognise(*self._out.stamp, turn.item_id, samples, end, is_final, language)
        self._asked_at_ms = self._out.clock.now_ms()
        self._out.send(self._asked)

    def _judge(self, turn: Turn) -> None:
        end = self._buffer.position
        start = max(turn.start_sample, end - JUDGED_SAMPLES)
        samples = self._buffer.slice(start, end)
        self._out.send(JudgeTurn(*self._out.stamp, turn.item_id, samples, end))

    def _show(self, turn: Turn, text: str) -> None:
        if delta := text[self._num_shown :]:
            self._num_shown = len(text)
            self._out.emit(TranscriptDelta(turn.item_id, delta))

    def _wall_ms(self, at_sample: int) -> float:
        """Wall clock at which a sample arrived."""
        age_ms = (self._buffer.position - at_sample) * 1000 / RATE_HZ
        return self._out.clock.now_ms() - age_ms
