"""What a sound of the user's over our speech means: a wish to speak, or none.

Pure rules on evidence. Laws: nothing without words is an interruption; assent, laughter, noise,
talk to others and our own echo never are; a plea to stop, a question, or more than a few words are.
"""

from dataclasses import dataclass
from typing import Final, Literal

from omni.config import OverlapConfig
from omni.dialog.lexicon import Remark, words_of

Verdict = Literal["undecided", "tolerate", "dismiss", "interrupt"]
"""`tolerate`: speak on, lowered, and listen on. `dismiss`: it was nothing."""

NOISE_MS: Final = 900  # the recogniser may find no words in the first part of a sentence
MIN_ECHO_WORDS: Final = 3  # fewer may be the user's own, even if we have just said them
ECHO_SHARE: Final = 0.8  # of the words heard


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is known of a sound when its words arrive.

    `heard_ms`: how long it has been. `is_over`: all of it. `is_quiet`: far below the user's
    usual level. `is_over_us`: we are speaking still, or would be if we were not held.
    `is_going_on`: we had hardly begun to. `is_own`: the words are ours.
    """

    remark: Remark
    heard_ms: float
    is_over: bool
    is_quiet: bool
    is_over_us: bool
    is_going_on: bool
    is_own: bool


def judge(evidence: Evidence, config: OverlapConfig) -> Verdict:
    """What a sound over our speech is, by the words in it and by its length."""
    meaning, num_words = evidence.remark.meaning, evidence.remark.num_words
    nothing: Verdict = "dismiss" if evidence.is_over else "tolerate"
    if evidence.is_own:
        return nothing
    if evidence.is_quiet:  # not meant for us, unless it is nothing but a plea to stop
        return "interrupt" if meaning == "stop" and num_words <= config.max_words + 1 else nothing
    if meaning == "nothing":
        return "undecided" if not evidence.is_over and evidence.heard_ms < NOISE_MS else nothing
    if meaning == "assent":
        if evidence.is_going_on and not evidence.is_over:
            return "undecided"  # "good" may become "good books for children"
        return nothing if evidence.is_over_us else "interrupt"
    is_short = evidence.heard_ms < config.short_ms and evidence.is_over_us
    if meaning == "stop" or (meaning == "question" and (evidence.is_over or not is_short)):
        return "interrupt"
    if is_short:
        # Recognisers make words of murmurs: "mm-hm" is heard as "ma'am", laughter as "you'll find".
        # But the rest of a sentence of the user's own, which we cut in two, may be as short.
        if not evidence.is_over:
            return "undecided"
        return "interrupt" if evidence.is_going_on else "dismiss"
    return "interrupt" if num_words > config.max_words or evidence.is_over else "undecided"


def is_echo(heard: str, said: str) -> bool:
    """Whether the words heard are, in their order, words that we have just said ourselves."""
    words, own = words_of(heard), words_of(said)
    if len(words) < MIN_ECHO_WORDS:
        return False
    return _common_length(words, own) >= ECHO_SHARE * len(words)


def _common_length(words: list[str], own: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(own) + 1)
    for word in words:
        before = row
        row = [0]
        for index, other in enumerate(own):
            best = before[index] + 1 if word == other else max(before[index + 1], row[-1])
            row.append(best)
    return row[-1]
