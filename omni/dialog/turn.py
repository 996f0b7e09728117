"""A turn of the user's, and who is told of it."""

from dataclasses import dataclass, replace
from typing import Final, Protocol

from omni.types import Heard, Samples

RATE_HZ: Final = 16000


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A stretch of the user's speech; `item_id` is the item it becomes if it holds words.

    `end_sample`: 0 while it goes on. `speech_end_ms`: wall clock of its last voiced sample.
    `is_closed`: no more will be said in it. `is_tentative`: a sound over our speech, which nobody
    is told of until it proves to be a turn. `shown`: its words that the client was sent already.
    """

    item_id: str
    start_sample: int
    end_sample: int = 0
    speech_end_ms: float = 0.0
    text: str | None = None
    language: str = ""
    translation: str = ""
    shown: str = ""
    is_closed: bool = False
    is_tentative: bool = False

    @property
    def duration_s(self) -> float:
        return (self.end_sample - self.start_sample) / RATE_HZ

    def with_words(self, heard: Heard) -> "Turn":
        """The same, recognised."""
        words = heard.text, heard.language, heard.translation
        return replace(self, text=words[0], language=words[1], translation=words[2])


class Listener(Protocol):
    """What the session does about the user's speech."""

    def on_began(self) -> None: ...

    def on_likely_end(self, turn: Turn) -> None:
        """The turn has words and a pause; it may still go on."""

    def on_resumed(self) -> None: ...

    def on_committed(self, turn: Turn, samples: Samples) -> None:
        """The client ended the turn; its words are not known yet. `samples`: its sound."""

    def on_lost(self, turn: Turn, code: str, message: str) -> None:
        """The turn is over, but its words will never be known."""

    def on_turn(self, turn: Turn) -> None:
        """The turn is over and has been recognised; `text` may be empty."""
