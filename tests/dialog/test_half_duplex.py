"""A session with a model that answers when asked, on a clock that jumps; the model is scripted."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from omni.clock import ManualClock
from omni.config import load
from omni.dialog.answering import ResponseRequest
from omni.dialog.half_duplex import HalfDuplexSession
from omni.dialog.options import default_options
from omni.dialog.turn_units import TurnUnits
from omni.errors import ProtocolError
from omni.events import (
    Event,
    Expired,
    Failed,
    InputCommitted,
    Item,
    Part,
    PictureSeen,
    PlayoutCleared,
    ResponseAudio,
    ResponseDone,
    ResponseStarted,
    ResponseText,
    SpeechStarted,
    SpeechStopped,
)
from omni.types import (
    Activity,
    AudioChunk,
    Chunk,
    Fence,
    JudgeTurn,
    Speech,
    StageReport,
    Token,
    TurnHint,
    frozen_array,
)
from omni.units import BeginContext, Respond, TakeBack, TurnPart, TurnRead, UnitPictures, UnitSound

WINDOW = 512
Kind = TypeVar("Kind")


class Model:
    """Answers every turn with four words, a second each; `sounds_finished` is smart-turn's say."""

    def __init__(self) -> None:
        self.is_mute = False
        self.sounds_finished = 1.0
        self.words = ["one", "two", "three", "four"]

    def answer(self, chunk: Chunk) -> list[Chunk]:
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        match chunk:
            case TurnPart():
                return [TurnRead(*stamp, 50)]
            case JudgeTurn():
                return [TurnHint(*stamp, chunk.turn_id, chunk.end_sample, self.sounds_finished)]
            case Respond() if not self.is_mute:
                return self._say(chunk, (*stamp, chunk.response_id))
        return []

    def _say(self, respond: Respond, stamp: tuple[str, int, int, str]) -> list[Chunk]:
        sound = frozen_array(np.full(24000, 0.1, np.float32))
        said: list[Chunk] = []
        for index, word in enumerate(self.words):
            is_last = index == len(self.words) - 1
            finish = "stop" if is_last else None
            text = f" {word}"
            said.append(Token(*stamp, index, text, None, finish, 40, 40, index + 1))  # type: ignore[arg-type]
            if respond.is_spoken:
                said.append(Speech(*stamp, index, sound, text, (), is_last))
        return said


