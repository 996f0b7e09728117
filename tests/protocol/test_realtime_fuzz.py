"""Any conversation at all: spoken, written, cut, cancelled, and full of mistakes."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omni.config import load
from tests.pictures import noise
from tests.protocol.desk import Desk, pcm
from tests.protocol.laws import Laws
from tests.protocol.test_realtime_client_events import BAD

CONFIG = load("stub", ["turn.overlap.warm_up_ms=0"])
PICTURE = "data:image/png;base64," + base64.b64encode(noise(4, 4)).decode()
WORDS = {"type": "input_text", "text": "Hello there."}
CONTENTS: list[list[dict[str, Any]]] = [
    [WORDS],
    [{"type": "input_audio", "audio": pcm(0.3)}],
    [{"type": "input_audio", "transcript": "Hi."}, WORDS],
    [WORDS, {"type": "input_image", "image_url": PICTURE}],
]


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def listening(detection: Any) -> dict[str, Any]:
    return session(audio={"input": {"turn_detection": detection}})


UPDATES = [
    listening(None),
    listening({"type": "server_vad", "idle_timeout_ms": 5000}),
    listening({"type": "server_vad", "create_response": False}),
    listening({"type": "server_vad", "interrupt_response": False}),
    listening({"type": "semantic_vad", "eagerness": "low"}),
    session(output_modalities=["text"]),
    session(output_modalities=["audio"], max_output_tokens=2),
    session(truncation={"type": "retention_ratio", "retention_ratio": 0.3}),
    {"type": "session.update", "session": {"type": "transcription"}},
    session(),
]
WISHES: list[dict[str, Any]] = [
    {},
    {"output_modalities": ["text"]},
    {"instructions": "Be brief.", "metadata": {"a": "b"}},
    {"conversation": "none", "output_modalities": ["text"], "input": []},
    {"conversation": "none", "output_modalities": ["audio"]},
]
FIXED = [
    *UPDATES,
    *({"type": "response.create", "response": wish} for wish in WISHES),
    {"type": "response.cancel"},
    {"type": "input_audio_buffer.append", "audio": pcm(0.3)},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
]
COMMANDS = ("retrieve", "delete", "truncate")

STEPS = st.one_of(
    st.tuples(st.just("say"), st.sampled_from([0.2, 0.6, 1.2])),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.3, 1.0, 4.0])),
    st.tuples(st.just("send"), st.sampled_from(FIXED)),
    st.tuples(st.just("add"), st.sampled_from(CONTENTS), st.none() | st.integers(0, 9)),
    st.tuples(st.just("item"), st.sampled_from(COMMANDS), st.integers(0, 9), st.integers(-9, 3000)),
    st.tuples(st.just("bad"), st.sampled_from(BAD)),
)


class Fuzz:
    def __init__(self) -> None:
        self.desk = Desk(CONFIG)
        self.laws = Laws()
        self._num_read = 0

    def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("say", seconds):
                self.desk.talk.speak(seconds)
                self.desk.update()
            case ("wait", seconds):
                self.desk.talk.quiet(seconds)
                self.desk.update()
            case ("send", event):
                self._send(event)
            case ("add", content, place):
                item = {"type": "message", "role": "user", "content": content}
                before = None if place is None else self._some_item(place)
                event = {"type": "conversation.item.create", "item": item}
                self._send({**event, "previous_item_id": before})
            case ("item", command, place, end_ms):
                event = {"type": f"conversation.item.{command}", "item_id": self._some_item(place)}
                cut = {"content_index": 0, "audio_end_ms": end_ms}
                self._send(event | (cut if command == "truncate" else {}))
            case ("bad", (message, _, param)):
                self._send_bad(message, param)
        self.check()

    def check(self) -> None:
        for event in self.desk.said[self._num_read :]:
            self.laws.read(event)
        self._num_read = len(self.desk.said)

    def _send(self, event: dict[str, Any]) -> None:
        said = self.desk.send({**event, "event_id": "mine"})
        errors = [e["error"] for e in said if e["type"] == "error"]
        assert len(errors) <= 1
        assert all(error["event_id"] == "mine" and error["message"] for error in errors)

    def _send_bad(self, message: Any, param: str | None) -> None:
        said = self.desk.send(message if isinstance(message, str) else json.dumps(message))
        errors = [e["error"] for e in said if e["type"] == "error"]
        assert len(errors) <= 1  # by now there may be something to cancel or commit
        # A transcription session refuses every response, whatever else is wrong with it.
        assert {error.get("param") for error in errors} <= {param, "type"}

    def _some_item(self, place: int) -> str:
        added = [e["item"]["id"] for e in self.desk.said if e["type"] == "conversation.item.added"]
        return added[place % len(added)] if added else "root"


@given(steps=st.lists(STEPS, max_size=14))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_said_and_sent_the_laws_hold_and_the_session_goes_on(
    steps: list[tuple[Any, ...]],
) -> None:
    fuzz = Fuzz()
    for step in steps:
        fuzz.do(step)
    fuzz.do(("send", session(output_modalities=["text"])))
    fuzz.do(("send", listening(None)))
    fuzz.do(("wait", 12.0))
    fuzz.laws.at_rest()
    fuzz.do(("send", session(instructions="Still here.")))
    assert fuzz.desk.said[-1]["type"] == "session.updated"


@pytest.mark.parametrize(
    "kind",
    [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.added",
        "input_audio_buffer.speech_started",
    ],
)
def test_the_laws_notice_what_is_missing(kind: str) -> None:
    desk = Desk(CONFIG)
    desk.ask()
    laws = Laws()
    left_out = next(i for i, event in enumerate(desk.said) if event["type"] == kind)
    with pytest.raises((AssertionError, KeyError, ValueError)):  # noqa: PT012 - any of them
        for event in [*desk.said[:left_out], *desk.said[left_out + 1 :]]:
            laws.read(event)
        laws.at_rest()
