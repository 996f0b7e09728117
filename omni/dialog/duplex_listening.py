"""The user's side of a conversation whose model hears for itself: when they speak, and over us.

The model needs none of it; clients do, and without it nobody could stop the model, which leaves its
own turn only by ending it. Laws: a short sound over our speech lowers or halts it for a moment and
is told to nobody; a longer one takes the floor until its end.
"""

from dataclasses import replace
from typing import Final, Protocol

from omni.config import OmniConfig
from omni.dialog.endpointing import HYSTERESIS, Boundary, Endpointer, ending_of_sound
from omni.dialog.options import SessionOptions, TurnDetection
from omni.dialog.outbox import Outbox
from omni.dialog.turn import RATE_HZ, Turn
from omni.dialog.voice import Voice
from omni.events import InputCleared, SpeechStarted, SpeechStopped
from omni.media.buffer import SampleBuffer
from omni.types import Activity, AudioChunk, Samples, TurnHint

WINDOW_MS: Final = 32
FORGET_MS: Final = 320  # silence that ends a sound over our speech
_BUFFER_S: Final = 10


class Owner(Protocol):
    """What the session does about the user's voice."""

    def on_interrupt(self) -> None:
        """They took the floor from us."""

    def on_pause(self) -> None:
        """They have been silent for a moment, and may have finished."""

    def on_spoken(self, turn: Turn) -> None:
        """They have finished."""