class Talk:
    def __init__(self, *overrides: str, **wishes: Any) -> None:
        self.config = load("minicpm-o-half", ["brain.duplex.seed=5", *overrides])
        self.clock = ManualClock(1000.0)
        options = replace(default_options(self.config), **wishes)
        self.session = HalfDuplexSession("s", options, self.config, self.clock)
        self.model = Model()
        self.events: list[Event] = []
        self.chunks: list[Chunk] = []
        self.voice = 0.0
        self.num_heard = 0

    def run(self, seconds: float, voice: float = 0.0) -> None:
        """Time goes by; the VAD finds the probability `voice` in all that is heard."""
        self.voice = voice
        for _ in range(round(seconds * 50)):
            self.clock.advance(20)
            start = self.num_heard
            self.session.feed(np.full(320, voice + start * 1e-9, np.float32))
            self.drain()
            self.session.tick()
            self.drain()

    def do(self, command: Callable[[HalfDuplexSession], object]) -> None:
        command(self.session)
        self.drain()

    def drain(self) -> None:
        while chunks := self.session.chunks():
            for chunk in chunks:
                self.chunks.append(chunk)
                for answer in [*self.model.answer(chunk), *self._activity(chunk)]:
                    self.session.receive(answer)
        self.events += self.session.events()

    def of(self, kind: type[Kind]) -> list[Kind]:
        found: Iterable[Any] = [*self.events, *self.chunks]
        return [each for each in found if isinstance(each, kind)]

    def _activity(self, chunk: Chunk) -> list[Chunk]:
        if not isinstance(chunk, AudioChunk):
            return []
        heard: list[Chunk] = []
        while self.num_heard + WINDOW <= chunk.start_sample + len(chunk.samples):
            self.num_heard += WINDOW
            heard.append(Activity("s", 0, 0, self.num_heard, self.voice))
        return heard


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_turn_is_read_while_it_is_spoken_and_answered_at_its_end(talk: Talk) -> None:
    talk.run(1)
    assert not talk.of(TurnPart)
    talk.run(2.6, voice=1.0)
    assert len(talk.of(UnitSound)) == 2  # of 2.9 s, with what is kept from before the onset
    assert not talk.of(Respond)
    talk.run(1)
    [begun] = talk.of(BeginContext)
    assert begun.instructions == talk.config.brain.think.instructions
    assert [p.unit_index for p in talk.of(TurnPart)] == [0, 1, 2, 3][: len(talk.of(UnitSound))]
    assert [u.unit_index for u in talk.of(UnitSound)] == [p.unit_index for p in talk.of(TurnPart)]
    [respond] = talk.of(Respond)
    assert (respond.is_thinking, respond.is_spoken, respond.max_tokens) == (False, True, 256)
    kinds = [type(c) for c in talk.chunks if isinstance(c, UnitSound | Respond)]
    assert kinds[-1] is Respond
    [started], [stopped] = talk.of(SpeechStarted), talk.of(SpeechStopped)
    assert 900 <= started.audio_start_ms <= 1100
    assert 3500 <= stopped.audio_end_ms <= 3700
    [committed] = talk.of(InputCommitted)
    assert committed.item_id == started.item_id
    talk.run(5)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.item.text) == ("completed", "one two three four")
    assert done.usage.output_tokens == 4
    assert len(talk.of(ResponseAudio)) == 4 * 50
    assert talk.session.find_item(started.item_id).role == "user"


def test_all_that_was_said_is_read_once(talk: Talk) -> None:
    talk.run(1)
    talk.run(2.6, voice=1.0)
    talk.run(2)
    sound = np.concatenate([unit.samples for unit in talk.of(UnitSound)])
    [started], [stopped] = talk.of(SpeechStarted), talk.of(SpeechStopped)
    first = started.audio_start_ms * 16 - 300 * 16
    voiced = np.flatnonzero(sound > 0.5)
    assert abs(voiced[0] - (16000 - first)) <= 1
    assert len(voiced) == 2.6 * 16000
    assert len(sound) == -(-(stopped.audio_end_ms * 16 + 3200 - first) // 16000) * 16000


def test_nothing_is_read_where_nobody_speaks(talk: Talk) -> None:
    talk.run(1, voice=1.0)
    talk.run(6)
    num = len(talk.of(TurnPart))
    talk.run(10)
    assert len(talk.of(TurnPart)) == num
    talk.run(1, voice=1.0)
    talk.run(1)
    assert len(talk.of(Respond)) == 2
    assert len(talk.of(BeginContext)) == 1


def test_a_turn_that_sounds_unfinished_is_waited_for(talk: Talk) -> None:
    talk.model.sounds_finished = 0.0
    talk.run(1, voice=1.0)
    talk.run(1)
    assert not talk.of(Respond)
    talk.run(1, voice=1.0)
    talk.model.sounds_finished = 1.0
    talk.run(1)
    assert len(talk.of(SpeechStarted)) == len(talk.of(Respond)) == 1


def test_a_pause_may_be_read_at_once() -> None:
    talk = Talk("brain.duplex.early_close_ms=200")
    talk.run(1.4, voice=1.0)
    talk.run(0.3)
    assert len(talk.of(UnitSound)) == 2
    assert not talk.of(Respond)
    talk.run(1)
    assert len(talk.of(UnitSound)) == 2
    assert len(talk.of(Respond)) == 1


def test_talking_over_an_answer_ends_it_and_the_model_keeps_what_was_heard(talk: Talk) -> None:
    talk.run(1, voice=1.0)
    talk.run(2.2)
    [respond] = talk.of(Respond)
    talk.run(2, voice=1.0)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.reason) == ("cancelled", "turn_detected")
    heard = done.item.text
    assert heard in (" one", " one two")
    [taken] = talk.of(TakeBack)
    assert (taken.response_id, taken.heard) == (respond.response_id, heard)
    at = talk.chunks.index
    [fence] = [chunk for chunk in talk.of(Fence) if chunk.epoch == 1]
    later = [unit for unit in talk.of(UnitSound) if unit.epoch == 1]
    assert at(fence) < at(taken) < at(later[0])
    assert talk.of(PlayoutCleared)
    talk.run(1)
    assert len(talk.of(Respond)) == 2
    assert len(talk.of(SpeechStarted)) == 2


