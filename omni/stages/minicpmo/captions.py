"""Which words of an answer are heard with which of its codes.

The speech model tells no times: words are laid over the codes that were made for them by their
letters. Law: the pieces joined are the text, and none is cut within a word.
"""

from collections import deque


class Captions:
    """The text of one answer, on its way to its sound."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, int, int]] = deque()

    def add(self, text: str, start: int, end: int) -> None:
        """Text for which the codes [start, end) were made."""
        self._waiting.append((text, start, end))

    def take(self, num_codes: int) -> str:
        """The words that are heard once so many codes are."""
        taken = ""
        while self._waiting:
            text, start, end = self._waiting[0]
            if end <= num_codes:
                taken += text
                self._waiting.popleft()
                continue
            cut = _cut(text, max(0, num_codes - start) / (end - start))
            taken += text[:cut]
            middle = start + (end - start) * cut // max(1, len(text))
            self._waiting[0] = (text[cut:], middle, end)
            break
        return taken

    def rest(self) -> str:
        """Whatever is left."""
        taken = "".join(text for text, _, _ in self._waiting)
        self._waiting.clear()
        return taken


def _cut(text: str, share: float) -> int:
    """Where the share of a text ends: between words where it has spaces."""
    cut = int(len(text) * share)
    return max(0, text.rfind(" ", 0, cut + 1)) if " " in text else cut
