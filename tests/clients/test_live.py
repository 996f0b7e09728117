"""Three stock clients of OpenAI Live, exactly as published; every event of its own type."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from openai import AsyncOpenAI
from openai.types.live import ServerEvent

from tests.clients import environments
from tests.clients.conftest import Visit, visit
from tests.clients.tap import Tap
from tests.serve.conftest import Live, living

PROGRAMS = Path(__file__).parent / "python"
REPLY = "You said {text}, " + "and there is more to say, " * 4 + "and that is all."
ANSWER = REPLY.format(text="9 tenths")
MODELS: dict[str, Any] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(ServerEvent)[0])
}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """What is spoken to is interrupted by speech alone: every reply takes eight seconds."""
    with living([f"brain.stub.reply={REPLY!r}"], None) as server:
        yield server


def assert_strict(tap: Tap) -> None:
    assert tap.told
    for event in tap.told:
        assert not MODELS[event["type"]].model_validate(event).model_extra, event
        assert event["type"] != "error", event


async def test_openai_talks_and_closes(live: Live) -> None:
    async with (
        Tap(live.url) as tap,
        AsyncOpenAI(api_key="none", base_url=f"http://{tap.host}/v1") as client,
        client.live.connect() as connection,
    ):
        await connection.session.start(session={"model": "gpt-live-1"}, event_id="begin")
        assert (await connection.recv()).type == "session.started"
        await connection.session.commentary.append(content="The train is late.", delegation_id=None)
        while (await connection.recv()).type != "session.output_audio.delta":
            pass
        await connection.session.close()
        while (event := await connection.recv()).type != "session.closed":
            pass
        assert event.reason == "close_requested"
    assert_strict(tap)


def test_livekit_talks_and_interrupts(live: Live, question: Path) -> None:
    url = "http://{host}/v1"
    client: Visit = visit(live, environments.python(), PROGRAMS / "livekit_live.py", url, question)
    talked = client.step("talked")
    said = [text for role, text in talked["said"] if role == "assistant"]
    assert [text for role, text in talked["said"] if role == "user"] == ["9 tenths"] * 3
    assert (said[0], said[2]) == (ANSWER, ANSWER)
    assert ANSWER.startswith(said[1])
    assert talked["heard_s"][1] < talked["heard_s"][0]
    assert client.step("closed")["complaints"] == []
    assert_strict(client.tap)


def test_pipecat_talks_and_interrupts(live: Live, question: Path) -> None:
    url = "ws://{host}/v1/live/sessions"
    client: Visit = visit(live, environments.python(), PROGRAMS / "pipecat_live.py", url, question)
    talked = client.step("talked")
    assert [text.strip() for text in talked["you"]] == ["9 tenths"] * 2
    _, cut, whole = (text.strip() for text in talked["omni"])
    assert whole == ANSWER
    assert cut != ANSWER
    assert ANSWER.startswith(cut)
    assert client.step("closed")["errors"] == []
    assert_strict(client.tap)
