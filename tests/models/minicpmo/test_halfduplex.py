"""Half duplex beyond what the packs record: ends, interruptions, thoughts, forgetting."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch

from omni.models.minicpmo.halfduplex import HalfDuplex
from omni.models.minicpmo.parity.bench import Bench, Step, StubStream, traced
from omni.models.minicpmo.rounds import RowLimits
from omni.models.minicpmo.sampling import greedy, seeded
from omni.models.minicpmo.scheduler import Scheduler, run
from omni.models.minicpmo.turns import HalfDuplexRule, HalfDuplexSession, Manner, Said, Unit
from omni.models.minicpmo.wishes import Choose, Feed, Say, Sound, Wish
from tests.models.minicpmo.playing import second


class Played:
    """A session whose words are given."""

    def __init__(self, bench: Bench, rule: HalfDuplexRule, manner: Manner | None = None) -> None:
        self.bench = bench
        self.manner = manner or Manner()
        self.half = HalfDuplex(bench.brain, rule)
        sources = (greedy, seeded(3))
        self.session: HalfDuplexSession = run(
            bench.brain, self.half.open(["Be brief."], StubStream(), sources)
        )
        self.steps: list[Step] = []

    def hear(self, *contents: Any) -> None:
        self.steps = []
        work = self.half.read(self.session, contents or [Unit(second(self.bench, 0))])
        run(self.bench.brain, traced(work, self.steps, lambda wish: None))

    def answer(self, words: Iterable[int]) -> list[Said]:
        script, self.steps = iter(words), []

        def choose(wish: Wish) -> Any:
            return next(script) if isinstance(wish, Choose) else None

        scheduler = Scheduler(self.bench.brain)
        work = self.half.answer(self.session, self.manner)
        job = scheduler.submit(traced(work, self.steps, choose))
        while not job.is_done:
            scheduler.step()
        return job.outputs

    def fed(self) -> str:
        feeds = [s.wish for s in self.steps if isinstance(s.wish, Feed)]
        return self.bench.tokens.decode_all([i for f in feeds for g in f.groups for i in g.ids])


@pytest.fixture
def played(bench: Bench) -> Iterator[Played]:
    session = Played(bench, HalfDuplexRule())
    yield session
    session.session.close()


def test_answer_that_ends_at_once_is_silence(bench: Bench, played: Played) -> None:
    """The released code crashes here."""
    played.hear()
    assert played.answer([bench.tokens.ids.tts_eos]) == []
    assert len(played.session.speaking.context) == 0


def test_turns_are_framed(bench: Bench, played: Played) -> None:
    played.hear()
    assert played.fed().startswith("<|im_start|>user\n<|audio_start|>")
    played.hear()
    assert played.fed().startswith("<|audio_start|>")
    played.answer([*bench.tokens.encode(" hi"), bench.tokens.ids.im_end])
    header = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n<|tts_bos|>"
    assert played.fed() == f"{header} hi"
    played.hear("And now?")
    assert played.fed() == "<|tts_eos|><|im_end|>\n<|im_start|>user\nAnd now?"


def test_40_the_vocoder_is_flushed_once(bench: Bench, played: Played) -> None:
    played.hear()
    words = bench.tokens.encode(" the weather is nice and the weather is nice and there")
    played.answer([*words, bench.tokens.ids.tts_eos])
    flushes = [s.wish.is_last for s in played.steps if isinstance(s.wish, Sound)]
    assert flushes == [False] * (len(flushes) - 1) + [True]


def test_all_codes_are_heard_once(bench: Bench, played: Played) -> None:
    played.hear()
    outputs = played.answer([*bench.tokens.encode(" hello there"), bench.tokens.ids.tts_eos])
    codes = [code for s in played.steps if isinstance(s.wish, Say) for code in s.answer]
    samples = torch.cat([said.samples for said in outputs])
    heard = (samples[::960] * 32768).round().long().tolist()
    assert heard == [code % 4096 + 1 for code in [4218] * 3 + codes]
    assert "".join(said.text for said in outputs) == " hello there"


def test_text_is_shown_when_its_bytes_are_whole(bench: Bench, played: Played) -> None:
    played.hear()
    words = bench.tokens.encode(" \N{GRINNING FACE}" * 5 + " ok")
    outputs = played.answer([*words, bench.tokens.ids.tts_eos])
    texts = [said.text for said in outputs]
    assert "".join(texts) == " \N{GRINNING FACE}" * 5 + " ok"
    assert not any("\ufffd" in text for text in texts)


def test_thoughts_are_never_spoken_nor_shown(bench: Bench) -> None:
    played = Played(bench, HalfDuplexRule(), Manner(is_thinking=True))
    played.hear()
    ids, encode = bench.tokens.ids, bench.tokens.encode
    said = encode(" hi")
    words = [ids.think, *encode(" the weather is nice"), ids.think_end, *said, ids.tts_eos]
    outputs = played.answer(words)
    assert "".join(output.text for output in outputs) == " hi"
    [order] = [s.wish.order for s in played.steps if isinstance(s.wish, Say)]
    assert len(order.condition) == len(said) + 2
    assert "<think>\n\n</think>" not in played.fed()
    assert "the weather" in played.fed()
    played.session.close()


def test_interrupted_answer_leaves_a_session_that_goes_on(bench: Bench, played: Played) -> None:
    played.hear()
    work = played.half.answer(played.session)
    scheduler = Scheduler(bench.brain)
    scheduler.submit(work)
    for _ in range(6):
        scheduler.step()
    work.close()
    played.hear()
    assert played.fed().startswith("<|tts_eos|><|im_end|>\n<|im_start|>user\n")
    outputs = played.answer([*bench.tokens.encode(" ok"), bench.tokens.ids.tts_eos])
    assert "".join(said.text for said in outputs) == " ok"


def test_whole_rounds_are_forgotten_and_never_the_one_under_way(bench: Bench) -> None:
    played = Played(bench, HalfDuplexRule(limits=RowLimits(high=130, low=80)))
    system = len(played.session.context)
    pool, slot = bench.brain.llm.engine.pool, played.session.context.slot
    keys = pool.keys[:, slot, :, :system].clone()
    for _ in range(6):
        played.hear()
        starts = played.session.thinking.rounds.starts  # type: ignore[attr-defined]
        assert starts[0] == system
        feeds = [s.wish for s in played.steps if isinstance(s.wish, Feed)]
        heard = sum(len(group) for feed in feeds for group in feed.groups)
        assert len(played.session.context) - starts[-1] == heard
        assert len(played.session.context) <= 130
        played.answer([*bench.tokens.encode(" hi"), bench.tokens.ids.tts_eos])
    assert torch.equal(keys, pool.keys[:, slot, :, :system])
    played.session.close()


def test_unit_of_another_length_is_refused(played: Played) -> None:
    with pytest.raises(ValueError, match="16000 samples, not 5"):
        played.hear(Unit(torch.zeros(5)))
