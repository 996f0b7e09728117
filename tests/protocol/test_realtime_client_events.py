"""What a Realtime client may send: all of the protocol, and any amount of nonsense."""

import base64
import json
import typing
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.realtime import realtime_client_event

from omni.config import OmniConfig, load
from omni.protocol.realtime_commands import CLIENT_EVENTS
from tests.pictures import noise
from tests.protocol.desk import Desk, kinds, pcm

EVENTS: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.append", "audio": pcm(0.2)},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {
            "id": "item_mine",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hello"}],
        },
    },
    {"type": "conversation.item.retrieve", "item_id": "item_mine"},
    {
        "type": "conversation.item.truncate",
        "item_id": "item_theirs",
        "content_index": 0,
        "audio_end_ms": 100,
    },
    {"type": "conversation.item.delete", "item_id": "item_mine"},
    {"type": "response.create", "response": {"output_modalities": ["text"]}},
    {"type": "response.cancel"},
    {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
]

WHOLE_SESSION: dict[str, Any] = {
    "type": "realtime",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": {"type": "near_field", "strength": 0.5},
            "transcription": {"model": "whisper-1", "language": "en", "keywords": ["Omni"]},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.6,
                "prefix_padding_ms": 200,
                "silence_duration_ms": 300,
                "idle_timeout_ms": 6000,
                "create_response": True,
                "interrupt_response": False,
            },
        },
        "output": {
            "format": {"type": "audio/pcmu"},
            "voice": {"id": "af_sky"},
            "speed": 1.2,
        },
    },
    "include": ["item.input_audio_transcription.logprobs"],
    "max_output_tokens": 50,
    "parallel_tool_calls": True,
    "prompt": {"id": "p", "version": "1", "variables": {"a": "b"}},
    "reasoning": {"effort": "low"},
    "tool_choice": {"type": "function", "name": "f"},
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tracing": {"workflow_name": "w", "group_id": "g", "metadata": {}},
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
}


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def turn_detection(**fields: Any) -> dict[str, Any]:
    return update(audio={"input": {"turn_detection": fields}})


def test_every_client_event_of_the_protocol_is_known() -> None:
    union = typing.get_args(realtime_client_event.RealtimeClientEvent)
    theirs = {
        name
        for model in (typing.get_args(union[0]) or union)
        for name in typing.get_args(model.model_fields["type"].annotation)
    }
    ours = set(CLIENT_EVENTS.json_schema()["discriminator"]["mapping"])
    assert ours == theirs | {"input_image_buffer.append"}
    assert theirs == {event["type"] for event in EVENTS}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event["type"]))
def test_an_error_names_the_event_that_caused_it(config: OmniConfig, event: dict[str, Any]) -> None:
    """On a fresh session some of these cannot be done; then the error carries their id."""
    for answer in Desk(config).send({**event, "event_id": "mine"}):
        if answer["type"] == "error":
            assert answer["error"]["event_id"] == "mine"
            assert answer["error"]["type"] == "invalid_request_error"


def test_all_settings_are_taken_and_the_effective_ones_told(config: OmniConfig) -> None:
    desk = Desk(config)
    (updated,) = desk.send(update(**{k: v for k, v in WHOLE_SESSION.items() if k != "type"}))
    session = updated["session"]
    assert updated["type"] == "session.updated"
    assert session["id"] == "sess_1"
    assert session["model"] == "omni-stub"
    assert session["instructions"] == "Be brief."
    assert session["max_output_tokens"] == 50
    assert session["tools"] == WHOLE_SESSION["tools"]
    assert session["tool_choice"] == WHOLE_SESSION["tool_choice"]
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "noise_reduction": None,
        "transcription": {"model": "omni-stub", "language": "en"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.6,
            "prefix_padding_ms": 200,
            "silence_duration_ms": 300,
            "idle_timeout_ms": 6000,
            "create_response": True,
            "interrupt_response": False,
        },
    }
    output = {"format": {"type": "audio/pcmu"}, "voice": "af_sky", "speed": 1.2}
    assert session["audio"]["output"] == output
    options = desk.talk.session.options
    assert (options.voice, options.speed, options.language) == ("af_sky", 1.2, "en")
    assert options.turn_detection is not None
    assert options.turn_detection.max_silence_ms == 300


