"""The model's turns as replies: each begins by itself, and none before the last one has gone out.

Hides that the model names its replies, and that words and sound of one come by different ways.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from omni.config import OmniConfig
from omni.dialog.history import History
from omni.dialog.outbox import Outbox
from omni.dialog.reply import ReplyOptions
from omni.dialog.replying import Replying
from omni.types import Finish, Speech, StageReport, Token
from omni.units import Chosen


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """How a reply that begins now is to be made, and the wall clock of the user's last voice."""

    options: ReplyOptions
    speech_end_ms: float


class DuplexReplies:
    """Args: as `Replying`'s."""

    def __init__(self, outbox: Outbox, history: History, config: OmniConfig) -> None:
        self._out = outbox
        self._replying = Replying(outbox, history, config)
        self.voice = self._replying.voice
        self._names = ("", "")  # of the reply under way: the model's, and the client's
        self._later: deque[Chosen | Speech] = deque()  # of replies that have not begun
        self._num_tokens = 0

    @property
    def response_id(self) -> str | None:
        """The active reply's id."""
        return self._replying.response_id

    @property
    def item_id(self) -> str | None:
        """The item of the reply that is active or still heard."""
        return self._replying.item_id

    def take(self, chunk: Chosen | Speech, wish: Wish) -> None:
        """What the model wrote or spoke, of the reply under way or of a later one."""
        if chunk.epoch < self._out.epoch:
            return
        if chunk.response_id == self._names[0]:
            self._pass_on(chunk)
        else:
            self._later.append(chunk)
            self._begin_next(wish)

    def tick(self, wish: Wish) -> None:
        self._replying.tick()
        self._begin_next(wish)

    def interrupt(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Stop now, and forget what was to follow."""
        if self._replying.is_idle:
            self._out.raise_epoch()  # words may be under way already
        self._replying.interrupt(reason)
        self._leave()

    def fail(self, message: str) -> None:
        """What the model was saying is lost."""
        self._replying.stage_report(StageReport(*self._out.stamp, "think", "failed", message))
        self._leave()

    def _begin_next(self, wish: Wish) -> None:
        while self._later and not self._replying.is_active:
            name = self._later[0].response_id
            began = self._replying.begin_unasked(wish.options, wish.speech_end_ms)
            self._names, self._num_tokens = (name, began), 0
            waiting, self._later = self._later, deque()
            for chunk in waiting:
                if chunk.response_id == name:
                    self._pass_on(chunk)
                else:
                    self._later.append(chunk)

    def _pass_on(self, chunk: Chosen | Speech) -> None:
        response_id = self._names[1]
        if isinstance(chunk, Speech):
            self._replying.receive(replace(chunk, response_id=response_id))
            return
        self._num_tokens += chunk.num_tokens
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        finish: Finish | None = "stop" if chunk.is_turn_end else None
        cost = (chunk.context_tokens, 0, self._num_tokens)
        self._replying.receive(Token(*stamp, response_id, 0, chunk.text, None, finish, *cost))

    def _leave(self) -> None:
        self._later.clear()
        self._names = ("", "")
