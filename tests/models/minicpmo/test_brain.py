"""Sessions that share passes: each does what it would do alone."""

from dataclasses import dataclass

import pytest
import torch

from omni.errors import SessionCapacity, StageError
from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import load
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.parity.bench import Bench, StubVocoder, traced
from omni.models.minicpmo.parity.pack import WAVE
from omni.models.minicpmo.prompt import text_group
from omni.models.minicpmo.sampling import seeded
from omni.models.minicpmo.scheduler import Scheduler, run, run_all
from omni.models.minicpmo.token2wav import Stream
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.models.minicpmo.unit import DuplexRule, DuplexSession, SystemPrompt, UnitInput, UnitOutput
from omni.models.minicpmo.voice import VoicePrompt
from omni.models.minicpmo.window import WindowRule
from omni.models.minicpmo.wishes import Decide, Feed, Say
from tests.models.minicpmo.conftest import PACK
from tests.models.minicpmo.playing import Played, second

NUM_SESSIONS = 4
NUM_UNITS = 5


@pytest.fixture(scope="module")
def speaking(bench: Bench) -> Brain:
    """A brain with the real vocoder in its place."""
    vocoder = load_token2wav(PACK / "token2wav", torch.device("cpu"))
    return Brain(bench.model, bench.tokens, vocoder, Room(NUM_SESSIONS, 2048))


@dataclass(frozen=True)
class Talk:
    """One user: what they ask, hear from whom, and show."""

    index: int

    def open(self, bench: Bench, duplex: Duplex) -> DuplexSession:
        vocoder = duplex.brain.vocoder
        generator = torch.Generator().manual_seed(self.index)
        codes = tuple(range(self.index, self.index + 8))
        mel = torch.randn(16, 80, generator=generator)
        voice = vocoder.voice(VoicePrompt(codes, mel, torch.randn(192, generator=generator)))  # type: ignore[union-attr]
        reference = bench.pack.stream((0, 16000)) if self.index % 2 else None
        marks = ("\n<|audio_start|>", "<|audio_end|>") if self.index % 2 else ("", "")
        prompt = SystemPrompt(
            f"<|im_start|>system\nSession {self.index}.{marks[0]}",
            f"{marks[1]}<|im_end|>",
            reference,
        )
        noise = _noise(duplex.brain, self.index)
        session: DuplexSession = run(
            duplex.brain,
            duplex.open(prompt, Stream(voice, noise), seeded(self.index), seeded(99 + self.index)),
        )
        return session

    def unit(self, bench: Bench, number: int) -> UnitInput:
        shows = self.index == 2 and number % 2 == 0
        pictures = [(bench.pack.inputs["img_hd"], 2)] if shows else []
        return UnitInput(second(bench, 3 + number + self.index), pictures)


def _noise(brain: Brain, seed: int):  # type: ignore[no-untyped-def]
    from omni.models.minicpmo.hift import seeded_noise

    return seeded_noise(brain.vocoder.hift.dims, seed)  # type: ignore[union-attr]


def alone(bench: Bench, brain: Brain, talk: Talk, rule: DuplexRule) -> list[UnitOutput]:
    duplex = Duplex(brain, rule)
    session = talk.open(bench, duplex)
    outputs = [
        run(brain, duplex.unit(session, talk.unit(bench, number))) for number in range(NUM_UNITS)
    ]
    session.close()
    return outputs


def same(one: UnitOutput, other: UnitOutput) -> bool:
    return (
        one.ids == other.ids
        and one.codes == other.codes
        and one.is_listen == other.is_listen
        and len(one.samples) == len(other.samples)
        and torch.allclose(one.samples, other.samples, atol=WAVE)  # phases add up rounding
    )


RULES = {
    "plain": DuplexRule(),
    "window": DuplexRule(window=WindowRule("context", max_units=2, previous_tokens=8)),
}