class DuplexListening:
    """Args:
    outbox: where events and chunks go.
    owner: is told of interruptions and ends.
    voice: our own, which sounds of the user's lower.
    config: turn and overlap settings.
    options: the session's; changeable through `configure`.
    """

    def __init__(
        self,
        outbox: Outbox,
        owner: Owner,
        voice: Voice,
        config: OmniConfig,
        options: SessionOptions,
    ) -> None:
        self._out = outbox
        self._owner = owner
        self._voice = voice
        self._turn = config.turn
        self._duplex = config.brain.duplex
        self._buffer = SampleBuffer(_BUFFER_S * RATE_HZ)
        self._endpointer: Endpointer | None = None
        self._item_id: str | None = None  # of the turn the client knows of
        self._onset: int | None = None  # of a turn that began and was not told
        self._over_onset = self._over_until = 0  # samples: a sound over our speech
        self._over_ms = 0  # voiced, of that sound
        self._voiced_until = 0
        self._is_noise = False  # a sound went on for longer than a turn: it interrupts no more
        self._started_sample = 0
        self.speech_end_ms = outbox.clock.now_ms()  # wall clock of the last voice heard
        self.has_floor = False  # they interrupted us, and go on
        self.configure(options)

    @property
    def position_ms(self) -> int:
        return self._buffer.position * 1000 // RATE_HZ

    @property
    def turn(self) -> Turn | None:
        """What the user is saying, once it is told of."""
        return None if self._item_id is None else Turn(self._item_id, self._started_sample)

    def configure(self, options: SessionOptions) -> None:
        self.options = options
        pause_ms = self._duplex.early_close_ms or self._turn.speculate_after_ms
        if options.turn_detection is None:
            self._endpointer, self.has_floor = None, False
        elif self._endpointer is None:
            self._endpointer = Endpointer(options.turn_detection, pause_ms)
            self._endpointer.doubtful_ms = self._turn.doubtful_silence_ms
        else:
            self._endpointer.detection = options.turn_detection

    def feed(self, samples: Samples) -> None:
        start = self._buffer.position
        self._buffer.append(samples)
        self._out.send(AudioChunk(*self._out.stamp, start, samples))

    def hint(self, hint: TurnHint) -> None:
        """Whether the turn sounds finished; if not, a longer pause ends it."""
        if self._endpointer:
            ending = ending_of_sound(hint.probability, self._turn)
            self._endpointer.hint(ending, hint.end_sample)

    def end(self) -> None:
        """The turn under way is too long: it ends here, and its owner is told."""
        self._end(self._buffer.position)

    def stop(self) -> Turn | None:
        """The turn under way, if it was told of, ends here; its owner is not told."""
        return self._stop(self._buffer.position)

    def clear(self) -> None:
        self._forget()
        self._out.emit(InputCleared())

    def activity(self, activity: Activity) -> None:
        """Follow the voice."""
        detection, end = self.options.turn_detection, activity.end_sample
        if self._endpointer is None or detection is None:
            return
        probability = self._probability(activity)
        is_voice = probability >= detection.threshold - HYSTERESIS
        if is_voice:
            age_ms = (self._buffer.position - end) * 1000 / RATE_HZ
            self.speech_end_ms = self._out.clock.now_ms() - age_ms
            self._voiced_until = end
        is_guarded = self._voice.is_taken and not (self.has_floor or self._is_noise)
        if is_guarded and detection.interrupts_response:
            self._follow_over(end, is_voice=is_voice)
        if boundary := self._endpointer.feed(end, probability, self._turn.min_speech_ms):
            self._at(boundary)
        if self._onset is not None and not self._voice.is_taken:
            self._tell_start(self._onset)  # we have finished meanwhile, they have not
        if self.has_floor:
            self._watch(end, detection)

    # ---- inside

    def _probability(self, activity: Activity) -> float:
        """Of the user's voice; our own echo does not count."""
        end = activity.end_sample
        heard = self._buffer.slice(end - WINDOW_MS * RATE_HZ // 1000, end)
        age_ms = (self._buffer.position - end) * 1000 / RATE_HZ
        is_echo = self._voice.is_echo(heard, self._out.clock.now_ms() - age_ms)
        return 0.0 if is_echo else activity.probability

    def _follow_over(self, end: int, *, is_voice: bool) -> None:
        """A window while we speak: lower our voice, halt it, give it back or give way."""
        overlap = self._turn.overlap
        if not is_voice:
            if self._over_ms and end - self._over_until >= FORGET_MS * RATE_HZ // 1000:
                self._over_ms = 0
                self._voice.restore()
            return
        if not self._over_ms:
            self._over_onset = end - WINDOW_MS * RATE_HZ // 1000
        self._over_ms, self._over_until = self._over_ms + WINDOW_MS, end
        if self._over_ms >= self._duplex.interrupt_after_ms:
            self._take_floor()
        elif self._over_ms >= overlap.hold_after_ms:
            self._voice.hold()
        elif self._over_ms >= overlap.duck_after_ms:
            self._voice.duck()

    def _take_floor(self) -> None:
        self.has_floor, self._over_ms = True, 0
        if self._item_id is None:
            self._tell_start(self._over_onset)
        self._owner.on_interrupt()

    def _watch(self, end: int, detection: TurnDetection) -> None:
        """Whoever has the floor gives it back: by silence, though no turn was found in what they
        said, or when a turn would be too long."""
        silence_ms = (end - self._voiced_until) * 1000 // RATE_HZ
        is_unfound = self._endpointer is not None and self._endpointer.state == "quiet"
        if is_unfound and silence_ms >= detection.silence_duration_ms:
            self._end(self._voiced_until)
        elif end - self._started_sample > self._turn.max_turn_s * RATE_HZ:
            self.has_floor, self._is_noise = False, True

    def _at(self, boundary: Boundary) -> None:
        match boundary.kind:
            case "began" if self._item_id is None:
                self._onset = boundary.at_sample
            case "paused":
                self._owner.on_pause()
            case "ended":
                self._end(boundary.at_sample)

    def _tell_start(self, at_sample: int) -> None:
        self._onset, self._item_id = None, self._out.new_id("item")
        self._started_sample = at_sample
        self._out.emit(SpeechStarted(self._item_id, at_sample * 1000 // RATE_HZ))

    def _end(self, at_sample: int) -> None:
        if turn := self._stop(at_sample):
            self._owner.on_spoken(turn)

    def _stop(self, at_sample: int) -> Turn | None:
        turn = self.turn
        self._forget()
        if turn is not None:
            turn = replace(turn, end_sample=at_sample)
            self._out.emit(SpeechStopped(turn.item_id, at_sample * 1000 // RATE_HZ))
        return turn

    def _forget(self) -> None:
        self._onset = self._item_id = None
        self.has_floor = self._is_noise = False
        if self._endpointer:
            self._endpointer.stop()
