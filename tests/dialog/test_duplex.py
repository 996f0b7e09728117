"""A session with a model that decides for itself, on a clock that jumps; the model is scripted."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from omni.clock import ManualClock
from omni.config import OmniConfig, load
from omni.dialog.answering import ResponseRequest
from omni.dialog.duplex import DuplexSession
from omni.dialog.options import default_options
from omni.errors import ProtocolError
from omni.events import (
    Event,
    Expired,
    Failed,
    InputCommitted,
    Item,
    ItemDone,
    Part,
    PictureSeen,
    PlayoutCleared,
    PlayoutStopped,
    ResponseAudio,
    ResponseDone,
    ResponseStarted,
    ResponseText,
    SpeechStarted,
    SpeechStopped,
    UnitDone,
)
from omni.types import Activity, AudioChunk, Chunk, Fence, Speech, StageReport, frozen_array
from omni.units import VOICE_UNUSABLE, BeginContext, Chosen, UnitPictures, UnitPlan, UnitSound

WINDOW = 512
Kind = TypeVar("Kind")


class Model:
    """Does in each unit what its script says: a word to go on with, `word.` to end a turn, or
    None to listen. A forced listen ends its turn."""

    def __init__(self) -> None:
        self.script: deque[str | None] = deque()
        self.turn = 0
        self.is_open = False
        self.plans: list[UnitPlan] = []
        self.begun: list[BeginContext] = []
        self.is_mute = False

    def answer(self, chunk: Chunk) -> list[Chunk]:
        if isinstance(chunk, BeginContext):
            self.begun.append(chunk)
        if not isinstance(chunk, UnitPlan) or self.is_mute:
            return []
        self.plans.append(chunk)
        said = self.script.popleft() if self.script and not chunk.is_listen_forced else None
        stamp = (chunk.session_id, chunk.epoch, chunk.unit_index)
        if said is None:
            self.is_open = False
            return [Chosen(*stamp, str(self.turn), True, False, "", 0, 99)]
        self.turn += not self.is_open
        is_end = said.endswith(".")
        self.is_open = not is_end
        name, text = str(self.turn), said.rstrip(".") + " "
        sound = frozen_array(np.full(24000, 0.1, np.float32))
        return [
            Chosen(*stamp, name, False, is_end, text, 3, 99),
            Speech(*stamp, name, 0, sound, text, (), is_end),
        ]


class Talk:
    def __init__(self, *overrides: str, config: OmniConfig | None = None) -> None:
        self.config = config or load("minicpm-o", ["brain.duplex.seed=5", *overrides])
        self.clock = ManualClock(1000.0)
        self.session = DuplexSession("s", default_options(self.config), self.config, self.clock)
        self.model = Model()
        self.events: list[Event] = []
        self.timed: list[float] = []
        self.chunks: list[Chunk] = []
        self.voice = 0.0
        self.pattern: tuple[float, ...] = ()  # instead of one voice, over and over
        self.num_heard = 0

    def run(self, seconds: float, voice: float = 0.0) -> None:
        """Time goes by; the VAD finds the probability `voice` in all that is heard."""
        self.voice = voice
        for _ in range(round(seconds * 50)):
            self.clock.advance(20)
            self.session.feed(np.zeros(320, np.float32))
            self.drain()
            self.session.tick()
            self.drain()

    def do(self, command: Callable[[DuplexSession], object]) -> None:
        command(self.session)
        self.drain()

    def drain(self) -> None:
        while chunks := self.session.chunks():
            for chunk in chunks:
                self.chunks.append(chunk)
                for answer in [*self.model.answer(chunk), *self._activity(chunk)]:
                    self.session.receive(answer)
        events = self.session.events()
        self.timed += [event.took_ms for event in events if isinstance(event, UnitDone)]
        self.events += [event for event in events if not isinstance(event, UnitDone)]

    def of(self, kind: type[Kind]) -> list[Kind]:
        found: Iterable[Any] = [*self.events, *self.chunks]
        return [each for each in found if isinstance(each, kind)]

    def _activity(self, chunk: Chunk) -> list[Chunk]:
        if not isinstance(chunk, AudioChunk):
            return []
        heard: list[Chunk] = []
        while self.num_heard + WINDOW <= chunk.start_sample + len(chunk.samples):
            self.num_heard += WINDOW
            pattern = self.pattern or (self.voice,)
            voice = pattern[self.num_heard // WINDOW % len(pattern)]
            heard.append(Activity("s", 0, 0, self.num_heard, voice))
        return heard


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_every_second_is_heard_in_a_context_of_its_own(talk: Talk) -> None:
    talk.run(5)
    [begun] = talk.of(BeginContext)
    assert (begun.unit_index, begun.instructions, begun.seed) == (
        0,
        "Streaming Omni Conversation.",
        5,
    )
    assert [u.unit_index for u in talk.of(UnitSound)] == list(range(5))
    assert [p.unit_index for p in talk.of(UnitPlan)] == list(range(5))
    assert talk.events == []


def test_a_unit_is_timed_from_its_last_sample_to_the_sound_that_answers_it(talk: Talk) -> None:
    talk.model.script += [None, "one", "two."]
    talk.run(1.5)
    assert talk.timed == [0]
    talk.model.is_mute = True
    talk.run(1)  # at its end the second unit has been waiting for half a second
    for chunk in (Chosen("s", 0, 1, "1", False, False, "one ", 3, 99), speech_of(1)):
        assert len(talk.timed) == 1
        talk.do(lambda session, chunk=chunk: session.receive(chunk))  # type: ignore[misc]
        talk.run(0.2)
    assert talk.timed == [0, 700]
    talk.do(lambda session: session.receive(speech_of(1)))
    assert len(talk.timed) == 2  # it was answered before


def speech_of(unit_index: int) -> Speech:
    sound = frozen_array(np.full(24000, 0.1, np.float32))
    return Speech("s", 0, unit_index, "1", 0, sound, "one ", (), False)


def test_a_turn_of_the_model_is_a_reply(talk: Talk) -> None:
    talk.model.script += [None, "one", "two", "three."]
    talk.run(9)
    kinds = [type(e) for e in talk.events if not isinstance(e, ResponseAudio | ResponseText)]
    assert kinds.count(ResponseStarted) == 1
    [done] = talk.of(ResponseDone)
    assert (done.status, done.item.text) == ("completed", "one two three")
    assert done.usage.output_tokens == 9
    assert "".join(e.delta for e in talk.of(ResponseText)) == "one two three"
    assert sum(len(e.samples) for e in talk.of(ResponseAudio)) == 3 * 24000
    assert len(talk.of(PlayoutStopped)) == 1


def test_a_second_turn_waits_until_the_first_has_gone_out(talk: Talk) -> None:
    talk.model.script += ["one.", "two.", "three."]
    talk.run(8)
    done = talk.of(ResponseDone)
    assert [d.item.text for d in done] == ["one", "two", "three"]
    assert len({d.response_id for d in done}) == 3
    assert sum(len(e.samples) for e in talk.of(ResponseAudio)) == 3 * 24000


def test_sound_that_comes_after_the_next_turn_began_is_still_the_first_ones(talk: Talk) -> None:
    talk.run(1)
    sound = frozen_array(np.full(12000, 0.1, np.float32))
    for chunk in (
        Chosen("s", 0, 0, "1", False, True, "one ", 1, 9),
        Chosen("s", 0, 1, "2", False, True, "two ", 1, 9),
        Speech("s", 0, 0, "1", 0, sound, "one ", (), True),
        Speech("s", 0, 1, "2", 0, sound, "two ", (), True),
    ):
        talk.do(lambda session, c=chunk: session.receive(c))  # type: ignore[misc]
    talk.run(3)
    assert [d.item.text for d in talk.of(ResponseDone)] == ["one", "two"]


def test_cancelling_forces_a_listen(talk: Talk) -> None:
    talk.model.script += ["one", "two", "three", "four"]
    talk.run(2.5)
    talk.do(lambda session: session.cancel())
    talk.model.script.clear()
    talk.run(3)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.reason) == ("cancelled", "client_cancelled")
    assert done.item.text == "one"
    assert len(talk.of(PlayoutCleared)) == 1
    assert [f.epoch for f in talk.of(Fence)] == [1]
    assert [(p.epoch, p.is_listen_forced) for p in talk.model.plans] == [
        (0, False),
        (0, False),
        (1, True),
        (1, False),
        (1, False),
    ]
    with pytest.raises(ProtocolError, match="no active response"):
        talk.session.cancel()


def test_what_was_under_way_at_an_interruption_is_nobodys(talk: Talk) -> None:
    talk.model.script += ["one", "two"]
    talk.run(2.5)
    talk.do(lambda session: session.cancel())
    started = len(talk.of(ResponseStarted))
    talk.do(lambda s: s.receive(Chosen("s", 0, 2, "1", False, False, "stale", 1, 9)))
    sound = frozen_array(np.ones(24000, np.float32))
    talk.do(lambda s: s.receive(Speech("s", 0, 2, "1", 0, sound, "stale", (), False)))
    talk.run(2)
    assert len(talk.of(ResponseStarted)) == started
    assert "stale" not in "".join(e.delta for e in talk.of(ResponseText))


def test_a_voice_over_the_models_takes_the_floor_until_it_ends(talk: Talk) -> None:
    talk.model.script += ["one", "two", "three", "four", "five", "six", "seven"]
    talk.run(2.5)
    talk.run(2.6, voice=0.95)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.reason) == ("cancelled", "turn_detected")
    [started] = talk.of(SpeechStarted)
    assert started.audio_start_ms == pytest.approx(2500, abs=64)
    assert [p.is_listen_forced for p in talk.model.plans] == [False] * 3 + [True] * 2
    talk.run(3)
    [stopped] = talk.of(SpeechStopped)
    assert stopped.audio_end_ms == pytest.approx(5100, abs=64)
    [committed] = talk.of(InputCommitted)
    assert committed.item_id == started.item_id == stopped.item_id
    assert [p.is_listen_forced for p in talk.model.plans[5:]] == [False] * 3
    assert len(talk.of(ResponseStarted)) == 2  # then it may speak again


def test_a_word_over_the_models_speech_does_not_stop_it(talk: Talk) -> None:
    talk.model.script += ["one", "two", "three", "four."]
    talk.run(2.5)
    talk.run(0.4, voice=0.95)
    talk.run(5)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.item.text) == ("completed", "one two three four")
    assert talk.of(SpeechStarted) == []
    assert not any(p.is_listen_forced for p in talk.model.plans)


def test_who_took_the_floor_in_snatches_gives_it_back(talk: Talk) -> None:
    """Voice in which the endpointer finds no turn: four windows of it, one without."""
    talk.model.script += ["one"] * 20
    talk.run(2.5)
    talk.pattern = (0.95, 0.95, 0.95, 0.95, 0.0)
    talk.run(1.5)
    assert talk.session._listening.has_floor
    talk.pattern = ()
    talk.run(2)
    assert not talk.session._listening.has_floor
    assert len(talk.of(SpeechStarted)) == len(talk.of(SpeechStopped)) == 1
    assert not talk.model.plans[-1].is_listen_forced


def test_a_noise_that_never_ends_does_not_keep_the_floor() -> None:
    talk = Talk("turn.max_turn_s=5")
    talk.model.script += ["one"] * 30
    talk.run(2.5)
    talk.run(4, voice=0.95)
    assert talk.model.plans[-1].is_listen_forced
    talk.run(3, voice=0.95)
    assert not talk.model.plans[-1].is_listen_forced


def test_a_client_may_forbid_interruptions() -> None:
    talk = Talk()
    options = talk.session.options
    assert options.turn_detection is not None
    detection = replace(options.turn_detection, interrupts_response=False)
    talk.do(lambda session: session.update(replace(options, turn_detection=detection)))
    talk.model.script += ["one", "two", "three."]
    talk.run(1.5)
    talk.run(1.5, voice=0.95)
    talk.run(4)
    [done] = talk.of(ResponseDone)
    assert done.status == "completed"


def test_a_turn_of_the_users_is_an_item_without_words(talk: Talk) -> None:
    talk.run(1.0)
    talk.run(1.5, voice=0.95)
    talk.run(1.5)
    assert len(talk.of(SpeechStarted)) == len(talk.of(SpeechStopped)) == 1
    [done] = talk.of(ItemDone)
    assert done.item.role == "user"
    [part] = done.item.parts
    assert (part.kind, part.text) == ("input_audio", None)
    assert part.audio_ms == pytest.approx(1500, abs=64)


def test_new_instructions_begin_a_new_context(talk: Talk) -> None:
    talk.run(2)
    options = replace(talk.session.options, instructions="Speak French.")
    talk.do(lambda session: session.update(options))
    talk.run(2)
    assert [(b.unit_index, b.instructions) for b in talk.of(BeginContext)] == [
        (0, "Streaming Omni Conversation."),
        (2, "Speak French."),
    ]


def test_words_and_pictures_go_with_the_next_unit() -> None:
    talk = Talk("brain.duplex.num_pictures=2")
    for name in (b"a", b"b", b"c"):
        talk.do(lambda session, n=name: session.show(n))  # type: ignore[misc]
    written = Item("", "message", "user", parts=(Part("input_text", "look"),))
    talk.do(lambda session: session.add_item(written))
    talk.run(2)
    assert [(p.text, p.num_pictures) for p in talk.of(UnitPlan)] == [("look", 2), ("", 0)]
    [pictures] = talk.of(UnitPictures)
    assert pictures.encoded == (b"b", b"c")
    assert len(talk.of(PictureSeen)) == 2


def test_packed_pictures_are_answered_once() -> None:
    talk = Talk("brain.duplex.num_pictures=4", "brain.duplex.resampler=3d")
    for name in (b"a", b"b", b"c"):
        talk.do(lambda session, n=name: session.show(n))  # type: ignore[misc]
    talk.run(1)
    assert [p.num_pictures for p in talk.of(UnitPlan)] == [1]


def test_written_replies_ask_for_no_sound(talk: Talk) -> None:
    options = replace(talk.session.options, modality="text")
    talk.do(lambda session: session.update(options))
    talk.run(1)
    assert [p.is_spoken for p in talk.of(UnitPlan)] == [False]


@pytest.mark.parametrize("stage", ["hear", "think", "speak"])
def test_what_fails_begins_anew(talk: Talk, stage: Any) -> None:
    talk.model.script += ["one", "two", "three"]
    talk.run(2.5)
    report = StageReport("s", 0, 2, stage, "failed", "out of memory")
    talk.do(lambda session: session.receive(report))
    talk.model.script.clear()
    talk.run(2)
    [done] = talk.of(ResponseDone)
    assert (done.status, done.error_code) == ("failed", "stage_failed")
    [failed] = talk.of(Failed)
    assert "out of memory" in failed.message
    assert [b.unit_index for b in talk.of(BeginContext)] == [0, 2]
    assert talk.of(BeginContext)[1].epoch == talk.session._out.epoch > 0


def test_a_voice_that_cannot_be_used_is_told_and_the_talk_goes_on(talk: Talk) -> None:
    talk.model.script += ["one", "two", "three."]
    talk.run(1.5)
    report = StageReport("s", 0, 1, "speak", "failed", "it is silent", VOICE_UNUSABLE)
    talk.do(lambda session: session.receive(report))
    talk.run(4)
    assert [(f.code, f.message) for f in talk.of(Failed)] == [(VOICE_UNUSABLE, "it is silent")]
    assert [d.status for d in talk.of(ResponseDone)] == ["completed"]
    assert len(talk.of(BeginContext)) == 1


def test_while_a_stage_is_lost_nothing_is_sent(talk: Talk) -> None:
    talk.run(2.5)
    talk.do(lambda session: session.receive(StageReport("s", 0, 2, "think", "lost", "it died")))
    talk.run(20)
    assert len(talk.of(UnitPlan)) == 2
    talk.do(lambda session: session.receive(StageReport("s", 1, 2, "think", "restored")))
    talk.model.script += ["back."]
    talk.run(3)
    assert [d.item.text for d in talk.of(ResponseDone)] == ["back"]
    assert [failed.code for failed in talk.of(Failed)] == ["stage_failed"]
    assert len(talk.of(BeginContext)) == 2


def test_a_model_that_hangs_is_noticed(talk: Talk) -> None:
    talk.run(2)
    talk.model.is_mute = True
    talk.run(16.1)
    codes = [failed.code for failed in talk.of(Failed)]
    assert set(codes) == {"unit_late", "stage_timeout"}
    assert codes.count("unit_late") == 1
    talk.model.is_mute = False
    talk.model.script += ["back."]
    talk.run(3)
    assert [d.item.text for d in talk.of(ResponseDone)] == ["back"]


@pytest.mark.parametrize(
    ("early_close_ms", "p50_ms", "p95_ms"), [(0, 510, 951), (200, 220, 240), (400, 400, 420)]
)
def test_an_early_close_brings_the_end_of_speech_to_the_model_sooner(
    early_close_ms: int, p50_ms: float, p95_ms: float
) -> None:
    """Wherever in a second it falls: the figures are those of docs/minicpm-o.md."""
    waits_ms = []
    for voiced_ms in range(1000, 2000, 20):
        talk = Talk(f"brain.duplex.early_close_ms={early_close_ms}")
        talk.run(2)
        talk.run(voiced_ms / 1000, voice=0.95)
        ended_ms, num_units = talk.clock.now_ms(), len(talk.of(UnitSound))
        while len(talk.of(UnitSound)) == num_units:
            talk.run(0.02)
        waits_ms.append(talk.clock.now_ms() - ended_ms)
    found = np.percentile(waits_ms, [50, 95])
    np.testing.assert_allclose(found, [p50_ms, p95_ms], atol=1)


def test_what_this_model_cannot_is_said(talk: Talk) -> None:
    with pytest.raises(ProtocolError, match="decides itself"):
        talk.session.respond(ResponseRequest())
    with pytest.raises(ProtocolError, match="nothing is to be committed"):
        talk.session.commit()


def test_a_session_ends() -> None:
    talk = Talk("server.max_session_s=2")
    talk.run(3)
    assert len(talk.of(Expired)) == 1