def test_what_an_update_leaves_out_stays(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send(update(instructions="One.", audio={"output": {"speed": 0.5}}))
    (updated,) = desk.send(turn_detection(type="semantic_vad", eagerness="low"))
    session = updated["session"]
    assert session["instructions"] == "One."
    assert session["audio"]["output"]["speed"] == 0.5
    detection = desk.talk.session.options.turn_detection
    assert detection is not None
    assert detection.max_silence_ms == 8000


def test_the_more_eager_the_sooner(config: OmniConfig) -> None:
    waits = []
    for eagerness in ("high", "medium", "low", "auto"):
        desk = Desk(config)
        desk.send(turn_detection(type="semantic_vad", eagerness=eagerness))
        detection = desk.talk.session.options.turn_detection
        assert detection is not None
        waits.append((detection.silence_duration_ms, detection.max_silence_ms))
    assert waits[:3] == sorted(waits[:3])
    assert len(set(waits[:3])) == 3
    assert waits[3] == (config.turn.silence_duration_ms, config.turn.max_silence_ms)


def test_values_out_of_range_are_clamped(config: OmniConfig) -> None:
    desk = Desk(config)
    (updated,) = desk.send(
        update(
            max_output_tokens=10**9,
            audio={
                "input": {"turn_detection": {"type": "server_vad", "threshold": 7}},
                "output": {"speed": 99, "voice": "alloy"},
            },
        )
    )
    session = updated["session"]
    assert session["max_output_tokens"] == config.brain.think.context_tokens // 2
    assert session["audio"]["output"]["speed"] == 1.5
    assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.95


@pytest.mark.parametrize(
    ("wanted", "given"), [("alloy", "af_alloy"), ("am_echo", "am_echo"), ("nobody", "af_heart")]
)
def test_voices_are_found_by_name_or_likeness(wanted: str, given: str) -> None:
    desk = Desk(load("stub", ["files=" + json.dumps(_voice_files("af_alloy", "am_echo"))]))
    (updated,) = desk.send(update(audio={"output": {"voice": wanted}}))
    assert updated["session"]["audio"]["output"]["voice"] == given


def test_push_to_talk(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send(update(audio={"input": {"turn_detection": None}}))
    assert desk.last("session.updated")["session"]["audio"]["input"]["turn_detection"] is None
    assert desk.send({"type": "input_audio_buffer.append", "audio": pcm(1.0)}) == []
    told = kinds(desk.send({"type": "input_audio_buffer.commit"}))
    assert told[:2] == ["input_audio_buffer.committed", "conversation.item.added"]
    assert "response.created" not in told
    names = kinds(desk.send({"type": "response.create"}))
    assert names[:2] == ["response.created", "response.output_item.added"]


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        ({"type": "audio/pcm", "rate": 24000}, np.full(24000, 3000, "<i2").tobytes()),
        ({"type": "audio/pcm", "rate": 16000}, np.full(16000, 3000, "<i2").tobytes()),
        ({"type": "audio/pcmu"}, b"\x9f" * 8000),
        ({"type": "audio/pcma"}, b"\x8a" * 8000),
    ],
)
def test_a_second_of_any_format_is_a_second(
    config: OmniConfig, wire: dict[str, Any], data: bytes
) -> None:
    desk = Desk(config)
    desk.send(update(audio={"input": {"format": wire, "turn_detection": None}}))
    audio = base64.b64encode(data).decode()
    desk.send({"type": "input_audio_buffer.append", "audio": audio})
    desk.send({"type": "input_audio_buffer.commit"})
    usage = desk.last("conversation.item.input_audio_transcription.completed")["usage"]
    assert usage == {"type": "duration", "seconds": pytest.approx(1.0, abs=0.001)}


def test_a_picture_in_a_message_keeps_its_bytes(config: OmniConfig) -> None:
    desk = Desk(config)
    uri = "data:image/png;base64," + base64.b64encode(noise(4, 4)).decode()
    content = [{"type": "input_image", "image_url": uri}]
    item = {"id": "i", "type": "message", "role": "user", "content": content}
    names = kinds(desk.send({"type": "conversation.item.create", "item": item}))
    assert names == ["conversation.item.added", "conversation.item.done"]
    (told,) = desk.send({"type": "conversation.item.retrieve", "item_id": "i"})
    assert told["item"]["content"] == [{**content[0], "detail": "auto"}]


def test_a_picture_too_heavy_for_a_data_channel_is_not_sent_back(config: OmniConfig) -> None:
    desk = Desk(config)
    uri = "data:image/png;base64," + base64.b64encode(noise(300, 300)).decode()
    content = [{"type": "input_image", "image_url": uri}, {"type": "input_text", "text": "A photo"}]
    item = {"id": "i", "type": "message", "role": "user", "content": content}
    (added, _) = desk.send({"type": "conversation.item.create", "item": item})
    assert added["item"]["content"] == [{"type": "input_image", "detail": "auto"}, content[1]]


