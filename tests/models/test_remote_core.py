"""The core on a server elsewhere, against one that does whatever a test wants of it."""

import http.server
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omni.errors import ConfigError, StageError, StageLost
from omni.models import remote_core
from omni.models.completions import Endpoint, Refused
from omni.models.core import Failure, Request, Step
from omni.models.remote_core import RemoteCore

HELLO = [{"role": "user", "content": "hello"}]
Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the test says; keeps connections, as real servers do."""

    protocol_version = "HTTP/1.1"
    server: "Fake"

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("Authorization"))
        self.reply(self.server.models_status, {"data": [{"id": "tiny"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.ports.add(self.client_address[1])
        self.server.answers[min(len(self.server.bodies), len(self.server.answers)) - 1](self, body)

    def reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, event: Any) -> None:
        data = f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def word(self, text: str) -> None:
        self.event({"choices": [{"delta": {"content": text}}]})

    def end(self, finish: str = "stop") -> None:
        self.event({"choices": [{"delta": {}, "finish_reason": finish}]})
        cost = {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}
        self.event({"choices": [], "usage": cost})
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def die(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Fake(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.ports: set[int] = set()
        self.models_status = 200
        self.was_left = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        self.was_left.set()


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_core, "PAUSES_S", (0.01, 0.02, 0.03))


@pytest.fixture
def core(fake: Fake) -> Iterator[RemoteCore]:
    made = RemoteCore(Endpoint(fake.url, "tiny", "sk-secret", 2, 60), parameters={"seed": None})
    yield made
    made.close()


def request(core: RemoteCore, begun: str = "", name: str = "r1", **change: Any) -> Request:
    ids = core.encode_chat(HELLO) + core.encode(begun)
    return Request("s1", name, tuple(ids), **{"max_tokens": 16, **change})


def run(core: RemoteCore, limit_s: float = 120) -> list[Step | Failure]:
    steps: list[Step | Failure] = []
    until_s = time.monotonic() + limit_s
    while core.has_work():
        assert time.monotonic() < until_s
        steps += core.step()
    return steps


def text_of(steps: list[Step | Failure]) -> str:
    assert all(isinstance(step, Step) for step in steps), steps
    return "".join(step.text for step in steps if isinstance(step, Step))


def words(*texts: str, finish: str = "stop") -> Answer:
    def answer(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        for text in texts:
            handler.word(text)
        handler.end(finish)

    return answer


def words_and_death(*texts: str) -> Answer:
    def answer(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        for text in texts:
            handler.word(text)
        handler.die()

    return answer


def refusal(status: int, **error: str) -> Answer:
    return lambda handler, _: handler.reply(status, {"error": error})


def test_a_reply_comes_in_pieces_and_says_what_it_cost(fake: Fake, core: RemoteCore) -> None:
    fake.answers = [words("Hel", "lo ", "świecie!")]
    core.submit(request(core, temperature=0.5))
    steps = run(core)
    assert text_of(steps) == "Hello świecie!"
    last = steps[-1]
    assert isinstance(last, Step)
    assert (last.finish_reason, last.prompt_tokens, last.cached_tokens) == ("stop", 7, 3)
    (body,) = fake.bodies
    assert body["messages"] == HELLO
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 16, 0.5)
    assert "seed" not in body
    assert fake.keys == ["Bearer sk-secret"]


def test_a_connection_serves_again(fake: Fake, core: RemoteCore) -> None:
    fake.answers = [words("a")]
    for number in range(3):
        core.submit(request(core, name=f"r{number}"))
        run(core)
    assert len(fake.ports) == 1


def test_a_server_that_dies_in_the_middle_goes_on_from_the_last_word(
    fake: Fake, core: RemoteCore
) -> None:
    fake.answers = [words_and_death("one ", "two "), words_and_death(), words("three")]
    core.submit(request(core, begun="zero "))
    assert text_of(run(core)) == "one two three"
    begun = [body["messages"][-1] for body in fake.bodies]
    assert [message["content"] for message in begun] == ["zero ", "zero one two ", "zero one two "]
    assert all(body["continue_final_message"] for body in fake.bodies)
    assert fake.bodies[-1]["max_tokens"] == 14


def test_a_server_that_does_not_know_how_to_continue_is_asked_plainly(
    fake: Fake, core: RemoteCore
) -> None:
    fake.answers = [refusal(400, code="unknown_parameter"), words("two")]
    core.submit(request(core, begun="one "))
    assert text_of(run(core)) == "two"
    assert "continue_final_message" not in fake.bodies[1]
    assert fake.bodies[1]["messages"][-1] == {"role": "assistant", "content": "one "}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(fake: Fake, core: RemoteCore, status: int) -> None:
    fake.answers = [refusal(status), words("there")]
    core.submit(request(core))
    assert text_of(run(core)) == "there"


@pytest.mark.parametrize(
    ("answer", "num_tries", "match"),
    [
        (refusal(404, code="model_not_found"), 1, "404"),
        (refusal(400, code="context_length_exceeded"), 1, "400"),
        (words_and_death("x"), 4, "lost"),
        (lambda handler, _: handler.reply(200, {"choices": []}), 4, "lost"),
        (refusal(503), 4, "503"),
    ],
)
def test_trouble_is_told_in_the_end(
    fake: Fake, core: RemoteCore, answer: Answer, num_tries: int, match: str
) -> None:
    fake.answers = [answer]
    core.submit(request(core))
    (failure,) = [step for step in run(core) if isinstance(step, Failure)]
    assert match in failure.error.message
    assert len(fake.bodies) == num_tries


def test_trouble_of_one_session_is_no_other_ones(fake: Fake, core: RemoteCore) -> None:
    def by_session(handler: Handler, body: dict[str, Any]) -> None:
        is_bad = body["messages"][-1]["content"] == "bad"
        (refusal(404) if is_bad else words("fine"))(handler, body)

    fake.answers = [by_session]
    core.submit(request(core))
    bad = core.encode_chat([{"role": "user", "content": "bad"}])
    core.submit(Request("s2", "r2", tuple(bad), 5))
    ends = {step.session_id: type(step) for step in run(core)}
    assert ends == {"s1": Step, "s2": Failure}


@pytest.mark.parametrize("says_something", [True, False])
def test_a_cancelled_request_is_closed_at_once(
    fake: Fake, core: RemoteCore, says_something: bool
) -> None:
    has_begun = threading.Event()

    def slow(handler: Handler, _: dict[str, Any]) -> None:
        if says_something:
            handler.begin()
            handler.word("well")
        has_begun.set()
        if handler.connection.recv(1) == b"":  # until the other side closes
            handler.server.was_left.set()
        handler.die()

    fake.answers = [slow, words("next")]
    core.submit(request(core))
    assert has_begun.wait(60)
    core.cancel("s1")
    assert fake.was_left.wait(60), "the server went on for nobody"
    assert not core.has_work()
    core.submit(request(core, name="r2"))
    steps = run(core)
    assert text_of(steps) == "next"
    assert {step.request_id for step in steps} == {"r2"}


def test_silence_counts_as_a_lost_connection(fake: Fake) -> None:
    core = RemoteCore(Endpoint(fake.url, "tiny", None, 2, 1))
    is_over = threading.Event()
    fake.answers = [lambda *_: is_over.wait(), words("awake")]
    core.submit(request(core))
    assert text_of(run(core)) == "awake"
    is_over.set()
    core.close()


def test_what_is_prefilled_is_not_sent(fake: Fake, core: RemoteCore) -> None:
    core.submit(request(core, max_tokens=0))
    (step,) = run(core)
    assert isinstance(step, Step)
    assert (step.text, step.finish_reason) == ("", "length")
    assert fake.bodies == []


def test_a_function_call_is_written_as_models_write_it(fake: Fake, core: RemoteCore) -> None:
    def call(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        for part in (
            {"id": "c", "function": {"name": "look", "arguments": ""}},
            {"function": {"arguments": '{"at": '}},
            {"function": {"arguments": '"sky"}'}},
        ):
            calls = [{"index": 0, **part}]
            handler.event({"choices": [{"delta": {"tool_calls": calls}}]})
        handler.end("tool_calls")

    fake.answers = [call]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    core.submit(Request("s1", "r1", tuple(core.encode_chat(HELLO, tools)), 50))
    wanted = '<tool_call>\n{"name": "look", "arguments": {"at": "sky"}}\n</tool_call>'
    assert text_of(run(core)) == wanted
    assert fake.bodies[0]["tools"] == tools


def test_a_wrong_key_is_told_at_the_start(fake: Fake) -> None:
    fake.models_status = 401
    with pytest.raises(Refused, match="401") as refusal:
        RemoteCore(Endpoint(fake.url, "tiny", "wrong"))
    travelled = pickle.loads(pickle.dumps(refusal.value))  # from its actor
    assert (travelled.message, travelled.status) == (refusal.value.message, 401)


def test_a_server_that_is_not_there_is_told_at_the_start() -> None:
    with pytest.raises(StageLost, match=r"127\.0\.0\.1:1 cannot be reached"):
        RemoteCore(Endpoint("http://127.0.0.1:1/v1", "tiny"))
    with pytest.raises(ConfigError):
        RemoteCore(Endpoint("localhost:8000", "tiny"))


def test_a_key_is_in_no_message() -> None:
    endpoint = Endpoint("http://user:pass@127.0.0.1:1/v1", "tiny", "sk-secret")
    assert "sk-secret" not in repr(endpoint)
    with pytest.raises(StageError) as error:
        RemoteCore(endpoint)
    assert "pass" not in error.value.message


def test_an_empty_prompt_is_refused(core: RemoteCore) -> None:
    with pytest.raises(StageError):
        core.submit(Request("s1", "r1", (), 5))


@pytest.mark.parametrize(
    ("opening", "choice"),
    [
        ('<tool_call>\n{"name": "', "required"),
        (
            '<tool_call>\n{"name": "look", "arguments": {',
            {"type": "function", "function": {"name": "look"}},
        ),
    ],
)
def test_a_call_that_must_be_made_goes_on_from_how_it_was_begun(
    fake: Fake, core: RemoteCore, opening: str, choice: Any
) -> None:
    def call(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        made = {"index": 0, "function": {"name": "look", "arguments": '{"at": "sky"}'}}
        handler.event({"choices": [{"delta": {"tool_calls": [made]}}]})
        handler.end("tool_calls")

    fake.answers = [call]
    core.submit(request(core, begun=opening))
    whole = '<tool_call>\n{"name": "look", "arguments": {"at": "sky"}}\n</tool_call>'
    assert opening + text_of(run(core)) == whole
    assert fake.bodies[0]["tool_choice"] == choice
    assert fake.bodies[0]["messages"] == HELLO
