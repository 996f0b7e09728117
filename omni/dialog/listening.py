"""The user's side of the conversation: from sound to turns with words.

Finds where a turn begins and ends, has it recognised, and hands it over. Laws: sound without words
makes no turn, nor does a sound over our speech unless it wants the floor; no word is lost between
two turns; every recognition has a deadline, and a lost ear is asked again.
"""

from dataclasses import replace

from omni.config import OmniConfig
from omni.dialog.asking import Asking
from omni.dialog.endpointing import Boundary, Endpointer, ending_of_sound, ending_of_words
from omni.dialog.interjections import Floor, Interjections
from omni.dialog.options import SessionOptions
from omni.dialog.outbox import Outbox
from omni.dialog.turn import RATE_HZ, Listener, Turn
from omni.errors import ProtocolError
from omni.events import InputCleared, SpeechStarted, SpeechStopped, TranscriptDelta
from omni.media.buffer import SampleBuffer
from omni.types import Activity, AudioChunk, Heard, Samples, TurnHint

MIN_COMMIT_SAMPLES = RATE_HZ // 10
MAX_COMMIT_S = 120  # of what was said since the last commit, the newest
OVERLAP_PAUSE_MS = 64  # while it is not known whether we are interrupted, haste matters more


class Listening:
    """Args:
    outbox: where events and chunks go.
    listener: is told of beginnings and ends.
    floor: our own voice, which sounds of the user's may lower.
    config, options: the server's settings, and what the session asked for.
    """

    def __init__(
        self,
        outbox: Outbox,
        listener: Listener,
        floor: Floor,
        config: OmniConfig,
        options: SessionOptions,
    ) -> None:
        self._out = outbox
        self._listener = listener
        self._config = config
        self._buffer = SampleBuffer(max(MAX_COMMIT_S, int(config.turn.max_turn_s) + 5) * RATE_HZ)
        self._endpointer = Endpointer(options.turn_detection, config.turn.speculate_after_ms)
        self.turn: Turn | None = None  # what the user is saying
        self._free_from = 0  # sound before this belongs to an earlier turn, or was cleared
        self._owed_from: int | None = None  # speech since then waits for its turn
        self._asking = Asking(outbox, self._buffer, config)
        overlap = config.turn.overlap
        self._interjections = Interjections(outbox, self._asking, floor, self._buffer, overlap)
        self.configure(options)

    @property
    def is_awaiting_words(self) -> bool:
        """A turn is over but not recognised yet."""
        return bool(self.turn and self.turn.is_closed and not self.turn.is_tentative)

    @property
    def position_ms(self) -> int:
        return self._buffer.position * 1000 // RATE_HZ

    def configure(self, options: SessionOptions) -> None:
        """Adopt new options; a turn in progress goes on unless detection is switched off."""
        self.options = self._asking.options = options
        self._endpointer.detection = options.turn_detection

    def feed(self, samples: Samples) -> None:
        """Take in sound at 16 kHz."""
        start = self._buffer.position
        self._buffer.append(samples)
        self._out.unit_index = self.position_ms // self._config.audio.unit_ms
        self._out.send(AudioChunk(*self._out.stamp, start, samples))
        if (turn := self.turn) is None or turn.is_closed:
            return
        if self._is_full(turn, self._buffer.position):
            self._asking.for_all_words(self._close(turn, self._buffer.position))
        elif turn.end_sample == 0 and not turn.is_tentative:
            self._asking.for_words_so_far(turn)

    def activity(self, activity: Activity) -> None:
        """Follow the voice."""
        if activity.end_sample <= self._free_from:
            return
        limits, endpointer, end = self._config.turn, self._endpointer, activity.end_sample
        min_speech_ms, endpointer.pause_ms = limits.min_speech_ms, limits.speculate_after_ms
        endpointer.unready_ms = self._interjections.is_unready * limits.unready_silence_ms
        endpointer.doubtful_ms = limits.doubtful_silence_ms
        if over_us := self._is_over_us:
            min_speech_ms, endpointer.pause_ms = limits.overlap.listen_after_ms, OVERLAP_PAUSE_MS
        if boundary := endpointer.feed(end, self._interjections.voice_in(activity), min_speech_ms):
            self._at(boundary)
        if over_us or self._interjections.is_open:
            self._interjections.follow(endpointer.run_start, end, self.turn)

    def hint(self, hint: TurnHint) -> None:
        if self.turn and hint.turn_id == self.turn.item_id:
            ending = ending_of_sound(hint.probability, self._config.turn)
            self._endpointer.hint(ending, hint.end_sample)

    def heard(self, heard: Heard) -> None:
        """Take in the recogniser's words for the turn, partial or whole."""
        turn = self.turn
        if turn is None or not self._asking.expects(heard, turn):
            return
        is_whole = heard.is_final and heard.end_sample >= turn.end_sample > 0
        if turn.is_tentative:
            self._heard_over_us(turn, heard, is_whole=is_whole)
        elif (turn := self._show(turn, heard.stable)) and is_whole:
            self._heard_all(turn, heard)

    def commit(self) -> None:
        """The client says that the turn is over.

        Raises:
            ProtocolError: less than 100 ms of sound were given.
        """
        if self.turn and self.turn.is_tentative:
            self._promote(self.turn)
        turn = self.turn or Turn(self._out.new_id("item"), self._free_from)
        if (end := self._buffer.position) - turn.start_sample < MIN_COMMIT_SAMPLES:
            message = "the input audio buffer holds less than 100 ms of audio"
            raise ProtocolError(message, "input_audio_buffer_commit_empty")
        if self.turn is not None:
            self._close(turn, end)
        self._forget()
        self._free_from, self._owed_from = end, None
        samples = self._buffer.slice(turn.start_sample, end)
        self._listener.on_committed(replace(turn, end_sample=end), samples)

    def clear(self) -> None:
        """Forget the sound that was not committed yet."""
        self._owed_from = None
        self._forget()
        self._free_from = self._buffer.position
        self._out.emit(InputCleared())

    def ask_again(self) -> None:
        """The recogniser was lost and is back."""
        self._asking.repeat()

    def give_up(self, code: str, message: str) -> None:
        """The recogniser cannot do this turn: say so and listen on."""
        request, turn = self._asking.drop(), self.turn
        if turn and request and request.is_final:
            turn = self._close(turn, turn.end_sample or self._buffer.position)
            self._forget()
            if not turn.is_tentative:
                self._listener.on_lost(turn, code, message)

    def tick(self) -> None:
        if self._asking.is_overdue:
            self.give_up("stage_timeout", "your words could not be recognised in time")
        if self._interjections.is_overdue:
            self._settle()
        if self._owed_from is not None and self.turn is None:
            self._take_up(self._owed_from)

    # ---- inside

    def _heard_all(self, turn: Turn, heard: Heard) -> None:
        self.turn = turn = turn.with_words(heard)
        if turn.is_closed:
            self._finish(turn)
            return
        self._endpointer.is_waiting = False
        self._endpointer.hint(ending_of_words(heard.text, heard.language), heard.end_sample)
        if heard.text:
            self._listener.on_likely_end(turn)

    def _heard_over_us(self, turn: Turn, heard: Heard, *, is_whole: bool) -> None:
        verdict = self._interjections.weigh(turn, heard, is_over=is_whole)
        if verdict == "dismiss":
            self._forget()
        elif verdict == "interrupt":
            turn = self._promote(turn)
            if is_whole:
                self._asking.whether_finished(turn)
                self._heard_all(turn, heard)

    def _at(self, boundary: Boundary) -> None:
        match boundary.kind:
            case "began":
                self._begin(boundary.at_sample)
            case _ if self.is_awaiting_words:
                pass
            case "paused" if self.turn:
                self._pause(self.turn, boundary.at_sample)
            case "resumed" if self.turn:
                self.turn = replace(self.turn, end_sample=0, text=None)
                if not self.turn.is_tentative:
                    self._listener.on_resumed()
            case "ended" if self.turn:
                self._close(self.turn, self.turn.end_sample)
                if self.turn.text is not None:
                    self._finish(self.turn)

    def _begin(self, at_sample: int) -> None:
        if self.turn and self._is_same(self.turn, at_sample):
            self._reopen(self.turn, at_sample)
            return
        self._asking.drop()  # a sound over our speech whose words never came is not this one
        start = max(at_sample - self._endpointer.padding_samples, self._free_from)
        turn = self.turn = Turn(self._out.new_id("item"), start, is_tentative=True)
        self._asking.began(at_sample)
        if not self._is_over_us:
            self._promote(turn)

    def _pause(self, turn: Turn, at_sample: int) -> None:
        ended_ms = self._wall_ms(at_sample)
        self.turn = replace(turn, end_sample=at_sample, speech_end_ms=ended_ms, text=None)
        self._asking.for_all_words(turn)
        self._endpointer.is_waiting = True
        if not turn.is_tentative:
            self._asking.whether_finished(turn)

    def _settle(self) -> None:
        """It took too long to find out what a sound is: a long one is taken for a turn."""
        is_turn = self._endpointer.state == "speaking" or self._interjections.is_long
        if self.turn and self.turn.is_tentative and is_turn:
            self._promote(self.turn)
        else:
            self._forget()

    @property
    def _is_over_us(self) -> bool:
        """What the user says now is said over our speech, and might interrupt it."""
        detection, is_possible = self.options.turn_detection, self._interjections.is_possible
        is_undecided = self.turn is None or self.turn.is_tentative
        return bool(is_undecided and is_possible and detection and detection.interrupts_response)

    def _promote(self, turn: Turn) -> Turn:
        """It is a turn: the user takes the floor."""
        turn = self.turn = replace(turn, is_tentative=False)
        self._out.emit(SpeechStarted(turn.item_id, turn.start_sample * 1000 // RATE_HZ))
        self._listener.on_began()
        self._interjections.end()
        if turn.is_closed:
            self._out.emit(SpeechStopped(turn.item_id, turn.end_sample * 1000 // RATE_HZ))
        return turn

    def _is_same(self, turn: Turn, at_sample: int) -> bool:
        """Whether what begins now belongs to a turn that waits for its words."""
        silence_ms = (at_sample - turn.end_sample) * 1000 / RATE_HZ
        is_near = silence_ms <= self._config.turn.max_silence_ms
        return not turn.is_tentative or (is_near and not self._interjections.is_quiet(turn))

    def _reopen(self, turn: Turn, at_sample: int) -> None:
        """The user goes on while a turn thought over still waits for its words."""
        if self._is_full(turn, turn.end_sample):
            self._owed_from = at_sample if self._owed_from is None else self._owed_from
            return
        self.turn = replace(turn, end_sample=0, text=None, is_closed=False)
        if not turn.is_tentative:
            self._out.emit(SpeechStarted(turn.item_id, turn.start_sample * 1000 // RATE_HZ))
            self._listener.on_resumed()

    def _take_up(self, at_sample: int) -> None:
        """A turn that could not grow has its words: what was said meanwhile is the next one."""
        self._owed_from = None
        self._begin(at_sample)
        if self.turn and self._endpointer.state == "quiet":
            self._asking.for_all_words(self._close(self.turn, self._buffer.position))

    def _is_full(self, turn: Turn, end: int) -> bool:
        return end - turn.start_sample >= self._config.turn.max_turn_s * RATE_HZ

    def _close(self, turn: Turn, end: int) -> Turn:
        is_told, ended_ms = not turn.is_closed, turn.speech_end_ms or self._wall_ms(end)
        turn = replace(turn, end_sample=end, speech_end_ms=ended_ms, is_closed=True)
        self.turn, self._free_from = turn, end
        self._endpointer.stop()
        if is_told and not turn.is_tentative:
            self._out.emit(SpeechStopped(turn.item_id, end * 1000 // RATE_HZ))
        return turn

    def _finish(self, turn: Turn) -> None:
        if turn.text and not self._interjections.admits(turn):
            turn = replace(turn, text="")
        self._forget()
        self._listener.on_turn(turn)

    def _forget(self) -> None:
        self.turn = None
        self._asking.drop()
        if self._owed_from is None:
            self._endpointer.stop()
        self._interjections.end()

    def _show(self, turn: Turn, text: str) -> Turn:
        if delta := text[len(turn.shown) :]:
            turn = self.turn = replace(turn, shown=text)
            self._out.emit(TranscriptDelta(turn.item_id, delta))
        return turn

    def _wall_ms(self, at_sample: int) -> float:
        """Wall clock at which a sample arrived."""
        return self._out.clock.now_ms() - (self._buffer.position - at_sample) * 1000 / RATE_HZ
