"""What a reply says and when: its text, piece by piece, on the clock of its sound.

Law: words may be cut from the end by time, at any later moment and without the sound itself.
"""

from dataclasses import dataclass
from typing import Final

from omni.types import Speech, Word

RATE_HZ: Final = 24000


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A run of the text, the samples [first, end) that sound it, and its words, from `first` on."""

    text: str
    first: int
    end: int
    words: tuple[Word, ...]


class Script:
    """One reply's text, growing with its sound."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []

    @property
    def num_samples(self) -> int:
        """Of the sound so far, at 24 kHz."""
        return self._pieces[-1].end if self._pieces else 0

    @property
    def text(self) -> str:
        """The words that have been turned into sound."""
        return "".join(piece.text for piece in self._pieces)

    def add(self, speech: Speech) -> None:
        first = self.num_samples
        end = first + len(speech.samples)
        self._pieces.append(Piece(speech.text, first, end, speech.words))

    def text_until(self, num_samples: int) -> str:
        """The text whose words were all sounded within the first `num_samples`."""
        return "".join(_words_until(piece, num_samples) for piece in self._pieces).rstrip()

    def text_begun(self, num_samples: int) -> str:
        """The text whose words have begun within the first `num_samples`."""
        return "".join(_words_begun(piece, num_samples) for piece in self._pieces)

    def words_between(self, start_samples: int, end_samples: int) -> tuple[Word, ...]:
        """Words that begin in [start, end), times from the reply's start."""
        start_ms, end_ms = (n * 1000 / RATE_HZ for n in (start_samples, end_samples))
        return tuple(
            word
            for piece in self._pieces
            for word in (_shifted(w, piece.first) for w in piece.words)
            if start_ms <= word.start_ms < end_ms
        )


def _shifted(word: Word, by_samples: int) -> Word:
    by_ms = by_samples * 1000 // RATE_HZ
    return Word(word.text, word.start_ms + by_ms, word.end_ms + by_ms)


def _words_until(piece: Piece, num_samples: int) -> str:
    """A piece's text up to the last word that ends before `num_samples` of the reply."""
    if num_samples >= piece.end:
        return piece.text if num_samples > piece.first else ""
    end_ms = (num_samples - piece.first) * 1000 / RATE_HZ
    return _cut_after(piece, sum(word.end_ms <= end_ms for word in piece.words))


def _words_begun(piece: Piece, num_samples: int) -> str:
    if num_samples >= piece.end or not piece.words:
        return piece.text if num_samples > piece.first else ""
    end_ms = (num_samples - piece.first) * 1000 / RATE_HZ
    return _cut_after(piece, sum(word.start_ms < end_ms for word in piece.words))


def _cut_after(piece: Piece, num_words: int) -> str:
    end = 0
    for word in piece.words[:num_words]:
        found = piece.text.find(word.text, end)
        end = found + len(word.text) if found >= 0 else end
    return piece.text[:end]
