"""The core on a server elsewhere: vLLM, SGLang, Ollama, llama.cpp, or another omni.

Hides that such a server takes messages, not tokens. Laws: a connection that is lost is tried
again, and the reply goes on from its last word; a cancelled request is closed at once.
"""

import json
import queue
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from omni.errors import StageError, StageLost
from omni.models.completions import BROKEN, RETRIED, Completions, Delta, Endpoint, Refused, Stream
from omni.models.core import (
    POLL_S,
    ChatMessage,
    Failure,
    FinishReason,
    Request,
    Step,
    check_prompt,
    drained,
    plain,
)

PAUSES_S: Final = (0.1, 0.5, 2.0)  # before each new try
MAX_IDS: Final = 1 << 22
CALL: Final = "<tool_call>"
_NAME: Final = re.compile(CALL + r'\s*\{"name": "([^"]+)"')
_REPLY: Final = 256  # added to the bytes of a reply that was begun


class RemoteCore:
    """Our ids are the bytes of the request: the server has the tokenizer. What is prefilled is not
    sent: few servers would keep it, and some charge for it.

    Args:
        parameters: further fields of each request; a null leaves one of ours out.

    Raises:
        ConfigError: the address is none. StageLost: the server does not answer.
        Refused: it wants another key.
    """

    def __init__(
        self, endpoint: Endpoint, num_slots: int = 4, parameters: Mapping[str, Any] | None = None
    ) -> None:
        self._server = Completions(endpoint)
        self._server.models()
        self._parameters = dict(parameters or {})
        self._running: dict[str, _Job] = {}
        self._events: queue.SimpleQueue[tuple[_Job, Step | Failure]] = queue.SimpleQueue()
        # A cancelled job holds its thread for a moment: its successor needs another.
        self._pool = ThreadPoolExecutor(2 * num_slots, thread_name_prefix="remote")

    def encode_chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        body: dict[str, Any] = {"messages": [_told(message) for message in plain(messages)]}
        if tools:
            body["tools"] = list(tools)
        return list(json.dumps(body).encode())

    def encode(self, text: str) -> list[int]:
        return [_REPLY + byte for byte in text.encode()]

    def submit(self, request: Request) -> None:
        check_prompt(request.ids, MAX_IDS)
        self.cancel(request.session_id)
        job = self._running[request.session_id] = _Job(request, self._parameters)
        if request.max_tokens:
            self._pool.submit(self._run, job)
        else:
            self._events.put((job, job.step("", "length")))

    def cancel(self, session_id: str) -> None:
        if job := self._running.pop(session_id, None):
            job.cancel()

    def forget(self, session_id: str) -> None:
        self.cancel(session_id)

    def fork(self, session_id: str, new_session_id: str) -> None:
        """Nothing is kept of a session here."""

    def cached_tokens(self, session_id: str) -> int:
        return 0

    def step(self) -> list[Step | Failure]:
        steps: list[Step | Failure] = []
        for job, event in drained(self._events, POLL_S if self._running else 0):
            if self._running.get(job.request.session_id) is not job:
                continue  # what a cancelled job had left in the queue
            steps.append(event)
            if isinstance(event, Failure) or event.finish_reason:
                del self._running[job.request.session_id]
        return steps

    def has_work(self) -> bool:
        return bool(self._running)

    def close(self) -> None:
        for session_id in list(self._running):
            self.cancel(session_id)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._server.close()

    def _run(self, job: "_Job") -> None:
        """On a pool thread: one reply, from request to end or cancel."""
        error = StageError("the model server sent what is no completion")
        for pause_s in (0.0, *PAUSES_S):
            if job.is_cancelled.wait(pause_s):
                return
            try:
                self._read(job)
                return
            except Refused as refusal:
                error = refusal
                if not (job.may_try_plainer(refusal) or refusal.status in RETRIED):
                    break
            except StageLost as lost:
                error = lost
            except BROKEN:
                error = StageLost("the connection to the model server was lost")
            except (ValueError, TypeError, LookupError, AttributeError):
                break  # not what such a server says
        self._events.put((job, job.failure(error)))

    def _read(self, job: "_Job") -> None:
        for delta in job.stream(self._server):
            for step in job.read(delta):
                self._events.put((job, step))


class _Job:
    """One request, what there is of its reply, and the stream that brings the rest."""

    def __init__(self, request: Request, parameters: Mapping[str, Any]) -> None:
        self.request = request
        self.is_cancelled = threading.Event()
        self._parameters = parameters
        self._chat = json.loads(bytes(i for i in request.ids if i < _REPLY))
        begun = bytes(i - _REPLY for i in request.ids if i >= _REPLY).decode()
        self._opening = begun if begun.startswith(CALL) else ""  # it must call a tool
        self._reply = begun if not self._opening else ""
        self._stream: Stream | None = None
        self._num_pieces = 0
        self._names_continuation = True

    def stream(self, server: Completions) -> Stream:
        """A stream of what is still to be written."""
        stream = self._stream = server.stream(self._body())
        if self.is_cancelled.is_set():
            stream.close()
        return stream

    def cancel(self) -> None:
        self.is_cancelled.set()
        if stream := self._stream:
            stream.close()

    def may_try_plainer(self, refusal: Refused) -> bool:
        """Whether the server may have refused what not every one knows; it is left out then."""
        was_named = self._names_continuation and bool(self._reply)
        self._names_continuation = False
        return was_named and refusal.status in (400, 422)

    def read(self, delta: Delta) -> list[Step]:
        """What a piece says to the session."""
        calls = "".join(_written(*call) for call in delta.calls)
        text = delta.text + calls.removeprefix(self._opening)
        finish: FinishReason | None = None
        if delta.finish:
            finish = "length" if delta.finish == "length" else "stop"
        self._reply += text
        self._num_pieces += bool(text)
        return [self.step(text, finish, delta)] if text or finish else []

    def step(self, text: str, finish: FinishReason | None, delta: Delta | None = None) -> Step:
        request, told = self.request, delta or Delta()
        cost = (told.prompt_tokens, told.cached_tokens)
        return Step(request.session_id, request.request_id, text, finish, *cost)

    def failure(self, error: StageError) -> Failure:
        return Failure(self.request.session_id, self.request.request_id, error)

    def _body(self) -> dict[str, Any]:
        request = self.request
        body: dict[str, Any] = {
            **self._chat,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": max(1, request.max_tokens - self._num_pieces),
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if self._reply:
            begun = {"role": "assistant", "content": self._reply}
            body["messages"] = [*body["messages"], begun]
            if self._names_continuation:  # as vLLM and SGLang have it; others go on by themselves
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if self._opening:
            named = _NAME.match(self._opening)
            function = {"type": "function", "function": {"name": named[1]}} if named else "required"
            body["tool_choice"] = function
        body |= self._parameters
        return {name: value for name, value in body.items() if value is not None}


def _told(message: dict[str, Any]) -> dict[str, Any]:
    """A server refuses an answer to no call; what is told so is told as from the user."""
    if message["role"] == "tool" and not message.get("tool_call_id"):
        return {"role": "user", "content": message["content"]}
    return message


def _written(name: str, arguments: str) -> str:
    """A function call as a model writes it, for whoever reads calls out of its text."""
    try:
        given = json.loads(arguments or "{}")
    except ValueError:
        given = arguments
    call = json.dumps({"name": name, "arguments": given}, ensure_ascii=False)
    return f"{CALL}\n{call}\n</tool_call>"
