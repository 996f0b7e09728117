"""Which items of a long conversation the core is still shown.

Hides how tokens are estimated and what goes first. Law: what was left out stays out, so that from
one cut to the next the prompt only grows, and the core's cache holds.
"""

from collections.abc import Sequence
from typing import Final

from omni.dialog.options import Truncation
from omni.events import Item

_CHARS_PER_TOKEN: Final = 3  # of Latin text, a cautious average; the core counts exactly
_ITEM_TOKENS: Final = 4  # what the chat template puts around a message
_KEPT: Final = 1  # the newest item is always shown


def num_tokens(text: str) -> int:
    """About how many tokens a text has; other scripts than Latin count a token a letter."""
    num_latin = sum(letter < "\u0250" for letter in text)
    return -(-num_latin // _CHARS_PER_TOKEN) + len(text) - num_latin


class Compaction:
    """What has been left out of one conversation so far."""

    def __init__(self) -> None:
        self._left_out: set[str] = set()

    def shown(self, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if item.item_id not in self._left_out]

    def fit(self, items: Sequence[Item], room_tokens: int, policy: Truncation | None) -> bool:
        """Leave out the oldest items if all are too many; False if the policy forbids it.

        `room_tokens`: what the core has for the conversation, after instructions and reply.
        """
        limit = room_tokens
        if policy and policy.max_tokens is not None:
            limit = min(limit, policy.max_tokens)
        shown = self.shown(items)
        total = sum(_size(item) for item in shown)
        if total <= limit:
            return True
        if policy is None:
            return False
        for item in shown[:-_KEPT]:
            if total <= limit * policy.retention_ratio:
                break
            self._left_out.add(item.item_id)
            total -= _size(item)
        return True


def _size(item: Item) -> int:
    words = (item.text, item.arguments or "", item.output or "")
    return _ITEM_TOKENS + sum(num_tokens(text) for text in words)
