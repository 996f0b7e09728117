"""Half duplex over four stages: what the model says in one piece, and never what it thinks."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from omni.config import OmniConfig
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.turns import Frame, Manner, Unit
from omni.stages.minicpmo.answer import CLONE
from omni.stages.minicpmo.captions import Captions
from omni.types import Chunk, Fence, Speech, StageReport, Token
from omni.units import Respond, TakeBack, TurnPart, TurnRead, UnitPictures, UnitSound
from tests.models.minicpmo.one_piece import OnePiece
from tests.stages.minicpmo.flow import PACK, Flow, recording, second, tiny

HALF = ("brain.duplex.mode=half", "brain.duplex.half.max_thoughts=12")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config() -> OmniConfig:
    return tiny(*HALF, "brain.think.max_reply_tokens=24")


@pytest.fixture(scope="module")
def flow(config: OmniConfig) -> Flow:
    return Flow(config)


def heard(session_id: str, part: int, number: int, epoch: int = 0) -> tuple[TurnPart, UnitSound]:
    stamp = (session_id, epoch, part)
    return TurnPart(*stamp, 0, "", has_sound=True), UnitSound(*stamp, second(number))


def respond(session_id: str, name: str = "r", epoch: int = 0, **wishes: bool) -> Respond:
    is_thinking, is_spoken = wishes.get("is_thinking", False), wishes.get("is_spoken", True)
    return Respond(session_id, epoch, 99, name, is_thinking, is_spoken, 24)


def text_of(told: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in told if isinstance(chunk, Token))


def sound_of(told: Sequence[Chunk]) -> np.ndarray:
    return np.concatenate([c.samples for c in told if isinstance(c, Speech)])


def words_of(flow: Flow, session_id: str) -> list[int]:
    """The ids of the answer that a session's mind made last."""
    words: list[int] = flow.stages["think"]._sessions[session_id].thinking.answer.words  # type: ignore[attr-defined]
    return words


def units(*numbers: int) -> list[Unit]:
    return [Unit(torch.from_numpy(second(number).copy())) for number in numbers]


def test_the_stages_together_are_the_model(config: OmniConfig, flow: Flow) -> None:
    """Two turns, the second after thinking, and a third in writing."""
    model = OnePiece(config, "Talk.")
    flow.open("s")
    part, rows = 0, 0
    for turn, (is_thinking, is_spoken) in enumerate(((False, True), (True, True), (False, False))):
        told: list[Chunk] = []
        for number in (turn * 5, turn * 5 + 1):
            model.read(*units(number))
            told += flow.run(heard("s", part, number))
            part += 1
        read = [chunk.context_tokens for chunk in told if isinstance(chunk, TurnRead)]
        assert len(read) == 2
        assert read[0] > rows
        assert read[1] - read[0] == 12
        name = f"r{turn}"
        told = flow.run([respond("s", name, is_thinking=is_thinking, is_spoken=is_spoken)])
        manner = Manner(is_thinking=is_thinking, is_spoken=is_spoken, max_tokens=24)
        words, samples = model.answer(manner)
        assert words
        assert words_of(flow, "s") == words
        assert text_of(told) == Tokens(PACK).decode(words)
        last = [chunk for chunk in told if isinstance(chunk, Token)][-1]
        assert last.finish in ("stop", "length")
        sounds = [chunk for chunk in told if isinstance(chunk, Speech)]
        assert bool(sounds) == is_spoken
        if sounds:
            np.testing.assert_allclose(sound_of(told), samples, atol=2e-2)
            assert [sound.is_last for sound in sounds] == [False] * (len(sounds) - 1) + [True]
            assert [sound.index for sound in sounds] == list(range(len(sounds)))
            assert "".join(sound.text for sound in sounds) == text_of(told)
        rows = len(model.session.context)
        assert flow.stages["think"]._sessions["s"].context.position == rows  # type: ignore[attr-defined]
    flow.close("s")


def test_thoughts_leave_the_mind_neither_as_text_nor_as_words_for_the_mouth(flow: Flow) -> None:
    flow.open("s")
    flow.run(heard("s", 0, 0))
    flow.run([respond("s", is_thinking=True)])
    answer = flow.stages["think"]._sessions["s"].thinking.answer  # type: ignore[attr-defined]
    ids = Tokens(PACK).ids
    assert answer.num_thoughts == 12
    end = answer.ids.index(ids.think_end)
    assert end >= 12
    assert not answer.is_thinking
    assert 0 < len(answer.words) < len(answer.ids) - end  # what frames them is no word either
    flow.close("s")


def test_four_sessions_at_once_do_not_hear_each_other(flow: Flow) -> None:
    def play(firsts: dict[str, int]) -> dict[str, list[tuple[object, ...]]]:
        said: dict[str, list[tuple[object, ...]]] = {name: [] for name in firsts}
        for name, first in firsts.items():
            flow.open(name, seed=first)
        sent: list[Chunk] = []
        for name, first in firsts.items():
            sent += [*heard(name, 0, first), *heard(name, 1, first + 1), respond(name)]
        for chunk in flow.run(sent):
            match chunk:
                case Token():
                    said[chunk.session_id].append((chunk.text, chunk.finish))
                case Speech():
                    said[chunk.session_id].append((chunk.text, len(chunk.samples)))
        for name in firsts:
            flow.close(name)
        return said

    firsts = {"a": 1, "b": 9, "c": 17, "d": 25}
    together = play(firsts)
    for name, first in firsts.items():
        alone = play({name: first})[name]
        assert sorted(map(str, alone)) == sorted(map(str, together[name]))
    assert len({str(said) for said in together.values()}) == 4


