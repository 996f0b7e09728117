"""How much of a history was never heard, from what a recogniser made of what was played.

Hides how the two are aligned, which repetitions are the speaker's and which the recogniser's, and
that recognisers leave out last words.
"""

from collections.abc import Callable
from difflib import Match, SequenceMatcher
from typing import Final

import numpy as np

from omni.dialog.lexicon import words_of
from omni.evaluation.recording import AUDIBLE, RATE_HZ
from omni.types import Samples

TAILS_S: Final = (
    5.0,
    2.0,
)  # of much sound, a last word is left out: its end is read by itself, too
BREAK_S: Final = 0.1  # between words, not within one
LEAST_WORD_S: Final = 0.06  # "it"


def num_unplayed(history: str, sound: Samples, read: Callable[[Samples], str]) -> int:
    """Words at the end of a history that are not in what was played of it.

    Args:
        sound: float32 [n] at 24 kHz.
        read: a recogniser.
    """
    if not np.any(np.abs(sound) > AUDIBLE):
        return len(words_of(history))
    sounds = [sound, *(sound[-int(tail_s * RATE_HZ) :] for tail_s in TAILS_S)]
    unheard = min(num_unheard(history, read(part)) for part in sounds)
    if unheard == 1 and (last := _last_burst(sound)):
        *before, _ = words_of(history)  # a short last word by itself is not read at all
        unheard = min(1, num_unheard(" ".join(before), read(sound[:last])))
    return unheard


def _last_burst(sound: Samples) -> int:
    """Where what may be a word begins after the last break in a sound; 0 if nothing does."""
    audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
    breaks = np.flatnonzero(np.diff(audible) > BREAK_S * RATE_HZ)
    begun = int(audible[breaks[-1] + 1]) if len(breaks) else 0
    return begun if audible[-1] - begun > LEAST_WORD_S * RATE_HZ else 0


def num_unheard(history: str, heard: str) -> int:
    """Words at the end of a history that a recogniser did not find at the end of what was played.

    A word it misheard counts as heard; one that it only repeats, and the history does not, is not.
    """
    written = words_of(history)
    spoken = _without_loop(written, words_of(heard))
    last = next((b for b in reversed(_in_common(written, spoken)) if b.size), None)
    if last is None:
        return max(0, len(written) - len(spoken))
    left, misheard = len(written) - last.a - last.size, len(spoken) - last.b - last.size
    return max(0, left - misheard)


def _without_loop(written: list[str], spoken: list[str]) -> list[str]:
    """What was spoken, less an end that repeats itself where most of that was written only once:
    a recogniser's loop, which would pass for words misheard."""
    for length in range(len(spoken) // 2, 0, -1):
        start = len(spoken) - length
        if spoken[start:] == spoken[start - length : start]:
            blocks = _in_common(written, spoken)
            found = sum(max(0, block.b + block.size - max(block.b, start)) for block in blocks)
            if 2 * found < length:
                return _without_loop(written, spoken[:start])
    return spoken


def _in_common(written: list[str], spoken: list[str]) -> list[Match]:
    return SequenceMatcher(None, written, spoken, autojunk=False).get_matching_blocks()
