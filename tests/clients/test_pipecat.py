"""pipecat's OpenAIRealtimeLLMService in a real pipeline, exactly as published: the example's."""

from pathlib import Path

import pytest

from tests.clients import environments, strict
from tests.clients.conftest import LONG, LONG_REPLY, Visit, visit
from tests.serve.conftest import Live

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(__file__).parent / "python" / "pipecat_talk.py"
ANSWER = LONG_REPLY.format(text="9 tenths")


@pytest.fixture(scope="module")
def client(live: Live, question: Path, photo: Path) -> Visit:
    example = ROOT / "examples" / "pipecat_bot.py"
    url = {"OMNI_URL": "ws://{host}/v1/realtime"}
    return visit(live, environments.python(), PROGRAM, example, question, photo, env=url)


def test_it_connects_and_greets(client: Visit) -> None:
    assert client.step("connected")["audioBytes"] > 24000


def test_it_is_answered_by_voice(client: Visit) -> None:
    connected, answered = client.step("connected"), client.step("answered")
    assert answered["audioBytes"] > connected["audioBytes"] + 48000
    you = client.shown.index("You:  9 tenths")
    assert client.shown[you + 1] == f"Omni: {ANSWER}"


def test_it_interrupts(client: Visit) -> None:
    client.step("interrupted")
    assert client.tap.of("conversation.item.truncated")
    (cut,) = (e for e in client.tap.of("response.done") if e["response"]["status"] == "cancelled")
    (part,) = cut["response"]["output"][0]["content"]
    whole = LONG_REPLY.format(text=LONG)
    assert whole.startswith(part["transcript"])
    assert part["transcript"] != whole


def test_it_calls_a_tool(client: Visit) -> None:
    # The stub calls a tool whose name it is told, with these words.
    client.step("called")
    result = '{"city": "Please get_weather", "weather": "sunny"}'
    assert f"Omni: {LONG_REPLY.format(text=result)}" in client.shown


def test_it_shows_a_picture(client: Visit) -> None:
    client.step("shown")
    assert client.shown[-1].startswith("Omni: ")
    added = client.tap.of("conversation.item.added")
    kinds = [part["type"] for event in added for part in event["item"].get("content", [])]
    assert kinds.count("input_image") == 1


def test_it_closes_without_a_complaint(client: Visit) -> None:
    # Any error event would have ended its pipeline.
    assert client.step("closed")["errors"] == []
    assert client.tap.of("error") == []
    assert client.tap.closes == [1000]


def test_every_event_has_the_shape_it_expects(client: Visit) -> None:
    assert strict.faults(client.tap.told) == []
