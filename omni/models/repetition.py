"""Keeps a reply from going in circles, as small models that take the likeliest token do.

The DRY sampler (https://github.com/oobabooga/text-generation-webui/pull/5677) with llama.cpp's
defaults: a token that would go on repeating what the reply has said already loses so much that its
rivals catch up, the more the longer the repetition is; single words may come as often as they like.
"""

from collections.abc import Callable, Sequence
from typing import Final

BASE: Final = 1.75
ALLOWED_TOKENS: Final = 2  # a shorter repetition costs nothing
LAST_TOKENS: Final = 64  # of the reply; what is further back may be said again
LONGEST: Final = 32  # by then, the penalty is beyond any score
BREAKERS: Final = ("\n", ":", '"', "*")  # structure, as JSON's, repeats with good reason


def is_breaker(text: str) -> bool:
    """Whether a token's text ends what counts as one repetition."""
    return any(mark in text for mark in BREAKERS)


def penalties(
    drawn: Sequence[int], multiplier: float, breaks: Callable[[int], bool]
) -> dict[int, float]:
    """What is to be taken off the scores of tokens, by id, after those that a reply has so far."""
    recent = drawn[-LAST_TOKENS:]
    found: dict[int, int] = {}
    for end in range(len(recent) - 1):
        length = _common_end(recent, end, breaks)
        if length >= ALLOWED_TOKENS:
            following = recent[end + 1]
            found[following] = max(length, found.get(following, 0))
    return {token: multiplier * BASE ** (n - ALLOWED_TOKENS) for token, n in found.items()}


def _common_end(tokens: Sequence[int], end: int, breaks: Callable[[int], bool]) -> int:
    """How many tokens up to `end`, it included, are the last ones over again."""
    length = 0
    while length <= min(end, LONGEST) and tokens[end - length] == tokens[-1 - length]:
        if breaks(tokens[end - length]):
            break
        length += 1
    return length
