"""LiveKit's RealtimeModel in a real AgentSession, exactly as published: the example's agent."""

from pathlib import Path

import pytest

from omni.stages.stub import CHAR_MS
from tests.clients import environments, strict
from tests.clients.conftest import LONG, LONG_REPLY, Visit, visit
from tests.serve.conftest import Live

ROOT = Path(__file__).parent.parent.parent

PROGRAM = Path(__file__).parent / "python" / "livekit_talk.py"


@pytest.fixture(scope="module")
def client(live: Live, question: Path, photo: Path) -> Visit:
    example = ROOT / "examples" / "livekit_agent.py"
    url = {"OMNI_URL": "http://{host}/v1"}
    return visit(live, environments.python(), PROGRAM, example, question, photo, env=url)


def test_it_connects_and_greets(client: Visit) -> None:
    assert client.step("connected")["heard_s"] > 1


def test_it_is_answered_by_voice(client: Visit) -> None:
    answer = client.step("answered")
    assert answer["omni"] == LONG_REPLY.format(text=answer["you"])
    assert answer["heard_s"] > 2


def test_it_interrupts(client: Visit) -> None:
    whole, cut = LONG_REPLY.format(text=LONG), client.step("interrupted")
    assert cut["heard_s"] < len(whole) * CHAR_MS / 1000
    assert cut["omni"] != whole
    assert whole.startswith(cut["omni"])
    (told,) = client.tap.of("conversation.item.truncated")
    assert abs(told["audio_end_ms"] - 1000 * cut["heard_s"]) < 100


def test_it_calls_a_tool(client: Visit) -> None:
    # The stub calls a tool whose name it is told, with these words.
    answer = "It is sunny in Please get_weather."
    assert client.step("called")["omni"] == LONG_REPLY.format(text=answer)


def test_it_shows_a_picture(client: Visit) -> None:
    assert client.step("shown")["omni"] not in (None, "", client.step("answered")["omni"])
    added = client.tap.of("conversation.item.added")
    kinds = [part["type"] for event in added for part in event["item"].get("content", [])]
    assert kinds.count("input_image") == 1


def test_it_closes_without_a_complaint(client: Visit) -> None:
    assert client.step("closed")["complaints"] == []
    # It cancels what the server has cancelled already, and knows that answer by its first words.
    errors = [event["error"] for event in client.tap.of("error")]
    assert all(error["message"].startswith("Cancellation failed") for error in errors)
    assert client.tap.closes == [1000]


def test_every_event_has_the_shape_it_expects(client: Visit) -> None:
    assert strict.faults(client.tap.told) == []
