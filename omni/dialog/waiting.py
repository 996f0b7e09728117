"""What is said around tools that run: something to fill the wait, and their answers.

Law: it never collides with speech: neither begins while anybody speaks or a reply is made.
"""

from omni.clock import Clock
from omni.config_tools import ToolsConfig
from omni.dialog.answering import Answering
from omni.dialog.remote_tools import RemoteTools


class Waiting:
    """Args:
    clock: for the silence before a filler.
    config: what is said, and when.
    remote: the calls that run at servers, and their answers.
    answering: makes replies.
    """

    def __init__(
        self, clock: Clock, config: ToolsConfig, remote: RemoteTools, answering: Answering
    ) -> None:
        self._clock = clock
        self._config = config
        self._remote = remote
        self._answering = answering
        self._quiet_since_ms: float | None = None  # with a tool running and nobody speaking
        self._is_filled = False
        self._num_rounds = 0

    def user_spoke(self) -> None:
        """A new question: tools may be called for it again."""
        self._num_rounds = 0

    def tick(self, *, is_free: bool) -> None:
        """Time has passed. `is_free`: nobody speaks, nothing is prepared."""
        if not is_free:
            self._quiet_since_ms = None
            return
        if self._answering.has_results:
            self._num_rounds += 1
            is_last = self._num_rounds >= self._config.max_rounds
            self._answering.tell_results(may_call=not is_last)
            return
        if not self._remote.is_waited_for:
            self._quiet_since_ms, self._is_filled = None, False
            return
        now_ms = self._clock.now_ms()
        if self._quiet_since_ms is None:
            self._quiet_since_ms = now_ms
        is_due = now_ms - self._quiet_since_ms >= self._config.filler_after_ms
        is_spoken = self._answering.options.modality == "audio"
        if is_due and is_spoken and not self._is_filled and self._config.filler:
            self._is_filled = True
            self._answering.announce(self._config.filler)
