"""What one response is wished to be like, against what the session's settings say."""

import base64
from typing import Any

import pytest

from omni.config import OmniConfig, load
from omni.protocol.realtime_state import Transport
from omni.types import Prompt
from tests.protocol.desk import Desk

BYTES_PER_S = {"audio/pcm": 48_000, "audio/pcmu": 8000, "audio/pcma": 8000}


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def made(desk: Desk, **wish: Any) -> list[dict[str, Any]]:
    """What a response is told as, whole."""
    before = len(desk.said)
    part = {"type": "input_text", "text": "Hello there"}
    item = {"type": "message", "role": "user", "content": [part]}
    desk.send({"type": "conversation.item.create", "item": item})
    desk.send({"type": "response.create", "response": wish})
    desk.talk.quiet(8)
    desk.update()
    return desk.said[before:]


def sound(said: list[dict[str, Any]]) -> bytes:
    deltas = [e["delta"] for e in said if e["type"] == "response.output_audio.delta"]
    return b"".join(map(base64.b64decode, deltas))


def told(said: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(e["response"] for e in said if e["type"] == kind)


@pytest.mark.parametrize("kind", BYTES_PER_S)
def test_it_may_have_a_format_of_its_own(config: OmniConfig, kind: str) -> None:
    desk = Desk(config)
    session = made(desk)
    own = made(desk, audio={"output": {"format": {"type": kind}}})
    length_s = len(sound(session)) / BYTES_PER_S["audio/pcm"]
    assert len(sound(own)) / BYTES_PER_S[kind] == pytest.approx(length_s, abs=0.01)
    for event in ("response.created", "response.done"):
        assert told(own, event)["audio"]["output"]["format"]["type"] == kind
    after = made(desk)
    assert told(after, "response.created")["audio"]["output"]["format"]["type"] == "audio/pcm"
    assert len(sound(after)) == len(sound(session))


def test_beside_the_conversation_too(config: OmniConfig) -> None:
    desk = Desk(config)
    own = made(desk, conversation="none", audio={"output": {"format": {"type": "audio/pcma"}}})
    assert told(own, "response.done")["audio"]["output"]["format"] == {"type": "audio/pcma"}
    assert len(sound(own)) * 6 == len(sound(made(desk)))


@pytest.mark.parametrize("transport", ["webrtc"])
def test_over_webrtc_sound_is_opus_whatever_is_wished(
    config: OmniConfig, transport: Transport
) -> None:
    desk = Desk(config, transport)
    own = made(desk, audio={"output": {"format": {"type": "audio/pcma"}}})
    assert told(own, "response.done")["audio"]["output"]["format"]["type"] == "audio/pcm"
    assert sound(own) == b""


def test_it_may_have_a_voice_and_a_pace_of_its_own(config: OmniConfig) -> None:
    desk = Desk(config, extensions=("omni",))
    said = made(desk, audio={"output": {"voice": "other", "speed": 9}})
    assert told(said, "response.done")["audio"]["output"]["voice"] == "other"
    made(desk)
    prompts = [c for c in desk.talk.sent if isinstance(c, Prompt) and c.max_tokens]
    first, second = (prompt.speech for prompt in prompts)
    assert first is not None
    assert second is not None
    assert (first.voice, first.speed) == ("other", 1.5)
    assert (second.voice, second.speed) == (config.brain.speak.voice, config.brain.speak.speed)


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_what_is_told_piece_by_piece_is_what_is_told_at_the_end(modality: str) -> None:
    desk = Desk(load("stub", ["brain.stub.reply='  Well,  yes. '"]))
    name = "text" if modality == "text" else "audio_transcript"
    for place in ("auto", "none"):
        said = made(desk, output_modalities=[modality], conversation=place)
        deltas = [e["delta"] for e in said if e["type"] == f"response.output_{name}.delta"]
        (done,) = [e for e in said if e["type"] == f"response.output_{name}.done"]
        assert "".join(deltas) == done.get("text", done.get("transcript")) == "Well,  yes."


def test_what_is_left_of_the_limits_is_told_and_held_to() -> None:
    desk = Desk(load("stub", ["server.max_responses_per_min=2"]))
    usage = told(made(desk), "response.done")["usage"]
    requests, tokens = desk.last("rate_limits.updated")["rate_limits"]
    assert (requests["name"], requests["limit"], requests["remaining"]) == ("requests", 2, 1)
    assert tokens["limit"] - tokens["remaining"] == usage["total_tokens"] > 0
    assert 0 < requests["reset_seconds"] <= 60
    made(desk, conversation="none", output_modalities=["text"])
    for place in ("none", "auto"):
        done = told(made(desk, conversation=place), "response.done")
        error = done["status_details"]["error"]
        assert (done["status"], error["code"]) == ("failed", "rate_limit_exceeded")
    assert desk.last("rate_limits.updated")["rate_limits"][0]["remaining"] == 0
    desk.talk.quiet(60)
    assert told(made(desk), "response.done")["status"] == "completed"
    assert not [event for event in desk.said if event["type"] == "error"]