BAD = [
    ("{", "invalid_json", None),
    ("[" * 100_000, "invalid_json", None),
    ('{"type": NaN}', "invalid_json", None),
    ("[]", "invalid_event", None),
    ('"hello"', "invalid_event", None),
    ({}, "missing_required_parameter", "type"),
    ({"type": "nonsense"}, "invalid_value", "type"),
    ({"type": 7}, "invalid_value", "type"),
    ('{"type": "\\ud800"}', "invalid_json", None),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": 7}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "%%%"}, "invalid_media", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_media", "audio"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
    (update(instructions=7), "invalid_value", "session.instructions"),
    (update(max_output_tokens="many"), "invalid_value", "session.max_output_tokens"),
    (
        update(audio={"input": {"format": {"type": "audio/pcm", "rate": 44100}}}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        turn_detection(type="telepathy"),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    ({"type": "conversation.item.create", "item": {"type": "message", "role": "user"}},
     "missing_required_parameter", "item.content"),
    ({"type": "conversation.item.create", "item": {"type": "thought"}},
     "invalid_value", "item.type"),
    ({"type": "conversation.item.create",
      "item": {"type": "message", "role": "user", "content": [{"type": "input_text"}]}},
     "missing_required_parameter", "item.content.0.text"),
    ({"type": "conversation.item.create", "item": {
        "type": "message", "role": "user",
        "content": [{"type": "input_image", "image_url": "http://127.0.0.1/x.png"}]}},
     "invalid_value", "item.content.0.image_url"),
    ({"type": "conversation.item.create", "item": {
        "type": "message", "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}},
     "invalid_media", "item.content.0.image_url"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id",
     "item_id"),
    ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id",
     "item_id"),
    ({"type": "conversation.item.truncate", "item_id": "x", "content_index": 0,
      "audio_end_ms": 1}, "item_truncate_invalid_item_id", "item_id"),
    ({"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "x"}]}},
     "item_retrieve_invalid_item_id", "response.input.0.id"),
    ({"type": "response.create", "response": {"input": [{"type": "item_reference"}]}},
     "missing_required_parameter", "response.input.0.id"),
    ({"type": "response.create", "response": {"input": [{"type": "message", "role": "user",
      "content": [{"type": "input_text"}]}]}},
     "missing_required_parameter", "response.input.0.content.0.text"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "code", "param"), BAD)
def test_a_fault_is_named_and_the_session_goes_on(
    config: OmniConfig, message: Any, code: str, param: str | None
) -> None:
    desk = Desk(config)
    (answer,) = desk.send(message)
    error = answer["error"]
    assert (error["code"], error.get("param")) == (code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert desk.send(update(instructions="Still here."))[0]["type"] == "session.updated"


def test_a_second_response_is_refused_while_one_is_made(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.talk.held.add("think")
    desk.send({"type": "response.create"})
    (answer,) = desk.send({"type": "response.create", "event_id": "second"})
    assert answer["error"]["code"] == "conversation_already_has_active_response"
    assert answer["error"]["event_id"] == "second"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_nonsense_ends_a_session(desk: Desk, data: st.DataObject) -> None:
    """Every event, with fields replaced, removed and added at random."""
    event = json.loads(json.dumps(data.draw(st.sampled_from([*EVENTS, update(**WHOLE_SESSION)]))))
    for _ in range(data.draw(st.integers(1, 3))):
        node = event
        while True:
            inner = [v for v in node.values() if isinstance(v, dict) and v]
            if not inner or data.draw(st.booleans()):
                break
            node = data.draw(st.sampled_from(inner))
        key = data.draw(st.sampled_from([*sorted(node), "new"]) | st.text(max_size=5))
        if data.draw(st.booleans()):
            node.pop(key, None)
        else:
            node[key] = data.draw(JSON)
    desk.send(json.dumps(event))
    answer = desk.send(update())[-1]
    assert answer["type"] == "session.updated"


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk(load("stub"))


def _voice_files(*names: str) -> dict[str, Any]:
    return {
        f"kokoro/voices/{name}.bin": {
            "sources": ["file:none"],
            "size_bytes": 1,
            "sha256": "0" * 64,
        }
        for name in names
    }


def test_a_camera_picture_reaches_the_eyes(config: OmniConfig) -> None:
    desk = Desk(config)
    image = base64.b64encode(noise(4, 4, "JPEG")).decode()
    desk.send({"type": "input_image_buffer.append", "image": image})
    assert any(type(chunk).__name__ == "PictureChunk" for chunk in desk.talk.sent)
