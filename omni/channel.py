"""A bounded, closable queue that says what it does when it is full.

Each item may fall under a `Limit`: so many items per key, then the oldest of that key goes (audio
older than 2 s, any picture but the latest). Items without a limit are never dropped; they count
against `capacity`, and `offer` beyond it raises.
"""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from omni.errors import StageError

T = TypeVar("T")


class Limit(NamedTuple):
    key: Hashable
    max_items: int


class Closed(Exception):
    """The channel was closed and is empty."""


class Channel(Generic[T]):
    """Many producers on one event loop, one consumer that takes whatever has gathered.

    Args:
        capacity: bound on all items; going past it means a consumer that is stuck.
        limit_of: the limit an item falls under, or None if it must not be dropped.
    """

    def __init__(
        self, capacity: int = 4096, limit_of: Callable[[T], Limit | None] = lambda _: None
    ) -> None:
        self._items: deque[tuple[Hashable, T]] = deque()
        self._counts: Counter[Hashable] = Counter()
        self._capacity = capacity
        self._limit_of = limit_of
        self._wake = asyncio.Event()
        self._is_closed = False
        self.num_dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> None:
        """Add an item; drops the oldest under the same limit if that is full.

        Raises:
            Closed: the channel is closed.
            StageError: more than `capacity` items that may not be dropped are waiting.
        """
        if self._is_closed:
            raise Closed
        limit = self._limit_of(item)
        key = limit.key if limit else None
        if limit and self._counts[key] >= limit.max_items:
            self._drop_oldest(key)
        if len(self._items) >= self._capacity:
            raise StageError("the stage is not keeping up", code="queue_full")
        self._items.append((key, item))
        self._counts[key] += 1
        self._wake.set()

    def take(self, max_items: int = sys.maxsize) -> list[T]:
        """What waits now, oldest first, at most `max_items` of it; may be empty."""
        taken = [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
        self._counts.subtract(key for key, _ in taken)
        if not self._items:
            self._counts.clear()
            if not self._is_closed:
                self._wake.clear()
        return [item for _, item in taken]

    def discard(self, is_unwanted: Callable[[T], bool]) -> None:
        """Take out what is no longer wanted, wherever it stands; this is no drop."""
        self._items = deque(entry for entry in self._items if not is_unwanted(entry[1]))
        self._counts = Counter(key for key, _ in self._items)

    async def wait(self) -> None:
        """Return once there is something to take.

        Raises:
            Closed: the channel is closed and nothing is left.
        """
        await self._wake.wait()
        if self._is_closed and not self._items:
            raise Closed

    def close(self) -> None:
        """No more items; what waits can still be taken."""
        self._is_closed = True
        self._wake.set()

    def _drop_oldest(self, key: Hashable) -> None:
        index = next(i for i, (k, _) in enumerate(self._items) if k == key)
        del self._items[index]
        self._counts[key] -= 1
        self.num_dropped += 1
