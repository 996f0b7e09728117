"""When the user has been silent for so long that they are to be spoken to again.

Counts the user's own sound, so that a client that sends none is not nagged. Law: silence counts
from the end of our last words, or of whatever interrupted it; a session that never spoke waits.
"""


class Idling:
    """Silence, as the session's beat tells of it."""

    def __init__(self) -> None:
        self._has_spoken = False
        self._since_ms: int | None = None

    def spoke(self) -> None:
        """A reply is being made or heard."""
        self._has_spoken, self._since_ms = True, None

    def interrupted(self) -> None:
        """The user speaks, or is about to be answered."""
        self._since_ms = None

    def silent(self, position_ms: int, limit_ms: int | None) -> tuple[int, int] | None:
        """Nobody speaks; the span of silence, ms of the user's sound, once it is too long."""
        if not self._has_spoken or limit_ms is None:
            return None
        if self._since_ms is None:
            self._since_ms = position_ms
        if position_ms - self._since_ms < limit_ms:
            return None
        span, self._since_ms = (self._since_ms, position_ms), None
        return span
