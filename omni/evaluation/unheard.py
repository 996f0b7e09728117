"""How much of a history was never heard, from what a recogniser made of what was played.

Hides how the two are aligned, and which repetitions are the speaker's and which the recogniser's.
"""

from difflib import Match, SequenceMatcher

from omni.dialog.lexicon import words_of


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
