"""What the settings of a session do, beyond being echoed."""

import itertools
import json
from typing import Any

import pytest

from omni.config import OmniConfig, load
from omni.types import Prompt
from tests.protocol.desk import Desk, kinds, pcm


@pytest.fixture
def config() -> OmniConfig:
    return load("stub")


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def detection(**fields: Any) -> dict[str, Any]:
    return update(audio={"input": {"turn_detection": {"type": "server_vad", **fields}}})


def write(desk: Desk, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    desk.send({"type": "conversation.item.create", "item": item})


def last_prompt(desk: Desk) -> Prompt:
    return [c for c in desk.talk.sent if isinstance(c, Prompt) and c.max_tokens][-1]


def test_silence_after_a_reply_is_answered(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send(detection(idle_timeout_ms=5000))
    desk.talk.quiet(8)
    desk.update()
    assert desk.said[-1]["type"] == "session.updated"  # nobody has spoken yet
    desk.ask(1.0, wait_s=4)
    num_said = len(desk.said)
    desk.talk.quiet(6)
    desk.update()
    said = desk.said[num_said:]
    assert kinds(said)[:5] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    span = said[0]["audio_end_ms"] - said[0]["audio_start_ms"]
    assert 5000 <= span <= 5040
    assert {e["item_id"] for e in said[:2]} == {said[2]["item"]["id"]}
    assert "silent" in last_prompt(desk).messages[-1].text


def test_silence_is_not_answered_unless_asked_for(config: OmniConfig) -> None:
    desk = Desk(config)
    assert kinds(desk.ask(1.0, wait_s=60)).count("response.done") == 1


@pytest.mark.parametrize(("asked_ms", "given_ms"), [(1, 5000), (9000, 9000), (10**7, 30_000)])
def test_idle_timeouts_are_clamped(config: OmniConfig, asked_ms: int, given_ms: int) -> None:
    (updated,) = Desk(config).send(detection(idle_timeout_ms=asked_ms))
    told = updated["session"]["audio"]["input"]["turn_detection"]["idle_timeout_ms"]
    assert told == given_ms


def test_a_turn_over_a_reply_that_may_not_be_interrupted_is_answered_after_it() -> None:
    words = " ".join(f"word{n}" for n in range(12))
    desk = Desk(load("stub", [f"brain.stub.reply={words}"]))
    desk.send(detection(interrupt_response=False))
    desk.ask(1.0, wait_s=1)
    desk.ask(1.0, wait_s=12)
    done = [e["response"]["status"] for e in desk.said if e["type"] == "response.done"]
    assert done == ["completed", "completed"]


def test_without_create_response_only_the_client_has_replies_made(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send(detection(create_response=False))
    said = kinds(desk.ask())
    assert said[-1] == "conversation.item.done"
    desk.send({"type": "response.create"})
    desk.talk.quiet(3)
    desk.update()
    assert desk.last("response.done")["response"]["status"] == "completed"


def test_the_voice_stays_once_it_was_heard(config: OmniConfig) -> None:
    desk = Desk(config)
    assert desk.send(update(audio={"output": {"voice": "one"}}))[0]["type"] == "session.updated"
    desk.ask()
    (error,) = desk.send(update(instructions="New.", audio={"output": {"voice": "two"}}))
    assert error["error"]["code"] == "cannot_update_voice"
    assert error["error"]["param"] == "session.audio.output.voice"
    (updated,) = desk.send(update(audio={"output": {"voice": "one"}}))
    assert updated["session"]["instructions"] != "New."  # a refused update changes nothing
    wish = {"audio": {"output": {"voice": "two"}}}
    (error,) = desk.send({"type": "response.create", "response": wish})
    assert error["error"]["param"] == "response.audio.output.voice"


def test_our_own_clients_may_change_the_voice_at_any_time(config: OmniConfig) -> None:
    desk = Desk(config, extensions=("omni",))
    desk.ask()
    (updated,) = desk.send(update(audio={"output": {"voice": "two"}}))
    assert updated["session"]["audio"]["output"]["voice"] == "two"


def test_what_we_never_do_is_told_as_null(config: OmniConfig) -> None:
    desk = Desk(config)
    (updated,) = desk.send(
        update(
            tracing="auto",
            include=["item.input_audio_transcription.logprobs"],
            prompt={"id": "p"},
            audio={"input": {"noise_reduction": {"type": "far_field"}}},
        )
    )
    session = updated["session"]
    assert [session[name] for name in ("tracing", "include", "prompt")] == [None] * 3
    assert session["audio"]["input"]["noise_reduction"] is None


def test_an_unlimited_reply_has_the_profiles_limit(config: OmniConfig) -> None:
    (updated,) = Desk(config).send(update(max_output_tokens="inf"))
    assert updated["session"]["max_output_tokens"] == config.brain.think.max_reply_tokens


def test_a_reply_at_its_limit_is_incomplete(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send(update(max_output_tokens=2))
    desk.ask()
    response = desk.last("response.done")["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["max_output_tokens"] == 2
    assert response["usage"]["output_tokens"] == 2


# ---- a conversation too long for the core

TRUNCATIONS: list[tuple[Any, int]] = [
    ("auto", 1000),
    ({"type": "retention_ratio", "retention_ratio": 0.5}, 1000),
    (
        {
            "type": "retention_ratio",
            "retention_ratio": 0.5,
            "token_limits": {"post_instructions": 200},
        },
        200,
    ),
]


@pytest.mark.parametrize(("policy", "limit_tokens"), TRUNCATIONS)
def test_the_oldest_messages_are_left_out_and_stay_out(policy: Any, limit_tokens: int) -> None:
    config = load("stub", ["brain.think.context_tokens=1200", "brain.think.instructions=Hi"])
    desk = Desk(config)
    (updated,) = desk.send(update(truncation=policy, output_modalities=["text"]))
    assert updated["session"]["truncation"] == policy
    starts = []
    for n in range(40):
        write(desk, f"{n:04} " + "x" * 100)
        desk.send({"type": "response.create"})
        messages = last_prompt(desk).messages[1:]
        assert sum(len(m.text) for m in messages) <= limit_tokens * 3 + 200
        assert messages[-1].text.startswith(f"{n:04}")  # the newest is always there
        starts.append(messages[0].text)
        desk.talk.quiet(0.1)
    cuts = sum(before != after for before, after in itertools.pairwise(starts))
    assert 0 < cuts < 39  # not one a turn: the core's cache holds between them


def test_without_truncation_a_conversation_too_long_is_not_answered(config: OmniConfig) -> None:
    desk = Desk(load("stub", ["brain.think.context_tokens=400"]))
    desk.send(update(truncation="disabled", output_modalities=["text"]))
    write(desk, "x" * 2000)
    desk.send({"type": "response.create"})
    response = desk.last("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "context_length_exceeded"
    assert "error" not in kinds(desk.said)


# ---- transcription only


def test_a_session_may_become_a_transcription_and_a_conversation_again(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.send({"type": "session.update", "session": {"type": "transcription"}})
    assert "response.created" not in kinds(desk.ask())
    (updated,) = desk.send(update())
    assert updated["session"]["audio"]["input"]["turn_detection"]["create_response"] is True
    assert "response.created" in kinds(desk.ask())


def test_transcription_by_hand(config: OmniConfig) -> None:
    desk = Desk(config)
    audio = {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1", "language": "en", "prompt": "Omni"},
            "turn_detection": None,
        }
    }
    session = {
        "type": "transcription",
        "audio": audio,
        "include": ["item.input_audio_transcription.logprobs"],
    }
    (updated,) = desk.send({"type": "session.update", "session": session})
    assert updated["session"]["type"] == "transcription"
    assert updated["session"]["object"] == "realtime.transcription_session"
    assert updated["session"]["audio"]["input"]["transcription"]["language"] == "en"
    desk.send({"type": "input_audio_buffer.append", "audio": pcm(1.0)})
    desk.send({"type": "input_audio_buffer.commit"})
    name = "conversation.item.input_audio_transcription"
    assert desk.last(f"{name}.completed")["transcript"] == "10 tenths"
    assert desk.last(f"{name}.delta")["delta"] == "10 tenths"


# ---- the end


def test_a_session_ends_after_its_time_and_says_so_once(config: OmniConfig) -> None:
    desk = Desk(load("stub", ["server.max_session_s=10"]))
    expires_at = desk.said[0]["session"]["expires_at"]
    assert expires_at > 1_700_000_000
    desk.talk.quiet(12)
    desk.update()
    errors = [e["error"] for e in desk.said if e["type"] == "error"]
    assert [e["code"] for e in errors] == ["session_expired"]


def test_settings_beside_an_offer_may_make_it_a_transcription(config: OmniConfig) -> None:
    desk = Desk(config)
    desk.view.configure(json.dumps({"type": "transcription"}))
    assert desk.view.options.turn_detection is not None
    assert desk.view.options.turn_detection.creates_response is False
