"""Chat completions of a server elsewhere, streamed, over plain blocking HTTP.

Hides connections and how a stream is spelt. Law: `Stream.close`, from any thread, ends a request
at once whatever it waits for, so that the server stops computing what nobody will hear.
"""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from omni.errors import ConfigError, StageError, StageLost

MAX_LINE_BYTES: Final = 1 << 20
MAX_ERROR_BYTES: Final = 1 << 16
RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})
BROKEN: Final = (OSError, http.client.HTTPException)
"""What a connection that is lost, refused or late raises."""


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """An OpenAI-compatible server, e.g. `http://127.0.0.1:8000/v1`. `silence_s`: how long it may
    say nothing before the connection counts as lost."""

    base_url: str
    model: str
    key: str | None = field(default=None, repr=False)
    connect_s: float = 5.0
    silence_s: float = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """A piece of an answer. `calls`: (name, arguments) of what it calls, all at its end."""

    text: str = ""
    finish: str | None = None
    calls: tuple[tuple[str, str], ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0


class Refused(StageError):
    """The server answered, and not with what was asked for; `status` is HTTP's."""

    def __init__(self, message: str, code: str | None = None, status: int = 0) -> None:
        super().__init__(message, code)
        self.status = status


class Completions:
    """Raises: ConfigError: the address is none."""

    def __init__(self, endpoint: Endpoint) -> None:
        url = urlsplit(endpoint.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError("base_url is an http:// or https:// address", param="base_url")
        self._endpoint = endpoint
        self._host, self._port = url.hostname, url.port
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._path = url.path.rstrip("/")
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """Whom to name in a message; no credentials, no query."""
        return f"{self._host}:{self._port}" if self._port else str(self._host)

    def models(self) -> list[str]:
        """The models that the server names; none where it does not tell.

        Raises:
            StageLost: it cannot be reached. Refused: it wants another key.
        """
        connection = self._connect()
        try:
            connection.request("GET", f"{self._path}/models", headers=self._headers())
            response = connection.getresponse()
            body = response.read(MAX_LINE_BYTES)
        except BROKEN as error:
            raise StageLost(f"the model server at {self.address} does not answer") from error
        finally:
            connection.close()
        if response.status in (401, 403):
            raise _refused(response.status, body)
        try:
            return [str(model["id"]) for model in json.loads(body)["data"]]
        except (ValueError, TypeError, LookupError):
            return []

    def stream(self, body: Mapping[str, Any]) -> "Stream":
        """A request, not sent yet."""
        return Stream(self, {**body, "model": self._endpoint.model})

    def send(self, stream: "Stream", data: bytes) -> tuple[Any, Any]:
        """Post a stream's request; returns its connection and the answer, not read yet."""
        headers = {**self._headers(), "Content-Type": "application/json"}
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            is_old = connection is not None
            connection = connection or self._connect()
            stream.hold(connection.sock)
            try:
                connection.request("POST", f"{self._path}/chat/completions", data, headers)
                return connection, connection.getresponse()
            except BROKEN:
                connection.close()
                if not is_old or stream.is_closed:  # an idle one may have been closed meanwhile
                    raise

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Its answer was read to the end: it can serve again."""
        if connection.sock is not None:
            with self._lock:
                self._idle.append(connection)

    def close(self) -> None:
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _connect(self) -> http.client.HTTPConnection:
        limit_s = self._endpoint.connect_s
        if self._tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=limit_s, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=limit_s)
        try:
            connection.connect()
        except BROKEN as error:
            raise StageLost(f"the model server at {self.address} cannot be reached") from error
        connection.sock.settimeout(self._endpoint.silence_s)
        return connection

    def _headers(self) -> dict[str, str]:
        key = self._endpoint.key
        return {"Authorization": f"Bearer {key}"} if key else {}


class Stream:
    """One answer as it is written. Made by `Completions.stream`; iterated once, on one thread."""

    def __init__(self, server: Completions, body: Mapping[str, Any]) -> None:
        self._server = server
        self._data = json.dumps(body).encode()
        self._socket: socket.socket | None = None
        self.is_closed = False

    def __iter__(self) -> Iterator[Delta]:
        """Raises: Refused, StageLost; BROKEN: the connection was lost on the way."""
        connection, response = self._server.send(self, self._data)
        try:
            if response.status != http.client.OK:
                raise _refused(response.status, response.read(MAX_ERROR_BYTES))
            yield from _deltas(response)
        except BaseException:
            connection.close()
            raise
        response.read()
        self._server.keep(connection)

    def hold(self, connected: socket.socket) -> None:
        """The socket that the request uses now. Raises BROKEN if the stream was closed before."""
        self._socket = connected
        if self.is_closed:
            raise ConnectionAbortedError

    def close(self) -> None:
        """End it now; whoever reads it gets an error of BROKEN."""
        self.is_closed = True
        if held := self._socket:
            try:
                socket.socket.shutdown(held, socket.SHUT_RDWR)  # beneath TLS, whose own would wait
            except OSError:
                return  # it was over already


def _deltas(response: http.client.HTTPResponse) -> Iterator[Delta]:
    """The pieces of a stream of server-sent events, up to the one that says how it ended."""
    calls: dict[int, list[str]] = {}
    last = Delta()
    while line := response.readline(MAX_LINE_BYTES):
        if not line.endswith(b"\n"):
            break  # cut off
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            break
        event = json.loads(data)
        if "error" in event:
            raise _refused(500, data)
        if usage := event.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            last = Delta("", last.finish, (), usage.get("prompt_tokens") or 0, cached)
        for choice in event.get("choices", ())[:1]:
            delta = choice.get("delta") or {}
            _gather(calls, delta.get("tool_calls") or ())
            if text := delta.get("content"):
                yield Delta(text)
            if finish := choice.get("finish_reason"):
                last = Delta("", finish, (), last.prompt_tokens, last.cached_tokens)
    if last.finish is None:
        raise http.client.IncompleteRead(b"")
    called = tuple((name, arguments) for name, arguments in calls.values())
    yield Delta("", last.finish, called, last.prompt_tokens, last.cached_tokens)


def _gather(calls: dict[int, list[str]], parts: Any) -> None:
    """Add pieces of function calls to what there is of them, by index: name, arguments."""
    for part in parts:
        call = calls.setdefault(part.get("index", len(calls)), ["", ""])
        function = part.get("function") or {}
        call[0] += function.get("name") or ""
        call[1] += function.get("arguments") or ""


def _refused(status: int, body: bytes) -> Refused:
    """What an error object says, in so far as it is known to hold no words of a user."""
    try:
        error = json.loads(body)["error"]
        named = str(error.get("code") or error.get("type"))[:80]
    except (ValueError, TypeError, LookupError, AttributeError):
        named = "no reason given"
    code = named if named == "context_length_exceeded" else None
    return Refused(f"the model server answered {status} ({named})", code, status)
