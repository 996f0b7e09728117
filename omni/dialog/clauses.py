"""Hides where a stream of tokens may be cut for speech: soon for the first clause, later at breaks.

Laws: the clauses joined are the input, whitespace included, and they do not depend on how the
input was chunked. A cut falls before a word, and is known once that word's first letter is.
"""

import re

MIN_WORDS = 2  # a shorter clause would be over before the next one is ready
LATER_PAUSE_WORDS = 4  # cut at every comma, speech sounds chopped; only the first clause is urgent
# Words that are heard while one is written and turned into sound, on two cores, with a margin. A
# clause may be so long that it is ready when those before it have been heard.
PACE = 1.4
LATER_WORDS = 4  # shorter ones sound chopped
STRETCH_WORDS = 3  # how far past its limit a clause may run rather than break a name or a phrase
_ABBREVIATION = re.compile(
    r"dr|mrs?|ms|prof|st|jr|sr|vs|e\.g|i\.e|no|fig|gen|col|lt|sgt|capt|rev|hon|gov|sen|rep|mt"
    r"|approx|ca|cf|u\.s|u\.k|a\.m|p\.m|sra|dra|mme|mlle|sig|dott|[a-z]",
    re.IGNORECASE,
)
_LEANING = re.compile(  # a word that belongs to the next one
    r"an?|the|of|to|in|on|at|by|for|from|with|and|or|but|my|your|his|her|its|our|their"
    r"|is|are|was|were|be|very|[a-z]",
    re.IGNORECASE,
)

_GAP = re.compile(r"\s+(?=\S)")
_CLOSERS = "\"'”’)]*_`"
_SENTENCE_END = (".", "!", "?", "…", "。", "！", "？")
_PAUSE = (",", ";", ":", "—", "–")


class ClauseSplitter:
    """Cuts one reply into clauses for a voice.

    Args:
        first_clause_words: words after which the first clause may end without punctuation.
        clause_words: the same for the later ones, which come to it by and by.
    """

    def __init__(self, first_clause_words: int, clause_words: int) -> None:
        self._limit = self._first_limit = max(1, first_clause_words)
        self._later_limit = max(1, clause_words)
        self._stretch = STRETCH_WORDS
        self._pause_words = MIN_WORDS
        self._lead: float | None = None  # words heard while the next clause is made, at PACE
        self._pending = ""

    def feed(self, delta: str) -> list[str]:
        """Add text; returns the clauses that it completed, oldest first."""
        self._pending += delta
        clauses = []
        while cut := self._cut():
            clauses.append(self._pending[:cut])
            self._pending = self._pending[cut:]
            self._allow(len(clauses[-1].split()))
        return clauses

    def finish(self) -> list[str]:
        """The rest of the reply, if there is any."""
        rest, self._pending = self._pending, ""
        return [rest] if rest else []

    def _allow(self, num_words: int) -> None:
        """Set the limits of the next clause, now that one of so many words was cut."""
        is_second = self._lead is None  # nothing is in hand yet, and the first is heard at once
        self._lead = (self._lead or 0) - (0 if is_second else num_words) + PACE * num_words
        most = min(self._later_limit, max(self._first_limit, LATER_WORDS, int(self._lead)))
        self._stretch = min(STRETCH_WORDS, most // 3)
        spare = self._stretch + 1 if is_second else 0  # one more is added to end a sentence
        self._limit = max(LATER_WORDS, most - spare)
        self._pause_words = LATER_PAUSE_WORDS

    def _cut(self) -> int:
        """Where the pending text can be cut; 0 while there is no such place."""
        num_words, start = 0, len(self._pending) - len(self._pending.lstrip())
        long_enough = 0  # a place to cut at, unless the sentence ends with the next word
        for gap in _GAP.finditer(self._pending, start):
            num_words += 1
            word = self._pending[start : gap.start()]
            start = gap.end()
            if _held(self._pending[:start]):
                continue
            is_end = num_words >= MIN_WORDS and (_ends_sentence(word) or "\n" in gap[0])
            is_pause = word.rstrip(_CLOSERS).endswith(_PAUSE)
            if is_end or (num_words >= self._pause_words and is_pause):
                return start
            if long_enough:
                return long_enough
            if self._is_long(num_words, word, self._pending[start]):
                if self._lead is None:  # the first one is in a hurry
                    return start
                long_enough = start
        return 0

    def _is_long(self, num_words: int, word: str, following: str) -> bool:
        if num_words >= self._limit + self._stretch:
            return True
        return num_words >= self._limit and not _leans(word, following)


def _held(text: str) -> bool:
    """Whether the text stops inside a block of code or the text of a link."""
    return text.count("```") % 2 == 1 or text.rfind("[") > text.rfind("]")


def _ends_sentence(word: str) -> bool:
    bare = word.rstrip(_CLOSERS)
    return bare.endswith(_SENTENCE_END) and not _is_short(bare)


def _is_short(word: str) -> bool:
    """Whether this is an abbreviation or an initial, of which the stop ends no sentence."""
    stem = word.lstrip("(\"'“‘[")
    return stem.endswith(".") and _ABBREVIATION.fullmatch(stem[:-1]) is not None


def _leans(word: str, following: str) -> bool:
    """Whether the next word, of which the first letter is known, belongs with this one."""
    is_name = word[0].isupper() and word[-1].isalpha() and following.isupper()
    is_number = word[-1].isdigit() and following.isdigit()
    return is_name or is_number or _is_short(word) or _LEANING.fullmatch(word) is not None
