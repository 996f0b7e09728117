"""The core on llama.cpp: its in-process server, one of its slots per session.

Hides slots, streaming threads and the loopback calls that the wheel has no function for. Law: a
slot's cache only ever saves work; the server re-uses what matches a prompt and cuts the rest.
"""

import http.client
import json
import queue
import secrets
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xllamacpp

from omni.errors import AssetError, StageError
from omni.models.core import POLL_S, ChatMessage, Request, Step, check_prompt, drained, plain
from omni.models.repetition import LAST_TOKENS
from omni.models.slots import Slot, SlotTable, worth_copying

BATCH_TOKENS = 64  # a prefill can be cancelled, and others decode, after this many tokens


class LlamaCore:
    """A GGUF model on `num_slots` contexts of `context_tokens` each.

    Raises:
        AssetError: the file is missing or llama.cpp cannot load it.
    """

    def __init__(
        self,
        model: Path,
        num_slots: int = 4,
        context_tokens: int = 2048,
        num_threads: int = 1,
        dry_multiplier: float = 0.0,
    ) -> None:
        if not model.is_file():
            raise AssetError(f"no model file {model.name}: run `omni pull`", param=model.name)
        self._context_tokens = context_tokens
        self._slots = SlotTable(num_slots)
        self._running: dict[str, _Job] = {}
        self._unended: list[_Job] = []
        self._events: queue.SimpleQueue[tuple[_Job, Step | StageError]] = queue.SimpleQueue()
        # A cancelled job holds its thread until its next callback: its successor needs another.
        self._pool = ThreadPoolExecutor(2 * num_slots, thread_name_prefix="llama")
        self._folder = tempfile.TemporaryDirectory(prefix="omni-slots-")
        key = secrets.token_hex(16)
        params = _params(model, num_threads)
        params.sampling.dry_multiplier = dry_multiplier  # of the prompt's last words, too
        params.sampling.dry_penalty_last_n = LAST_TOKENS
        params.n_parallel = num_slots
        params.n_ctx = num_slots * context_tokens
        params.slot_save_path = self._folder.name + "/"
        params.api_keys = [key]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise AssetError(f"llama.cpp cannot load {model.name}", param=model.name) from error
        self._loopback = _Loopback(self._server.listening_address, key)

    def encode_chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        body: dict[str, Any] = {"messages": plain(messages)}
        if tools:
            body["tools"] = plain(tools)
        prompt = self._loopback.post("/apply-template", body)["prompt"]
        return self._tokenise({"content": prompt, "parse_special": True})

    def encode(self, text: str) -> list[int]:
        return self._tokenise({"content": text, "parse_special": False})

    def _tokenise(self, body: Mapping[str, Any]) -> list[int]:
        ids: list[int] = self._loopback.post("/tokenize", {**body, "add_special": False})["tokens"]
        return ids

    def submit(self, request: Request) -> None:
        check_prompt(request.ids, self._context_tokens)
        self.cancel(request.session_id)
        slot = self._slots.claim(request.session_id, request.ids)
        self._seed(slot, request.ids)
        job = _Job(request, slot)
        self._unended.append(job)
        self._running[request.session_id] = job
        self._pool.submit(self._run, job)

    def cancel(self, session_id: str) -> None:
        job = self._running.pop(session_id, None)
        if job:
            job.is_cancelled.set()

    def forget(self, session_id: str) -> None:
        self.cancel(session_id)
        self._slots.free(session_id)

    def fork(self, session_id: str, new_session_id: str) -> None:
        source = self._slots.find(session_id)
        ids = source.cached if source else ()
        self._seed(self._slots.claim(new_session_id, ids), ids)

    def cached_tokens(self, session_id: str) -> int:
        slot = self._slots.find(session_id)
        return len(slot.cached) if slot else 0

    def step(self) -> list[Step]:
        steps: list[Step] = []
        for job, event in drained(self._events, POLL_S if self._running else 0):
            if self._running.get(job.request.session_id) is not job:
                continue  # what a cancelled job had left in the queue
            if isinstance(event, StageError):
                for session_id in list(self._running):
                    self.cancel(session_id)
                raise event
            steps.append(event)
            if event.finish_reason:
                del self._running[event.session_id]
        return steps

    def has_work(self) -> bool:
        return bool(self._running)

    def close(self) -> None:
        for session_id in list(self._running):
            self.cancel(session_id)
        # The server must outlive the calls into it, and its destructor joins its own threads.
        self._pool.shutdown(wait=True, cancel_futures=True)
        del self._server
        self._folder.cleanup()

    def _seed(self, slot: Slot, ids: Sequence[int]) -> None:
        """Copy what another slot at rest holds of the ids, if that saves work."""
        self._unended = [job for job in self._unended if not job.is_done.is_set()]
        busy = {job.slot.index for job in self._unended}
        if slot.index in busy:
            return
        source = worth_copying(slot, ids, (s for s in self._slots if s.index not in busy))
        if source:
            name = {"filename": f"slot{slot.index}"}
            self._loopback.post(f"/slots/{source.index}?action=save", name)
            try:
                self._loopback.post(f"/slots/{slot.index}?action=restore", name)
            finally:  # it holds somebody's conversation, and a killed process cleans nothing up
                Path(self._folder.name, name["filename"]).unlink(missing_ok=True)
            slot.cached = source.cached

    def _run(self, job: "_Job") -> None:
        """On a pool thread: one completion, from prompt to end or cancel."""
        try:
            if not job.is_cancelled.is_set():
                self._server.handle_completions(job.body(), lambda event: self._on(job, event))
        except Exception as error:
            self._events.put((job, StageError(f"llama.cpp failed: {type(error).__name__}")))
        finally:
            job.is_done.set()

    def _on(self, job: "_Job", event: Any) -> bool:
        """Called with each event of a stream; True ends it. Tokens may come several at once."""
        for part in event if isinstance(event, list) else [event]:
            if "error" in part:
                self._events.put((job, StageError(f"llama.cpp: {part['error'].get('message')}")))
                return True
            step = job.read(part)
            if step and step.finish_reason:
                job.is_done.set()  # before the step is seen: its reader may copy the slot at once
            if step and not job.is_cancelled.is_set():
                self._events.put((job, step))
        return job.is_cancelled.is_set()


