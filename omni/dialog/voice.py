"""Our own voice as the user's sounds may change it: lowered, held, restored; and what it said last.

Outlives the replies it speaks, for their echo does. Law: in the first seconds of our speech, while
the client's echo canceller adapts, a sound without words does not hold us.
"""

from typing import Final

from omni.clock import Clock
from omni.config import OverlapConfig
from omni.dialog.reply import Reply
from omni.media.echo import EchoGuard
from omni.media.echo_canceller import EchoCanceller
from omni.media.playout import RATE_HZ
from omni.types import Samples

SAID_CHARS: Final = 300
BEGINNING_S: Final = 1.5
ECHO_MS: Final = 2000  # after its end, a reply may still come back as an echo


class Voice:
    """The `Floor` of `interjections`.

    Args:
        clock: for how long ago a reply ended.
        config: how far the voice is lowered.
        canceller: takes our voice out of the microphone, for clients that do not.
    """

    def __init__(
        self, clock: Clock, config: OverlapConfig, canceller: EchoCanceller | None = None
    ) -> None:
        self._clock = clock
        self._config = config
        self._canceller = canceller
        self._reply: Reply | None = None
        self._said = ""
        self._ended_ms = 0.0
        self._guard = EchoGuard()
        self._spoken_ms = 0.0  # in the whole session

    @property
    def is_taken(self) -> bool:
        """A reply is being spoken, written or about to be; a held one does not count."""
        return self._reply is not None and self._reply.state != "held"

    @property
    def is_preparing(self) -> bool:
        """A held reply of which nothing could be heard yet."""
        reply = self._reply
        if reply is None or reply.state != "held":
            return False
        return not (reply.playout.generated_samples if reply.is_spoken else reply.text)

    @property
    def is_beginning(self) -> bool:
        """The reply has hardly been heard yet: who speaks now may not have finished."""
        return (
            self._reply is not None and self._reply.playout.released_samples < RATE_HZ * BEGINNING_S
        )

    @property
    def said(self) -> str:
        """Our last words that the user can have heard or be hearing."""
        is_fresh = self._clock.now_ms() - self._ended_ms < ECHO_MS
        before = self._said if is_fresh else ""
        return before + " " + (_said(self._reply) if self._reply else "")

    def take(self, reply: Reply) -> None:
        """From now on this reply is spoken."""
        self._reply = reply

    def speak(self, samples: Samples) -> None:
        """Sound of the reply was released, float32 [n] at 24 kHz."""
        self._guard.play(samples, self._clock.now_ms())
        if self._canceller:
            self._canceller.play(samples, self._clock.now_ms())
        self._spoken_ms += len(samples) * 1000 / RATE_HZ

    def leave(self) -> None:
        """The reply has ended; what was released of it and not played yet never is."""
        if self._reply:
            self._said, self._ended_ms = _said(self._reply), self._clock.now_ms()
            self._guard.clear(self._ended_ms)
            if self._canceller:
                self._canceller.clear(self._ended_ms)
            self._reply = None

    def clean(self, heard: Samples) -> Samples:
        """What the microphone heard until now, float32 [n] at 16 kHz, as it is to be listened to:
        without our voice, where it is for us to take it out."""
        if self._canceller is None:
            return heard
        return self._canceller.clean(heard, self._clock.now_ms())

    def is_echo(self, heard: Samples, end_ms: float) -> bool:
        """Whether a sound, float32 [n] at 16 kHz and heard until `end_ms`, is ours coming back."""
        return self._guard.is_echo(heard, end_ms)

    def duck(self) -> None:
        if self._reply and not self._reply.playout.released_samples:
            self._reply.playout.hold()  # nobody begins to speak over somebody
        elif self._reply:
            gain = 10 ** (-self._config.duck_db / 20)
            self._reply.playout.duck(gain, self._config.duck_lead_ms)

    def hold(self) -> None:
        if self._reply and self._spoken_ms >= self._config.warm_up_ms:
            self._reply.playout.hold()

    def restore(self) -> None:
        if self._reply:
            self._reply.playout.restore()


def _said(reply: Reply) -> str:
    return reply.playout.text_begun(reply.playout.released_samples)[-SAID_CHARS:]