@pytest.mark.parametrize("name", RULES)
def test_sessions_side_by_side_do_what_each_does_alone(
    bench: Bench, speaking: Brain, name: str
) -> None:
    rule, talks = RULES[name], [Talk(index) for index in range(NUM_SESSIONS)]
    expected = [alone(bench, speaking, talk, rule) for talk in talks]
    duplex = Duplex(speaking, rule)
    sessions = [talk.open(bench, duplex) for talk in talks]
    for number in range(NUM_UNITS):
        works = [
            duplex.unit(session, talk.unit(bench, number))
            for session, talk in zip(sessions, talks, strict=True)
        ]
        for outputs, got in zip(expected, run_all(speaking, works), strict=True):
            assert same(got, outputs[number])
    for session in sessions:
        session.close()
    assert any(output.codes for outputs in expected for output in outputs)


def test_units_that_join_midway_change_nothing(bench: Bench, speaking: Brain) -> None:
    talks = [Talk(0), Talk(1)]
    expected = [alone(bench, speaking, talk, DuplexRule()) for talk in talks]
    duplex = Duplex(speaking, DuplexRule())
    sessions = [talk.open(bench, duplex) for talk in talks]
    scheduler = Scheduler(speaking)
    first = scheduler.submit(duplex.unit(sessions[0], talks[0].unit(bench, 0)))
    for _ in range(3):
        scheduler.step()
    late = scheduler.submit(duplex.unit(sessions[1], talks[1].unit(bench, 0)))
    while scheduler.jobs:
        scheduler.step()
    assert same(first.result, expected[0][0])
    assert same(late.result, expected[1][0])
    for session in sessions:
        session.close()


