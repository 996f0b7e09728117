"""What both minds do alike: one LLM, a context a session, and tasks that take turns on them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from omni.models.minicpmo.brain import Mind
from omni.models.minicpmo.decoder import Context
from omni.stages.minicpmo.lane import Lane
from omni.types import Chunk, StageName


class HasContext(Protocol):
    @property
    def context(self) -> Context: ...


SessionT = TypeVar("SessionT", bound=HasContext)


class MindStage(ABC, Generic[SessionT]):
    """Args:
    make_mind: loads the LLM; called on the worker thread.
    """

    name: StageName = "think"

    def __init__(self, make_mind: Callable[[], Mind]) -> None:
        self._make_mind = make_mind
        self._sessions: dict[str, SessionT] = {}

    def load(self) -> None:
        self._mind = self._make_mind()
        self._lane = Lane(self.name, self._mind)
        self._prepare()

    def open(self, session_id: str) -> None:
        self._sessions[session_id] = self._opened(self._mind.llm.open())

    def close(self, session_id: str) -> None:
        self._lane.cancel(session_id)
        if session := self._sessions.pop(session_id, None):
            session.context.close()

    def has_work(self) -> bool:
        return self._lane.has_work

    def step(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._accept(self._sessions[chunk.session_id], chunk)
        return self._lane.step()

    @abstractmethod
    def _opened(self, context: Context) -> SessionT:
        """A session that has just begun."""

    @abstractmethod
    def _accept(self, session: SessionT, chunk: Chunk) -> None:
        """Take in what came for a session; whatever is to be done about it joins the lane."""

    @abstractmethod
    def _prepare(self) -> None:
        """Build what works on the mind, and let it do something of nobody's: the first session's is
        not to be the slowest."""