def test_what_was_not_heard_of_an_answer_is_forgotten(flow: Flow) -> None:
    flow.open("s")
    told = flow.run(heard("s", 0, 0))
    [read] = [chunk for chunk in told if isinstance(chunk, TurnRead)]
    told = flow.run([respond("s")])
    words, text = words_of(flow, "s"), text_of(told)
    header = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n<|tts_bos|>"
    tokens = Tokens(PACK)
    num_heard = next(n for n in range(1, len(words)) if len(tokens.decode(words[:n]).strip()) > 3)
    beginning = tokens.decode(words[:num_heard])
    assert text.startswith(beginning)
    flow.run([Fence("s", 1, 5), TakeBack("s", 1, 5, "r", beginning)])
    told = flow.run(heard("s", 1, 1, epoch=1))
    [after] = [chunk for chunk in told if isinstance(chunk, TurnRead)]
    opening = "<|tts_eos|><|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_end|>"
    said = read.context_tokens + len(tokens.encode(header)) + num_heard
    assert after.context_tokens == said + len(tokens.encode(opening)) + 10
    flow.close("s")


def test_an_answer_nobody_heard_leaves_the_turn_open(flow: Flow) -> None:
    flow.open("s")
    [read] = [c for c in flow.run(heard("s", 0, 0)) if isinstance(c, TurnRead)]
    flow.run([respond("s")])
    flow.run([Fence("s", 1, 5), TakeBack("s", 1, 5, "r", " ")])
    [after] = [c for c in flow.run(heard("s", 1, 1, epoch=1)) if isinstance(c, TurnRead)]
    assert after.context_tokens == read.context_tokens + 12
    flow.close("s")


def test_an_answer_under_way_is_broken_off_and_what_was_said_meanwhile_is_read(flow: Flow) -> None:
    flow.open("s")
    flow.run(heard("s", 0, 0))
    think = flow.stages["think"]
    think.step([respond("s")])
    for _ in range(8):
        think.step([])
    assert think.has_work()
    answer = think._sessions["s"].thinking.answer  # type: ignore[attr-defined]
    assert 0 < len(answer.words) < 24
    flow.run([Fence("s", 1, 5), *heard("s", 1, 1, epoch=1)])
    told = flow.run([respond("s", "r2", epoch=1)])
    assert {c.response_id for c in told if isinstance(c, Token | Speech)} == {"r2"}
    assert text_of(told)
    flow.close("s")


def test_pictures_are_read_before_the_second_they_go_with(config: OmniConfig) -> None:
    flow = Flow(tiny(*HALF, "brain.duplex.max_slices=4"))
    model = OnePiece(config, "Talk.")
    pixels = np.random.default_rng(3).integers(0, 255, (300, 700, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    flow.open("s")
    stamp = ("s", 0, 0)
    pictures = UnitPictures(*stamp, (file.getvalue(),), (0,))
    told = flow.run([TurnPart(*stamp, 1, "", has_sound=True), pictures, heard("s", 0, 0)[1]])
    told += flow.run([TurnPart("s", 0, 1, 0, "What is it?", has_sound=False)])
    told += flow.run([respond("s")])
    model.read(Frame(pixels, 4), *units(0))
    model.read("What is it?")
    words, _ = model.answer(Manner(max_tokens=24))
    assert words_of(flow, "s") == words
    num_rows = next(c.context_tokens for c in told if isinstance(c, TurnRead))
    assert num_rows > 3 * model.brain.config.num_queries
    assert not [c for c in told if isinstance(c, StageReport)]


def test_words_are_laid_over_the_codes_that_were_made_for_them() -> None:
    captions = Captions()
    captions.add(" one two three four", 0, 40)
    assert captions.take(0) == ""
    first = captions.take(20)
    assert first == " one two"
    captions.add(" five", 40, 50)
    assert captions.take(40) == " three four"
    assert captions.take(45) == ""
    assert captions.rest() == " five"
    captions.add("你好吗朋友", 50, 75)
    assert captions.take(60) == "你好"
    assert captions.take(75) == "吗朋友"


def test_a_voice_is_heard_before_the_instructions(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "anna.wav", recording()[:48000], 16000)
    flow = Flow(tiny(*HALF, f"brain.duplex.voices={tmp_path}"), ("hear", "think"))
    rows = {}
    for voice in ("anna", ""):
        flow.open("s", voice=voice)
        [read] = [c for c in flow.run(heard("s", 0, 0)) if isinstance(c, TurnRead)]
        rows[voice] = read.context_tokens
        flow.close("s")
    opening = Tokens(PACK).encode(f"{CLONE}<|audio_start|><|audio_end|>")
    assert rows["anna"] - rows[""] == 3 * 10 + len(opening)