def test_a_short_sound_over_an_answer_is_no_turn(talk: Talk) -> None:
    talk.run(1, voice=1.0)
    talk.run(2.2)
    talk.run(0.3, voice=1.0)
    talk.run(6)
    [done] = talk.of(ResponseDone)
    assert done.status == "completed"
    assert len(talk.of(SpeechStarted)) == len(talk.of(Respond)) == 1


def test_whoever_goes_on_before_the_answer_is_heard_takes_it_back(talk: Talk) -> None:
    talk.model.is_mute = True
    talk.run(1, voice=1.0)
    talk.run(0.7)
    assert talk.of(ResponseStarted)
    talk.run(1, voice=1.0)
    [taken] = talk.of(TakeBack)
    assert taken.heard == ""


def test_thinking_is_a_wish_of_the_session() -> None:
    talk = Talk(is_thinking=True)
    talk.run(1, voice=1.0)
    talk.run(1)
    talk.do(lambda s: s.update(replace(s.options, is_thinking=False)))
    talk.run(5)
    talk.run(1, voice=1.0)
    talk.run(1)
    assert [r.is_thinking for r in talk.of(Respond)] == [True, False]
    assert len(talk.of(BeginContext)) == 1
    assert Talk("brain.duplex.half.is_thinking=true").session.options.is_thinking


def test_what_is_written_is_read_at_once_and_answered_when_asked(talk: Talk) -> None:
    item = Item("", "message", "user", parts=(Part("input_text", text="Hello."),))
    talk.do(lambda session: session.add_item(item))
    [part] = talk.of(TurnPart)
    assert (part.text, part.has_sound) == ("Hello.", False)
    assert not talk.of(Respond)
    talk.do(lambda session: session.respond(ResponseRequest(modality="text")))
    [respond] = talk.of(Respond)
    assert not respond.is_spoken
    assert "".join(e.delta for e in talk.of(ResponseText)).strip() == "one two three four"
    assert talk.of(ResponseDone)


def test_a_written_message_brings_its_pictures_and_sounds(talk: Talk) -> None:
    sound = frozen_array(np.ones(20000, np.float32))
    parts = (
        Part("input_image", image=b"jpeg"),
        Part("input_image", image=b"png"),
        Part("input_text", text="Which?"),
    )
    talk.do(lambda session: session.add_item(Item("", "message", "user", parts=parts)))
    [pictures], [part] = talk.of(UnitPictures), talk.of(TurnPart)
    assert (pictures.encoded, part.num_pictures, part.text) == ((b"jpeg", b"png"), 2, "Which?")
    assert len(talk.of(PictureSeen)) == 2
    spoken = Item("", "message", "user", parts=(Part("input_audio", samples=sound),))
    talk.do(lambda session: session.add_item(spoken))
    assert [float(unit.samples.sum()) for unit in talk.of(UnitSound)] == [16000.0, 4000.0]


def test_a_cameras_newest_picture_goes_with_a_second(talk: Talk) -> None:
    talk.do(lambda session: session.show(b"old"))
    talk.do(lambda session: session.show(b"new"))
    talk.run(2, voice=1.0)
    [pictures] = talk.of(UnitPictures)
    assert pictures.encoded == (b"new",)
    assert [part.num_pictures for part in talk.of(TurnPart)] == [1, 0]