def test_sessions_share_passes(
    bench: Bench, speaking: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    duplex = Duplex(speaking, DuplexRule())
    sessions = [Talk(index).open(bench, duplex) for index in range(3)]
    sizes: dict[type, list[int]] = {}
    answer = speaking.answer

    def counted(wishes):  # type: ignore[no-untyped-def]
        sizes.setdefault(type(wishes[0]), []).append(len(wishes))
        return answer(wishes)

    monkeypatch.setattr(speaking, "answer", counted)
    run_all(speaking, [duplex.unit(s, UnitInput(second(bench, 3))) for s in sessions])
    assert sizes[Feed][0] == 3
    assert max(sizes.get(Say, [3])) > 1
    for session in sessions:
        session.close()


def test_output_goes_out_before_the_unit_is_closed(bench: Bench, speaking: Brain) -> None:
    duplex = Duplex(speaking, DuplexRule())
    session = Talk(0).open(bench, duplex)
    scheduler = Scheduler(speaking)
    job = scheduler.submit(duplex.unit(session, UnitInput(second(bench, 0))))
    while not job.outputs:
        scheduler.step()
    assert not job.is_done
    rows = len(session.thinking.context)
    while not job.is_done:
        scheduler.step()
    assert len(session.thinking.context) == rows + 2
    assert job.result is job.outputs[0]
    session.close()


def test_who_outgrows_the_context_fails_alone(bench: Bench, speaking: Brain) -> None:
    [expected, *_] = alone(bench, speaking, Talk(0), DuplexRule())
    duplex = Duplex(speaking, DuplexRule())
    small, full = Talk(0).open(bench, duplex), Talk(1).open(bench, duplex)
    room = speaking.llm.engine.pool.slot_tokens - len(full.thinking.context)
    speaking.llm.feed([full.thinking.context], [speaking.llm.embed([1] * room)])
    scheduler = Scheduler(speaking)
    jobs = [
        scheduler.submit(duplex.unit(small, Talk(0).unit(bench, 0))),
        scheduler.submit(duplex.unit(full, Talk(1).unit(bench, 0))),
    ]
    while scheduler.jobs:
        scheduler.step()
    assert same(jobs[0].result, expected)
    assert isinstance(jobs[1].error, StageError)
    small.close()
    full.close()


def test_no_room_is_said_and_nothing_is_lost(bench: Bench, speaking: Brain) -> None:
    duplex = Duplex(speaking, DuplexRule())
    sessions = [Talk(index).open(bench, duplex) for index in range(NUM_SESSIONS)]
    with pytest.raises(SessionCapacity):
        Talk(0).open(bench, duplex)
    sessions.pop().close()
    sessions.append(Talk(0).open(bench, duplex))
    for session in sessions:
        session.close()


def test_sixty_units_in_a_sliding_window(bench: Bench, brain: Brain) -> None:
    rule = DuplexRule(window=WindowRule("basic", high_rows=200, low_rows=120), is_spoken=False)
    duplex = Duplex(brain, rule)
    prompt = SystemPrompt("<|im_start|>system\nTalk.", "<|im_end|>")
    session: DuplexSession = run(brain, duplex.open(prompt, None, seeded(1), seeded(2)))
    thinking = session.thinking
    system = len(thinking.context)
    keys = brain.llm.engine.pool.keys[:, thinking.context.slot, :, :system].clone()
    for number in range(60):
        run(brain, duplex.unit(session, UnitInput(second(bench, number % 42))))
        assert len(thinking.context) <= 200
        assert len(thinking.context) == system + sum(u.num_rows for u in thinking.window.units)
    assert thinking.window.num_dropped > 40
    assert torch.equal(keys, brain.llm.engine.pool.keys[:, thinking.context.slot, :, :system])
    session.close()


def test_speech_beyond_its_room_goes_on(bench: Bench) -> None:
    """The same turn for longer than the speech LM can remember."""
    small = Brain(bench.model, bench.tokens, StubVocoder(), Room(1, 512, speech_tokens=64))
    played = Played(bench, DuplexRule(), small)
    ids = bench.tokens.ids
    for _ in range(4):
        output = played.unit([ids.speak, *bench.tokens.encode(" hello"), ids.chunk_eos])
        assert output.codes
        assert len(played.session.speaking.context) <= 64
    played.close()


def test_a_session_that_cannot_open_leaves_no_trace(bench: Bench) -> None:
    brain = Brain(bench.model, bench.tokens, None, Room(1, 16))
    duplex = Duplex(brain, DuplexRule(is_spoken=False))
    for _ in range(2):
        with pytest.raises(StageError, match="exceed the context of 16"):
            run(brain, duplex.open(SystemPrompt("word " * 20, "."), None, seeded(1), seeded(2)))
    abandoned = duplex.open(SystemPrompt("a", "b"), None, seeded(1), seeded(2))
    next(abandoned)
    abandoned.close()
    run(brain, duplex.open(SystemPrompt("a", "b"), None, seeded(1), seeded(2))).close()


def test_everything_runs_in_bfloat16(bench: Bench) -> None:
    model = load(PACK, torch.device("cpu"), torch.bfloat16)
    vocoder = load_token2wav(PACK / "token2wav", torch.device("cpu"))
    brain = Brain(model, bench.tokens, vocoder, Room(1, 1024))
    duplex = Duplex(brain, DuplexRule())
    session = Talk(1).open(bench, duplex)
    ids = bench.tokens.ids
    script = iter([ids.speak, *bench.tokens.encode(" hello"), ids.turn_eos, ids.chunk_eos])
    unit = UnitInput(second(bench, 0), [(bench.pack.inputs["img_hd"], 2)])
    decided = lambda wish: next(script) if isinstance(wish, Decide) else None  # noqa: E731
    output = run(brain, traced(duplex.unit(session, unit), [], decided))
    assert output.text == " hello"
    assert output.samples.isfinite().all()
    assert len(output.samples) == 960 * (len(output.codes) + 3)
    session.close()


def test_groups_are_embedded_in_order(bench: Bench, brain: Brain) -> None:
    rows = brain.mind.embed([text_group(1), text_group(2, 3)])
    assert torch.equal(rows, brain.llm.embed([1, 2, 3]))
