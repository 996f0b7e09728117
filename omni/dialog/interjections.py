"""A sound of the user's over our speech, followed from its first voiced window to the verdict.

Our voice is lowered at once; held, if nobody knows yet what the sound is; then it goes on from
where it was, or ends. Law: no sound stays undecided past its deadline.
"""

from typing import Final, Literal, Protocol

from omni.config import OverlapConfig
from omni.dialog.asking import Asking
from omni.dialog.lexicon import read
from omni.dialog.outbox import Outbox
from omni.dialog.overlap import Evidence, Verdict, is_echo, judge
from omni.dialog.turn import RATE_HZ, Turn
from omni.media.buffer import SampleBuffer
from omni.media.echo import WINDOW_MS
from omni.media.level import level_db
from omni.types import Activity, Heard, Rest, Samples

RELAX_MS: Final = 128  # silence after which a sound too short to be listened to is over
PROBE_EVERY_MS: Final = 240  # of less, recognisers make nothing
ECHO_FROM: Final = 0.2  # speech probability from which it is worth while to look for an echo
MAX_PROBE_S: Final = 4.0  # the end of a long sound is enough to judge it by
LOUDER_RATE: Final = 0.5  # how fast the user's usual level is learnt, by turn
QUIETER_RATE: Final = 0.2  # slower: whoever speaks from afar may not be speaking to us


class Floor(Protocol):
    """Our own voice, and what may be done to it."""

    @property
    def is_taken(self) -> bool:
        """We are speaking, or about to."""

    @property
    def is_preparing(self) -> bool:
        """We prepare to speak, and nothing could be heard of it yet."""

    @property
    def is_beginning(self) -> bool:
        """What we are saying has hardly been heard yet."""

    @property
    def said(self) -> str:
        """Our most recent words that the user can have heard."""

    def is_echo(self, heard: Samples, end_ms: float) -> bool:
        """Whether a sound, float32 [n] at 16 kHz and heard until `end_ms`, is ours coming back."""

    def duck(self) -> None: ...

    def hold(self) -> None: ...

    def restore(self) -> None: ...


