"""A core that writes what a script says, a few characters a step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omni.models.core import Request, Step

Messages = list[dict[str, Any]]


class Writer:
    """`script`: the chat and what the reply was made to begin with → what is written after it."""

    def __init__(self, script: Callable[[Messages, str], str], piece: int = 3) -> None:
        self.chats: list[Messages] = []
        self.tools: list[Sequence[Mapping[str, Any]]] = []
        self.prefixes: list[str] = []
        self._script = script
        self._piece = piece
        self._running: dict[str, tuple[Request, str]] = {}

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        self.chats.append([dict(message) for message in messages])
        self.tools.append(tools)
        self.prefixes.append("")
        return [1]

    def encode(self, text: str) -> list[int]:
        self.prefixes[-1] = text
        return [2]

    def submit(self, request: Request) -> None:
        text = self._script(self.chats[-1], self.prefixes[-1]) if request.max_tokens else ""
        self._running[request.session_id] = (request, text)

    def cancel(self, session_id: str) -> None:
        self._running.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        self.cancel(session_id)

    def has_work(self) -> bool:
        return bool(self._running)

    def step(self) -> list[Step]:
        steps = []
        for session_id, (request, text) in list(self._running.items()):
            piece, rest = text[: self._piece], text[self._piece :]
            self._running[session_id] = (request, rest)
            if not rest:
                del self._running[session_id]
            finish = None if rest else "stop"
            steps.append(Step(session_id, request.request_id, piece, finish, 10, 0))
        return steps