def test_push_to_talk() -> None:
    talk = Talk(turn_detection=None)
    with pytest.raises(ProtocolError, match="less than 100 ms"):
        talk.session.commit()
    talk.run(1.5, voice=1.0)
    assert not talk.of(TurnPart)
    talk.do(lambda session: session.commit())
    assert len(talk.of(UnitSound)) == 2
    assert talk.of(InputCommitted)
    assert not talk.of(Respond)
    talk.do(lambda session: session.respond(ResponseRequest()))
    assert talk.of(Respond)
    with pytest.raises(ProtocolError, match="already has an active response"):
        talk.session.respond(ResponseRequest())
    with pytest.raises(ProtocolError, match="less than 100 ms"):
        talk.session.commit()


def test_cleared_input_is_never_read() -> None:
    talk = Talk(turn_detection=None)
    talk.run(1.5, voice=1.0)
    talk.do(lambda session: session.clear_input())
    talk.run(0.5, voice=1.0)
    talk.do(lambda session: session.commit())
    [unit] = talk.of(UnitSound)
    assert np.count_nonzero(unit.samples > 0.5) == 8000


def test_a_turn_without_end_is_ended() -> None:
    talk = Talk("turn.max_turn_s=5")
    talk.run(5.6, voice=1.0)
    assert len(talk.of(SpeechStopped)) == len(talk.of(Respond)) == 1


def test_the_client_cancels_and_says_how_much_was_heard(talk: Talk) -> None:
    talk.run(1, voice=1.0)
    talk.run(2.2)
    talk.do(lambda session: session.cancel())
    [done] = talk.of(ResponseDone)
    assert done.reason == "client_cancelled"
    with pytest.raises(ProtocolError, match="no active response"):
        talk.session.cancel()
    talk.do(lambda session: session.truncate_item(done.item.item_id, 0))
    assert [taken.heard for taken in talk.of(TakeBack)] == [done.item.text, ""]


def test_answers_beside_the_conversation_are_refused(talk: Talk) -> None:
    for request in (ResponseRequest(is_in_conversation=False), ResponseRequest(context=())):
        with pytest.raises(ProtocolError, match="within its conversation"):
            talk.session.respond(request)


def test_whatever_fails_the_model_begins_anew(talk: Talk) -> None:
    talk.run(1, voice=1.0)
    talk.run(2)
    report = StageReport("s", 0, 0, "think", "failed", "the context is full")
    talk.do(lambda session: session.receive(report))
    [done] = talk.of(ResponseDone)
    assert done.status == "failed"
    [failed] = talk.of(Failed)
    assert failed.message == "the model begins anew: the context is full"
    talk.run(1, voice=1.0)
    talk.run(1)
    assert len(talk.of(BeginContext)) == 2
    assert len(talk.of(ResponseStarted)) == 2


def test_a_mute_model_is_not_waited_for_for_ever(talk: Talk) -> None:
    talk.model.is_mute = True
    talk.run(1, voice=1.0)
    talk.run(32)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.error_code) == ("failed", "stage_timeout")


def test_a_session_ends() -> None:
    talk = Talk("server.max_session_s=2")
    talk.run(3)
    assert len(talk.of(Expired)) == 1


def test_seconds_are_cut_without_gap_or_overlap() -> None:
    units = TurnUnits()
    units.feed(np.arange(40000, dtype=np.float32))
    units.begin(1000)
    assert [(u[0], u[-1]) for u in units.whole()] == [(1000, 16999), (17000, 32999)]
    units.feed(np.arange(40000, 50000, dtype=np.float32))
    [last] = units.until(45000)
    assert (last[0], last[11999], last[12000], len(last)) == (33000, 44999, 0, 16000)
    units.end()
    assert not list(units.whole())
    units.begin(0)  # what was between two turns belongs to none
    assert units.num_uncommitted == 0