class Interjections:
    """Args:
    outbox: for the clock and the stamps of requests.
    asking: the recogniser.
    floor: our own voice.
    buffer: the user's sound.
    config: when to do what.
    """

    def __init__(
        self,
        outbox: Outbox,
        asking: Asking,
        floor: Floor,
        buffer: SampleBuffer,
        config: OverlapConfig,
    ) -> None:
        self._out = outbox
        self._asking = asking
        self._floor = floor
        self._buffer = buffer
        self._config = config
        self._state: Literal["none", "ducked", "held", "tolerated"] = "none"
        self._since_ms = 0.0  # when it was last known what the user wants
        self._onset = self._voiced_until = 0  # first and last sample of voice
        self._probed_until = 0
        self._is_going_on = False  # the sound began when we had hardly begun
        self._usual_db: float | None = None

    @property
    def is_possible(self) -> bool:
        """There is speech of ours to speak over."""
        return self._floor.is_taken

    @property
    def is_unready(self) -> bool:
        """To wait for more of the user's words costs no time: there is nothing to be said yet."""
        return self._floor.is_preparing

    @property
    def is_long(self) -> bool:
        """The sound has been too long for a murmur."""
        return self._heard_ms >= self._config.short_ms

    @property
    def is_open(self) -> bool:
        """Our voice is not as it was, because of a sound."""
        return self._state != "none"

    @property
    def is_overdue(self) -> bool:
        waited_ms = self._out.clock.now_ms() - self._since_ms
        return self.is_open and waited_ms > self._config.limit_ms

    def voice_in(self, activity: Activity) -> float:
        """Probability that a window holds speech of the user's; our own echo does not count."""
        if activity.probability < ECHO_FROM:
            return activity.probability
        end = activity.end_sample
        heard = self._buffer.slice(end - WINDOW_MS * RATE_HZ // 1000, end)
        age_ms = (self._buffer.position - end) * 1000 / RATE_HZ
        is_echo = self._floor.is_echo(heard, self._out.clock.now_ms() - age_ms)
        return 0.0 if is_echo else activity.probability

    def follow(self, run_start: int | None, end_sample: int, turn: Turn | None) -> None:
        """Another window of the sound (its run of voice began at `run_start`), or of silence.

        `turn`: the tentative turn, once the sound is long enough to be listened to.
        """
        if run_start is None:
            self._follow_silence((end_sample - self._voiced_until) * 1000 / RATE_HZ, turn)
            return
        if not self.is_open:
            self._onset, self._is_going_on = run_start, self._floor.is_beginning
        self._voiced_until = end_sample
        voiced_ms = (end_sample - run_start) * 1000 / RATE_HZ
        if not self.is_open:
            is_due = voiced_ms >= self._config.duck_after_ms
            if is_due and not self._is_quiet(run_start, end_sample):
                self._open()
        elif self._state == "ducked":
            is_due = voiced_ms >= self._hold_after_ms
            if is_due and not self._is_quiet(run_start, end_sample):
                self._state = "held"
                self._floor.hold()
        if turn is not None and turn.end_sample == 0:
            self._probe(turn)

    def weigh(self, turn: Turn, heard: Heard, *, is_over: bool) -> Verdict:
        """What the sound is, now that its words are known; `is_over`: all of them.

        A sound that is tolerated leaves our voice low; one that is dismissed gives it back.
        """
        start = turn.start_sample
        evidence = Evidence(
            read(heard.text, heard.language),
            self._heard_ms,
            is_over=is_over,
            is_quiet=self._is_quiet(max(start, self._onset), heard.end_sample),
            is_over_us=self._floor.is_taken,
            is_going_on=self._is_going_on,
            is_own=self.is_echo(heard.text),
        )
        verdict = judge(evidence, self._config)
        if verdict == "tolerate":
            self._since_ms = self._out.clock.now_ms()
            self._state = "tolerated"
            self._floor.duck()
        elif verdict == "undecided" and self._state == "tolerated":
            self._state = "ducked"
        return verdict

    def is_echo(self, text: str) -> bool:
        """Whether the words heard are our own."""
        return is_echo(text, self._floor.said)

    def admits(self, turn: Turn) -> bool:
        """Whether a finished turn with words is for us: not our echo, and not from far away.

        Every turn tells how loud and in which language the user speaks: who has moved away is
        taken for somebody else twice, then understood.
        """
        if self.is_echo(turn.text or ""):
            return False
        is_quiet = self.is_quiet(turn)
        level = level_db(self._buffer.slice(turn.start_sample, turn.end_sample))
        usual = level if self._usual_db is None else self._usual_db
        rate = LOUDER_RATE if level > usual else QUIETER_RATE
        self._usual_db = usual + rate * (level - usual)
        self._asking.usual_language = turn.language
        return not is_quiet

    def end(self) -> None:
        """The sound is over or has become a turn; if we still speak, we speak up again."""
        if self.is_open:
            self._state = "none"
            self._floor.restore()
            self._out.send(Rest(*self._out.stamp, is_begun=False))

    def is_quiet(self, turn: Turn) -> bool:
        """Whether a turn is too faint to be meant for us."""
        return self._is_quiet(turn.start_sample, turn.end_sample)

    # ---- inside

    @property
    def _heard_ms(self) -> float:
        return (self._voiced_until - self._onset) * 1000 / RATE_HZ

    @property
    def _hold_after_ms(self) -> int:
        is_early = self._is_going_on
        return self._config.hold_beginning_after_ms if is_early else self._config.hold_after_ms

    def _follow_silence(self, silent_ms: float, turn: Turn | None) -> None:
        if turn is None and silent_ms >= RELAX_MS:
            self.end()
        elif self._is_going_on or self.is_long:
            pass  # whoever takes up his sentence again, or says more than murmurs: the words decide
        elif self._state == "held" and silent_ms >= self._config.resume_after_ms:
            self._state = "tolerated"  # there is nobody left to be spoken over
            self._floor.duck()

    def _open(self) -> None:
        self._state = "ducked"
        self._since_ms = self._out.clock.now_ms()
        self._floor.duck()
        self._out.send(Rest(*self._out.stamp, is_begun=True))

    def _probe(self, turn: Turn) -> None:
        """Ask for the words so far, unless that was done a moment ago or is being done."""
        end = self._buffer.position
        new_ms = (end - max(self._probed_until, self._onset)) * 1000 / RATE_HZ
        if self._asking.request is not None or new_ms < PROBE_EVERY_MS:
            return
        self._probed_until = end
        start = max(turn.start_sample, end - int(MAX_PROBE_S * RATE_HZ))
        self._asking.for_words_since(start)

    def _is_quiet(self, start_sample: int, end_sample: int) -> bool:
        """So much below the user's usual level that it is not meant for us."""
        if self._usual_db is None:
            return False
        level = level_db(self._buffer.slice(start_sample, end_sample))
        return level < self._usual_db - self._config.side_talk_db
