"""What a Realtime client is told, in which order, on both transports."""

import base64

import pytest

from omni.config import OmniConfig, load
from omni.events import ResponseDone
from omni.protocol import realtime_events, realtime_responses
from omni.protocol.realtime_events import ServerEvent
from omni.protocol.realtime_state import Transport
from tests.protocol.desk import SERVER_MODELS, Desk, kinds

TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
ENDS = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
]
DELTAS = {
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "conversation.item.input_audio_transcription.delta",
}


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


@pytest.fixture
def long_reply() -> OmniConfig:
    words = " ".join(f"word {n} and then" for n in range(40))
    return load("stub", [f"brain.stub.reply={words}."])


def without_deltas(names: list[str]) -> list[str]:
    return [name for name in names if name not in DELTAS]


def test_a_turn_over_websocket(config: OmniConfig) -> None:
    desk = Desk(config)
    said = desk.ask()
    assert without_deltas(kinds(said)) == TURN + ENDS
    assert {event["type"] for event in said} >= DELTAS - {
        "conversation.item.input_audio_transcription.delta"
    }


def test_a_turn_over_webrtc_has_buffer_events_in_the_place_of_sound(config: OmniConfig) -> None:
    said = Desk(config, "webrtc").ask()
    names = without_deltas(kinds(said))
    assert names == [*TURN, "output_audio_buffer.started", *ENDS, "output_audio_buffer.stopped"]
    assert "response.output_audio.delta" not in kinds(said)


def test_every_event_names_its_place(config: OmniConfig) -> None:
    desk = Desk(config)
    said = desk.ask()
    created = desk.last("response.created")["response"]
    item = desk.last("response.output_item.added")["item"]
    for event in said:
        if "response_id" in event:
            assert event["response_id"] == created["id"]
        if event["type"].startswith("response.") and "item_id" in event:
            assert (event["item_id"], event["output_index"], event["content_index"]) == (
                item["id"], 0, 0,
            )  # fmt: skip
    assert len({event["event_id"] for event in desk.said}) == len(desk.said)