class _Job:
    """One request in its slot, and what is known of its progress."""

    def __init__(self, request: Request, slot: Slot) -> None:
        self.request = request
        self.is_cancelled = threading.Event()
        self.is_done = threading.Event()
        self.slot = slot
        self._cached_tokens = 0
        slot.cached = request.ids[: slot.match(request.ids)]

    def body(self) -> dict[str, Any]:
        request = self.request
        return {
            "prompt": list(request.ids),
            "n_predict": max(1, request.max_tokens),
            "temperature": request.temperature,
            "seed": request.seed,
            "id_slot": self.slot.index,
            "cache_prompt": True,
            "stream": True,
            "return_progress": True,
        }

    def read(self, part: Mapping[str, Any]) -> Step | None:
        """What one event says to the session, if anything."""
        if progress := part.get("prompt_progress"):
            if progress["processed"] == progress["cache"]:
                self._cached_tokens = progress["cache"]
            if not self.is_cancelled.is_set():
                self.slot.cached = self.request.ids[: progress["processed"]]
            return None
        choice = part["choices"][0]
        text, reason = choice["text"], choice["finish_reason"]
        if not self.request.max_tokens:
            # The server always draws one token, even if it was asked for none.
            text, reason = "", reason and "length"
        if not text and not reason:
            return None
        request = self.request
        return Step(
            request.session_id,
            request.request_id,
            text,
            reason,
            len(request.ids),
            self._cached_tokens,
        )


class _Loopback:
    """Calls to the server's own HTTP port, which answers only to a key made for this process."""

    def __init__(self, address: str, key: str) -> None:
        self._host = address.removeprefix("http://")
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self._host, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body), self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, ValueError) as error:
            raise StageError("llama.cpp's server does not answer") from error
        finally:
            connection.close()
        if response.status != 200:
            raise StageError(f"llama.cpp refused {path.partition('?')[0]}")
        return answer


def _params(model: Path, num_threads: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = num_threads
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.cache_ram_mib = 0  # copies of idle slots in RAM: ours are all in place already
    params.n_threads_http = 1
    params.ui = False
    params.cors_origins = ""
    params.verbosity = -1
    return params
