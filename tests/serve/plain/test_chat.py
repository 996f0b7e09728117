"""Chat completions, by the stock SDK and by hand."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI, RateLimitError

from omni.serve.plain.stops import StopFinder
from tests.pictures import noise
from tests.serve.conftest import Live, Serve

HELLO: list[Any] = [{"role": "user", "content": "hello world"}]


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[OpenAI]:
    with OpenAI(api_key="none", base_url=f"{live.url}/v1", max_retries=0) as made:
        yield made


def test_an_answer_at_once(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-any", messages=HELLO)
    assert answer.choices[0].message.content == "You said hello world."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "omni-stub"
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 4)


def test_an_answer_as_it_is_written(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="any", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert said == ["You", " said", " hello", " world."]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 6
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_kept(client: OpenAI, name: str) -> None:
    limit: dict[str, Any] = {name: 2}
    answer = client.chat.completions.create(model="any", messages=HELLO, **limit)
    assert answer.choices[0].message.content == "You said"
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stop", ["lo w", ["xyz", "lo w", "world"]])
def test_a_stop_string_ends_the_answer(client: OpenAI, stop: Any) -> None:
    answer = client.chat.completions.create(model="any", messages=HELLO, stop=stop)
    assert answer.choices[0].message.content == "You said hel"
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_stops_are_found_however_the_text_is_cut(size: int) -> None:
    text = "an aaab here and aab there"
    finder = StopFinder(["aab"])
    out = "".join(finder.push(text[i : i + size]) for i in range(0, len(text), size))
    assert (out + finder.finish(), finder.is_found) == ("an a", True)
    finder = StopFinder(["xx", "ere!"])
    out = "".join(finder.push(text[i : i + size]) for i in range(0, len(text), size))
    assert (out + finder.finish(), finder.is_found) == (text, False)


def test_a_picture_is_told_in_words(client: OpenAI) -> None:
    picture = noise(64, 64)
    url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    parts: Any = [
        {"type": "text", "text": "Here."},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    answer = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": parts}]
    )
    assert "[The picture: I see nothing that I recognise.]" in str(answer.choices[0].message)


def test_a_begun_message_is_continued(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any",
        messages=[*HELLO, {"role": "assistant", "content": "You said"}],
        extra_body={"continue_final_message": True},
    )
    assert answer.choices[0].message.content == " hello world."


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "http://evil.example/x"}}
                        ],
                    }
                ]
            },
            "image_url.url",
        ),
    ],
)
def test_what_cannot_be_done_is_named(client: OpenAI, change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as refusal:
        client.chat.completions.create(**{"model": "any", "messages": HELLO, **change})
    assert refusal.value.param == param
    assert refusal.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "status"),
    [("{", 400), ("[]", 400), ("", 400), ("[" * 100_000, 400), (" " * (17 << 20), 413)],
)
def test_a_body_that_is_no_request(live: Live, content: str, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"{live.url}/v1/chat/completions"
    answer = httpx.post(path, content=content, headers=headers, timeout=120)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_requests_share_the_room_of_sessions(serve: Serve) -> None:
    live = serve("brain.stub.token_ms=300", "server.max_requests=1")
    body = {"model": "any", "messages": HELLO, "stream": True}
    with OpenAI(api_key="none", base_url=f"{live.url}/v1", max_retries=0) as client:
        with httpx.stream("POST", f"{live.url}/v1/chat/completions", json=body) as answer:
            assert next(answer.iter_lines()).startswith("data: ")
            assert live.gateway.num_sessions == 1
            with pytest.raises(RateLimitError) as refusal:
                client.chat.completions.create(model="any", messages=HELLO)
            assert refusal.value.response.headers["retry-after"] == "2"
            assert refusal.value.code == "session_limit_reached"
        # The client went away in the middle: its room is free again.
        while live.gateway.num_sessions:
            time.sleep(0.02)
        assert client.chat.completions.create(model="any", messages=HELLO)


def test_a_client_that_goes_frees_its_room(serve: Serve) -> None:
    live = serve("brain.stub.token_ms=5000")
    body = {"model": "any", "messages": [{"role": "user", "content": "hello " * 200}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{live.url}/v1/chat/completions", json=body, timeout=1)
    while live.gateway.num_sessions:  # the whole answer would take longer than this test may
        time.sleep(0.02)


def test_a_stage_that_does_not_answer_is_an_error(serve: Serve) -> None:
    live = serve("brain.stub.think_ms=500", "deadlines.first_token_s=0.1")
    answer = httpx.post(f"{live.url}/v1/chat/completions", json={"model": "any", "messages": HELLO})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "stage_timeout"


def test_trouble_in_the_middle_of_a_stream_is_told_in_it(serve: Serve) -> None:
    live = serve("brain.stub.token_ms=500", "deadlines.next_token_s=0.1")
    body = {"model": "any", "messages": HELLO, "stream": True}
    lines = httpx.post(f"{live.url}/v1/chat/completions", json=body).text.splitlines()
    last = json.loads([line for line in lines if line][-1].removeprefix("data: "))
    assert last["error"]["code"] == "stage_timeout"


def test_models_are_listed_and_found(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["omni-stub"]
    assert client.models.retrieve("omni-stub").owned_by == "omni"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/gpt-9", 404),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/chat/completions", 405),
    ],
)
def test_what_is_not_there_is_an_error_object(
    live: Live, method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, live.url + path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks somewhere.",
        "parameters": {
            "type": "object",
            "properties": {"at": {"type": "string"}},
            "required": ["at"],
        },
    },
}


@pytest.mark.parametrize(
    ("words", "choice", "is_called"),
    [
        ("please look", "auto", True),
        ("please wait", "auto", False),
        ("please look", "none", False),
        ("please wait", "required", True),
        ("please wait", {"type": "function", "function": {"name": "look"}}, True),
    ],
)
def test_tools_are_called(client: OpenAI, words: str, choice: Any, is_called: bool) -> None:
    asked: Any = {
        "model": "any",
        "messages": [{"role": "user", "content": words}],
        "tools": [LOOK],
        "tool_choice": choice,
    }
    answer = client.chat.completions.create(**asked).choices[0]
    assert (answer.finish_reason == "tool_calls") is is_called
    assert bool(answer.message.tool_calls) is is_called
    chunks = list(client.chat.completions.create(**asked, stream=True))
    streamed = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or ()]
    assert bool(streamed) is is_called
    if is_called:
        assert answer.message.content is None
        (call,) = answer.message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": words})
        assert streamed[0].index == 0
        assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_what_a_tool_answered_is_heard(client: OpenAI) -> None:
    call: Any = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": "please look"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a bird"},
    ]
    answer = client.chat.completions.create(model="any", messages=messages, tools=[LOOK])
    assert answer.choices[0].message.content == "You said a bird."


def test_a_tool_that_cannot_be_offered_is_named(client: OpenAI) -> None:
    twice = [LOOK, LOOK]
    with pytest.raises(BadRequestError) as refusal:
        client.chat.completions.create(model="any", messages=HELLO, tools=twice)
    assert refusal.value.param == "tools.1.name"