def test_items_know_what_came_before_them(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.ask()
    desk.ask()
    added = [e for e in desk.said if e["type"] == "conversation.item.added"]
    ids = [event["item"]["id"] for event in added]
    assert [event["previous_item_id"] for event in added] == [None, *ids[:-1]]
    assert [event["item"]["role"] for event in added] == ["user", "assistant"] * 2


def test_the_transcript_key_of_user_audio_is_always_there(config: OmniConfig) -> None:
    desk = Desk(config)
    said = desk.ask()
    user = next(e for e in said if e["type"] == "conversation.item.added")["item"]
    assert user["content"] == [{"type": "input_audio", "transcript": None}]
    part = desk.last("response.content_part.added")["part"]
    assert part == {"type": "audio", "transcript": ""}


def test_the_sound_of_the_deltas_is_the_reply(config: OmniConfig) -> None:
    desk = Desk(config)
    said = desk.ask()
    sound = b"".join(
        base64.b64decode(e["delta"]) for e in said if e["type"] == "response.output_audio.delta"
    )
    deltas = [e["delta"] for e in said if e["type"] == "response.output_audio_transcript.delta"]
    transcript = desk.last("response.output_audio_transcript.done")["transcript"]
    assert "".join(deltas).strip() == transcript
    released = desk.talk.of(ResponseDone)[0].usage.audio_ms
    assert len(sound) == released * 24 * 2


@pytest.mark.parametrize(
    ("wire", "bytes_per_ms"),
    [
        ({"type": "audio/pcmu"}, 8),
        ({"type": "audio/pcma"}, 8),
        ({"type": "audio/pcm", "rate": 24000}, 48),
        ({"type": "audio/pcm", "rate": 16000}, 32),
    ],
)
def test_every_output_format_loses_nothing(
    config: OmniConfig, wire: dict[str, object], bytes_per_ms: int
) -> None:
    desk = Desk(config)
    audio = {"output": {"format": wire}}
    desk.send({"type": "session.update", "session": {"type": "realtime", "audio": audio}})
    said = desk.ask()
    sound = b"".join(
        base64.b64decode(e["delta"]) for e in said if e["type"] == "response.output_audio.delta"
    )
    released_ms = desk.talk.of(ResponseDone)[0].usage.audio_ms
    assert len(sound) == pytest.approx(released_ms * bytes_per_ms, abs=bytes_per_ms)
    assert desk.last("response.created")["response"]["audio"]["output"]["format"] == wire


def interrupted(config: OmniConfig, transport: Transport) -> tuple[Desk, list[str]]:
    desk = Desk(config, transport)
    desk.ask(1.0, wait_s=1.0)
    assert desk.said[-1]["type"] in DELTAS | {"output_audio_buffer.started"}
    return desk, without_deltas(kinds(desk.ask(1.0, wait_s=0.02)))


def test_an_interruption_over_websocket(long_reply: OmniConfig) -> None:
    desk, names = interrupted(long_reply, "websocket")
    assert names == ["input_audio_buffer.speech_started", *ENDS]
    response = desk.last("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"


def test_over_websocket_only_the_client_cuts_the_item(long_reply: OmniConfig) -> None:
    desk, _ = interrupted(long_reply, "websocket")
    item_id = desk.last("response.output_item.done")["item"]["id"]
    truncate = {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": 400,
    }
    told = desk.send(truncate)
    assert [(e["type"], e["item_id"]) for e in told] == [("conversation.item.truncated", item_id)]


def test_an_interruption_over_webrtc(long_reply: OmniConfig) -> None:
    _, names = interrupted(long_reply, "webrtc")
    assert names == [
        "input_audio_buffer.speech_started",
        *ENDS,
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]


def test_cancelling_is_the_clients_doing(long_reply: OmniConfig) -> None:
    desk = Desk(long_reply)
    desk.ask(1.0, wait_s=1.0)
    names = kinds(desk.send({"type": "response.cancel"}))
    assert names == ENDS
    details = desk.last("response.done")["response"]["status_details"]
    assert details == {"type": "cancelled", "reason": "client_cancelled"}


def test_a_written_reply(config: OmniConfig) -> None:
    desk = Desk(config)
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    desk.send(
        {"type": "conversation.item.create", "item": item},
        {"type": "response.create", "response": {"output_modalities": ["text"]}},
    )
    desk.talk.quiet(1)
    desk.update()
    names = kinds(desk.said[1:])
    assert [n for n in names if n != "response.output_text.delta"] == [
        "conversation.item.added",
        "conversation.item.done",
        *TURN[6:],
        "response.output_text.done",
        *ENDS[2:],
    ]
    done = desk.last("response.content_part.done")["part"]
    assert done["type"] == "text"
    assert "Hello" in done["text"]


def test_metadata_comes_back(config: OmniConfig) -> None:
    desk = Desk(config)
    metadata = {"client_event_id": "abc"}
    text = {"output_modalities": ["text"], "metadata": metadata}
    desk.send({"type": "response.create", "response": text})
    desk.talk.quiet(1)
    desk.update()
    assert desk.last("response.created")["response"]["metadata"] == metadata
    assert desk.last("response.done")["response"]["metadata"] == metadata


def test_a_lost_reply_says_why(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.talk.held.add("think")
    desk.send({"type": "response.create"})
    desk.talk.quiet(40)
    desk.update()
    response = desk.last("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "stage_timeout"
    assert response["status_details"]["error"]["message"]


def test_extensions_are_only_for_those_who_asked(config: OmniConfig) -> None:
    assert not [e for e in Desk(config).ask() if e["type"].startswith("omni.")]
    desk = Desk(config, extensions=("omni",))
    desk.ask()
    timings = desk.last("omni.response.timings")
    assert timings["response_id"] == desk.last("response.done")["response"]["id"]
    assert timings["first_audio_ms"] >= timings["first_token_ms"]


def test_an_untranscribed_session_hears_no_words(config: OmniConfig) -> None:
    desk = Desk(config)
    audio = {"input": {"transcription": None}}
    desk.send({"type": "session.update", "session": {"type": "realtime", "audio": audio}})
    assert not [n for n in kinds(desk.ask()) if "transcription" in n]


def test_a_transcription_session_is_never_answered(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send({"type": "session.update", "session": {"type": "transcription"}})
    names = without_deltas(kinds(desk.ask()))
    assert names == TURN[:6]
    (error,) = desk.send({"type": "response.create"})
    assert error["type"] == "error"


def test_every_server_event_has_a_name_of_the_protocol() -> None:
    ours = {
        model.model_fields["type"].default
        for model in (vars(realtime_events) | vars(realtime_responses)).values()
        if isinstance(model, type)
        and issubclass(model, ServerEvent)
        and "type" in model.model_fields
    }
    assert len(ours) > 25
    assert ours <= set(SERVER_MODELS)
