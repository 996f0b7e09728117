"""@openai/agents-realtime in Node, over a websocket, exactly as published."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments, strict
from tests.clients.conftest import LONG, LONG_REPLY, Visit, visit
from tests.serve.conftest import Live

PROGRAM = Path(__file__).parent / "node" / "talk.mjs"


@pytest.fixture(scope="module")
def modules() -> Path:
    return environments.node_modules()


@pytest.fixture(scope="module")
def client(live: Live, modules: Path, question: Path, photo: Path) -> Visit:
    url = "ws://{host}/v1/realtime?model=omni"
    return visit(live, "node", PROGRAM, modules, url, question, photo)


def test_it_connects(client: Visit) -> None:
    client.step("connected")
    assert client.tap.told_types()[0] == "session.created"


def test_it_is_answered_by_voice(client: Visit) -> None:
    answer = client.step("answered")
    assert answer["omni"] == LONG_REPLY.format(text=answer["you"])
    assert answer["audioBytes"] > 48000
    assert answer["usage"]["totalTokens"] > 0


def test_it_interrupts(client: Visit) -> None:
    whole, kept = LONG_REPLY.format(text=LONG), client.step("interrupted")["omni"]
    assert kept != whole
    assert whole.startswith(kept)
    assert len(client.tap.of("conversation.item.truncated")) == 1
    assert client.step("answered again")["omni"] == client.step("answered")["omni"]


def test_it_calls_a_tool(client: Visit) -> None:
    # The stub calls a tool whose name it is told, with these words.
    called = client.step("called")
    assert called["calls"] == ["Please get_weather"]
    assert called["omni"] == LONG_REPLY.format(text="It is sunny in Please get_weather")


def test_it_shows_a_picture(client: Visit) -> None:
    assert client.step("shown")["omni"] != client.step("answered again")["omni"]
    assert len([e for e in client.tap.of("conversation.item.done") if is_photo(e)]) == 1


def is_photo(event: dict[str, Any]) -> bool:
    content = event["item"].get("content") or [{}]
    return content[0].get("type") == "input_image"


def test_it_closes_without_a_complaint(client: Visit) -> None:
    end = client.step("closed")
    assert end == {"step": "closed", "errors": [], "status": "disconnected"}
    assert client.tap.closes == [1005]


def test_every_event_has_the_shape_it_expects(client: Visit, modules: Path) -> None:
    assert strict.faults(client.tap.told) == []
    assert strict.zod_faults(client.tap.told, modules) == []
