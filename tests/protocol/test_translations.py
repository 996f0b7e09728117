"""An interpreter's session on virtual time; every event is held to the openai package's types."""

import base64
import json
import typing
from dataclasses import replace
from typing import Any

import pytest
from openai.types.realtime import (
    realtime_translation_client_event,
    realtime_translation_server_event,
)
from pydantic import BaseModel

from omni.clock import ManualClock
from omni.config import OmniConfig, load
from omni.protocol.translations import CLIENT_EVENTS, TranslationView
from omni.types import Chunk, Prompt, Recognise
from tests.dialog.talk import ScriptedHear, Talk
from tests.protocol.desk import pcm
from tests.protocol.test_realtime_client_events import _voice_files


def by_type(union: Any) -> dict[str, type[BaseModel]]:
    models = typing.get_args(typing.get_args(union)[0])
    return {typing.get_args(m.model_fields["type"].annotation)[0]: m for m in models}


SERVER = by_type(realtime_translation_server_event.RealtimeTranslationServerEvent)
CLIENT = by_type(realtime_translation_client_event.RealtimeTranslationClientEvent)


class Booth:
    """A client, a view and a session."""

    def __init__(self, config: OmniConfig) -> None:
        self.view = TranslationView(config, ManualClock())
        self.talk = Talk(config, lambda options: self.view.options)
        self.said: list[dict[str, Any]] = []
        self._num_seen = 0
        self._hear(self.view.opened("sess_1"))

    def send(self, event: Any) -> list[dict[str, Any]]:
        before = len(self.said)
        answers: list[BaseModel] = []
        self.talk.do(lambda s: answers.extend(self.view.receive(json.dumps(event), s)))
        self._hear(answers)
        return self.said[before:]

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.talk.quiet(0.02)
            self.update()

    def say(self, seconds: float, words: str) -> None:
        self.talk.speak(seconds, words)
        self.update()

    def update(self) -> None:
        for event in self.talk.events[self._num_seen :]:
            self._hear(self.view.render(event))
        self._num_seen = len(self.talk.events)
        if wanted := self.view.wish():
            self.talk.do(lambda session: session.respond(wanted))
            self.update()

    def text(self, side: str) -> str:
        name = f"session.{side}_transcript.delta"
        return "".join(e["delta"] for e in self.said if e["type"] == name)

    def _hear(self, events: list[BaseModel]) -> None:
        for event in events:
            wire = json.loads(event.model_dump_json())
            assert not SERVER[wire["type"]].model_validate(wire).model_extra
            self.said.append(wire)


@pytest.fixture
def config() -> OmniConfig:
    return load("stub", ["brain.stub.reply=<{text}>"])


def into(language: str) -> dict[str, Any]:
    return {"type": "session.update", "session": {"audio": {"output": {"language": language}}}}


def test_every_client_event_of_the_protocol_is_known() -> None:
    assert set(CLIENT_EVENTS.json_schema()["discriminator"]["mapping"]) == set(CLIENT)


def test_what_is_said_comes_back_in_the_other_language(config: OmniConfig) -> None:
    booth = Booth(config)
    (updated,) = booth.send(into("es-MX"))
    assert updated["session"]["audio"]["output"]["language"] == "es"
    booth.say(1.0, "Good morning.")
    booth.wait(6)
    assert booth.text("input") == "Good morning."
    assert booth.text("output").strip() == "<Translate into Spanish: Good morning.>"
    audio = [e for e in booth.said if e["type"] == "session.output_audio.delta"]
    assert {(e["format"], e["sample_rate"], e["channels"]) for e in audio} == {("pcm16", 24000, 1)}
    length_s = sum(len(base64.b64decode(e["delta"])) for e in audio) / 48000
    assert length_s > 1
    prompt = [c for c in booth.talk.sent if isinstance(c, Prompt) and c.max_tokens][-1]
    assert "Spanish" in prompt.messages[0].text


class Interpreter(ScriptedHear):
    """An ear that knows the words in English, too."""

    def answer(self, chunk: Chunk) -> list[Chunk]:
        heard = super().answer(chunk)
        if not isinstance(chunk, Recognise) or chunk.translate_to != "en":
            return heard
        assert chunk.is_final
        return [replace(one, translation=f"English: {self.words}") for one in heard]  # type: ignore[type-var]


def test_what_the_ear_translates_is_spoken_as_it_is(config: OmniConfig) -> None:
    booth = Booth(config)
    booth.talk.stages["hear"] = booth.talk.ear = Interpreter(0)
    for words in ("Buenos días.", "Adiós."):
        booth.say(0.8, words)
        booth.wait(0.8)
    booth.wait(8)
    assert booth.text("input") == "Buenos días. Adiós."
    assert booth.text("output") == "English: Buenos días. English: Adiós."
    assert not [c for c in booth.talk.sent if isinstance(c, Prompt) and c.max_tokens]
    booth.send(into("es"))
    booth.say(0.8, "Good morning.")
    booth.wait(6)
    assert booth.text("output").endswith("<Translate into Spanish: Good morning.>")


def test_nothing_is_lost_while_the_speaker_goes_on_and_nothing_is_remembered(
    config: OmniConfig,
) -> None:
    booth = Booth(config)
    booth.send(into("fr"))
    for words in ("One.", "Two.", "Three."):
        booth.say(0.8, words)
        booth.wait(0.8)
    booth.wait(15)
    expected = "".join(f"<Translate into French: {words}>" for words in ("One.", "Two.", "Three."))
    assert booth.text("output").replace("> <", "><").strip() == expected
    prompts = [c for c in booth.talk.sent if isinstance(c, Prompt) and c.max_tokens]
    shown = [[message.text for message in prompt.messages[:-1]] for prompt in prompts]
    assert len(shown) == 3
    assert shown[0] == shown[1] == shown[2]  # nothing of the others


@pytest.mark.parametrize(
    ("wanted", "given", "voice"),
    [("es", "es", "ef_dora"), ("tlh", "en", "af_heart"), ("it", "en", "af_heart")],
)
def test_only_languages_with_a_voice_are_spoken(wanted: str, given: str, voice: str) -> None:
    voices = _voice_files("af_heart", "ef_dora")
    booth = Booth(load("stub", ["files=" + json.dumps(voices)]))
    (updated,) = booth.send(into(wanted))
    assert updated["session"]["audio"]["output"]["language"] == given
    assert booth.view.options.voice == voice


def test_mistakes_are_told_and_the_session_goes_on(config: OmniConfig) -> None:
    booth = Booth(config)
    (error,) = booth.send({"type": "session.input_audio_buffer.append", "event_id": "mine"})
    assert (error["error"]["param"], error["error"]["event_id"]) == ("audio", "mine")
    (error,) = booth.send({"type": "response.create"})
    assert error["error"]["param"] == "type"
    assert not booth.send({"type": "session.input_audio_buffer.append", "audio": pcm(0.1)})
    (closed,) = booth.send({"type": "session.close"})
    assert closed["type"] == "session.closed"
    assert booth.view.is_over
