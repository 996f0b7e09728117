"""Four stages do together what the model does in one piece, for whoever is there beside them."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import save_file

from omni.config import OmniConfig
from omni.errors import AssetError, ConfigError, SessionCapacity
from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import load
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.hift import seeded_noise
from omni.models.minicpmo.sampling import seeded
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.token2wav import Stream
from omni.models.minicpmo.token2wav_files import load_token2wav
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.unit import SystemPrompt, UnitInput, UnitOutput
from omni.stages.build import build_stage
from omni.stages.minicpmo.build import duplex_rule
from omni.stages.minicpmo.voices import Voices
from omni.types import Chunk, Fence, Speech, StageReport
from omni.units import Chosen, PictureEmbeddings, SoundEmbeddings, UnitPictures, UnitPlan, UnitWords
from tests.stages.minicpmo.flow import PACK, SEED, Flow, chosen, recording, second, tiny, unit

CPU = torch.device("cpu")
NUM_UNITS = 12


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config() -> OmniConfig:
    return tiny()


@pytest.fixture(scope="module")
def flow(config: OmniConfig) -> Flow:
    return Flow(config)


def words(chunks: Sequence[Chunk]) -> list[UnitWords]:
    return [chunk for chunk in chunks if isinstance(chunk, UnitWords)]


def speech(chunks: Sequence[Chunk]) -> list[Speech]:
    return [chunk for chunk in chunks if isinstance(chunk, Speech)]


def in_one_piece(config: OmniConfig, num_units: int) -> list[UnitOutput]:
    """What the model in one process says to the same seconds, with the same seeds."""
    vocoder = load_token2wav(PACK / "token2wav", CPU)
    brain = Brain(load(PACK, CPU, torch.float32), Tokens(PACK), vocoder, Room(1, 2048))
    duplex = Duplex(brain, duplex_rule(config))
    voice = vocoder.voice(Voices(None, 10).prompt("", vocoder.dims, None))
    stream = Stream(voice, seeded_noise(vocoder.hift.dims, SEED))
    prompt = SystemPrompt("<|im_start|>system\nTalk.", "<|im_end|>")
    session = run(brain, duplex.open(prompt, stream, seeded(SEED), seeded(SEED + 1)))
    return [
        run(brain, duplex.unit(session, UnitInput(torch.from_numpy(second(index).copy()))))
        for index in range(num_units)
    ]


def test_the_stages_together_are_the_model(config: OmniConfig, flow: Flow) -> None:
    expected = in_one_piece(config, NUM_UNITS)
    flow.open("s")
    for index, output in enumerate(expected):
        told = flow.unit("s", index)
        [answer] = chosen(told)
        assert (answer.is_listen, answer.is_turn_end) == (output.is_listen, output.is_turn_end)
        sounds = speech(told)
        assert bool(sounds) == (not output.is_listen or output.is_turn_end)
        if sounds and len(output.samples):
            [sound] = sounds
            np.testing.assert_allclose(
                sound.samples[-len(output.samples) :], output.samples.numpy(), atol=2e-2
            )
    flow.close("s")
    assert any(output.is_listen for output in expected)
    assert any(output.codes for output in expected)


Told = list[tuple[object, ...]]


def play(flow: Flow, sessions: dict[str, int], num_units: int) -> dict[str, Told]:
    """Sessions side by side, each from its own second on; all that each was told."""
    told: dict[str, Told] = {name: [] for name in sessions}
    for name, first in sessions.items():
        flow.open(name, seed=first)
    for index in range(num_units):
        sent: list[Chunk] = []
        for name, first in sessions.items():
            plan, sound = unit(name, index)
            other = second(first + index)
            sent += [plan, type(sound)(name, 0, index, other)]
        for chunk in flow.run(sent):
            match chunk:
                case Chosen():
                    told[chunk.session_id].append((chunk.is_listen, chunk.text, chunk.num_tokens))
                case Speech():
                    told[chunk.session_id].append((chunk.text, len(chunk.samples)))
    for name in sessions:
        flow.close(name)
    return told


def test_four_sessions_at_once_do_not_hear_each_other(flow: Flow) -> None:
    firsts = {"a": 1, "b": 9, "c": 17, "d": 25}
    together = play(flow, firsts, 8)
    for name, first in firsts.items():
        assert play(flow, {name: first}, 8)[name] == together[name]
    assert len({str(told) for told in together.values()}) == 4
    spoken = [told for told in together.values() if any(not entry[0] for entry in told)]
    assert len(spoken) > 1


def test_a_fence_leaves_nothing_of_the_reply(flow: Flow) -> None:
    flow.open("s")
    index = 0
    while not (said := speech(flow.unit("s", index))) or said[0].is_last:
        index += 1
    speaking = flow.stages["speak"]._sessions["s"].speaking  # type: ignore[attr-defined]
    assert len(speaking.context)
    assert speaking.stream.tail is not None
    flow.run([Fence("s", 1, index)])
    assert len(speaking.context) == 0
    assert speaking.stream.tail is None
    assert speaking.codes == [flow.stages["speak"]._organs.vocoder.silence_code] * 3  # type: ignore[attr-defined]
    flow.close("s")


def test_a_forced_listen_ends_the_turn(flow: Flow) -> None:
    flow.open("s")
    index = 0
    while (answer := chosen(flow.unit("s", index))[0]).is_listen or answer.is_turn_end:
        index += 1
    [forced] = chosen(flow.unit("s", index + 1, is_forced=True))
    assert (forced.is_listen, forced.is_turn_end, forced.text) == (True, False, "")
    told = flow.unit("s", index + 2)
    if not chosen(told)[0].is_listen:
        assert chosen(told)[0].response_id != answer.response_id
    flow.close("s")


def test_what_is_seen_stands_before_what_is_heard(flow: Flow) -> None:
    """A picture's 64 vectors and their marks make the unit that much longer; both ways."""
    rows = {}
    for number in (0, 1, 2):
        flow.open("s")
        _, sound = unit("s", 0)
        shown = [UnitPictures("s", 0, 0, (jpeg(),) * number, (0,) * number)] if number else []
        told = flow.run([*shown, UnitPlan("s", 0, 0, number, "", True, is_spoken=True), sound])
        rows[number] = chosen(told)[0].context_tokens
        flow.close("s")
    assert rows[1] - rows[0] == rows[2] - rows[1] == 64 + 2


def test_packed_pictures_cost_what_one_does() -> None:
    flow = Flow(tiny("brain.duplex.resampler=3d"), ("see",))
    flow.stages["see"].open("s")
    shown = UnitPictures("s", 0, 0, (jpeg(), jpeg(200), jpeg(90)), (0, 300, 700))
    seen = [c for c in drain(flow, shown) if isinstance(c, PictureEmbeddings)]
    assert [c.tiles.shape for c in seen] == [(1, 64, 256)]
    later = UnitPictures("s", 0, 0, shown.encoded, (0, 300, 900))
    [other] = [c for c in drain(flow, later) if isinstance(c, PictureEmbeddings)]
    assert not np.allclose(seen[0].tiles, other.tiles)  # time is part of what is seen


def test_a_damaged_picture_is_answered_and_told(flow: Flow) -> None:
    flow.open("s")
    _, sound = unit("s", 0)
    told = flow.run(
        [UnitPictures("s", 0, 0, (b"no",), (0,)), UnitPlan("s", 0, 0, 1, "", False, True), sound]
    )
    assert [c.stage for c in told if isinstance(c, StageReport)] == ["see"]
    assert len(chosen(told)) == 1
    flow.close("s")


def test_a_picture_that_comes_late_joins_a_later_unit(flow: Flow) -> None:
    think, hear, see = (flow.stages[name] for name in ("think", "hear", "see"))
    flow.open("s")
    seen = drain(flow, UnitPictures("s", 0, 0, (jpeg(),), (0,)), only=see)
    heard = [drain(flow, unit("s", index)[1], only=hear)[0] for index in range(3)]
    plans = [UnitPlan("s", 0, index, int(index == 0), "", True, True) for index in range(3)]
    assert drain(flow, plans[0], heard[0], only=think) == []
    [first] = chosen(drain(flow, plans[1], heard[1], only=think))[:1]
    rows = [first.context_tokens]
    rows += [c.context_tokens for c in chosen(drain(flow, *seen, plans[2], heard[2], only=think))]
    assert first.unit_index == 0
    assert rows[-1] - rows[0] > 64
    flow.close("s")


def test_written_words_are_read_with_the_unit(flow: Flow) -> None:
    rows = {}
    for text in ("", "hello you"):
        flow.open("s")
        _, sound = unit("s", 0)
        told = flow.run([UnitPlan("s", 0, 0, 0, text, True, True), sound])
        rows[text] = chosen(told)[0].context_tokens
        flow.close("s")
    assert rows["hello you"] - rows[""] == len(Tokens(PACK).encode("hello you"))


def test_text_alone_is_not_spoken(flow: Flow) -> None:
    flow.open("s")
    for index in range(NUM_UNITS):
        _, sound = unit("s", index)
        assert not speech(flow.run([UnitPlan("s", 0, index, 0, "", False, False), sound]))
    flow.close("s")


def test_a_new_context_is_a_new_session() -> None:
    flow = Flow(tiny(), ("hear", "think"))
    flow.open("s")
    fresh = [c.text for index in range(NUM_UNITS) for c in chosen(flow.unit("s", index))]
    flow.run([flow.begun("s", NUM_UNITS)])
    told = []
    for index in range(NUM_UNITS):
        _, sound = unit("s", index)
        at = NUM_UNITS + index
        sent = [UnitPlan("s", 0, at, 0, "", False, True), type(sound)("s", 0, at, sound.samples)]
        told += [c.text for c in chosen(flow.run(sent))]
    assert told == fresh
    flow.close("s")


def test_a_voice_is_heard_by_the_mind_and_starts_the_mouth(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "anna.wav", recording()[:48000], 16000)
    generator = torch.Generator().manual_seed(1)
    save_file(
        {
            "codes": torch.arange(8),
            "mel": torch.randn(16, 80, generator=generator),
            "speaker": torch.randn(192, generator=generator),
        },
        tmp_path / "anna.safetensors",
    )
    flow = Flow(tiny(f"brain.duplex.voices={tmp_path}"))
    rows = {}
    for voice in ("anna", "nobody", "../anna"):
        flow.open("s", voice=voice)
        rows[voice] = chosen(flow.unit("s", 0, is_forced=True))[0].context_tokens
        flow.close("s")
    assert rows["nobody"] == rows["../anna"]
    plain, marked = (
        len(Tokens(PACK).encode(f"<|im_start|>system\nTalk.{marks}"))
        for marks in ("", "\n<|audio_start|><|audio_end|>")
    )
    assert rows["anna"] - rows["nobody"] == 3 * 10 + marked - plain


def test_a_reference_is_waited_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "anna.wav", recording()[:48000], 16000)
    flow = Flow(tiny(f"brain.duplex.voices={tmp_path}"), ("hear", "think"))
    for stage in flow.stages.values():
        stage.open("s")
    begun = flow.begun("s", 0, "anna")
    think = flow.stages["think"]
    assert think.step([begun]) == []
    assert not think.has_work()
    [reference] = drain(flow, begun, only=flow.stages["hear"])
    assert isinstance(reference, SoundEmbeddings)
    assert reference.of == "reference"
    think.step([reference])
    assert chosen(flow.unit("s", 0))


def test_no_room_is_said(config: OmniConfig) -> None:
    flow = Flow(tiny("brain.think.num_slots=1"), ("think", "speak"))
    flow.open("s")
    for name in ("think", "speak"):
        with pytest.raises(SessionCapacity):
            flow.stages[name].open("t")
    flow.close("s")
    flow.open("t")


def test_who_outgrows_the_context_fails_alone() -> None:
    flow = Flow(tiny("brain.duplex.window.kind=none", "brain.think.context_tokens=64"))
    flow.open("s")
    told: list[Chunk] = []
    for index in range(6):
        told += flow.unit("s", index, is_forced=True)
    reports = [c for c in told if isinstance(c, StageReport)]
    assert {report.stage for report in reports} == {"think"}
    assert "context" in reports[0].message
    flow.open("t")
    assert chosen(flow.unit("t", 0))


def test_a_missing_checkpoint_is_said_plainly(tmp_path: Path) -> None:
    for wrong in ("null", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"set brain\.checkpoint to the official") as error:
            build_stage(tiny(f"brain.checkpoint={wrong}"), "think")
        assert error.value.param == "brain.checkpoint"


def test_a_window_larger_than_the_context_is_refused() -> None:
    with pytest.raises(ConfigError, match="a context needs 2186 rows") as error:
        build_stage(tiny("brain.duplex.window.high_rows=1520"), "think")
    assert error.value.param == "brain.think.context_tokens"


@pytest.mark.parametrize("name", ["hear", "speak"])
def test_no_memory_left_is_no_room_for_a_session(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(tiny(), [name])
    stage = flow.stages[name]
    needed = (
        stage._ears.ear.session_bytes  # type: ignore[attr-defined]
        if name == "hear"
        else stage._organs.vocoder.session_bytes(25 * 2)  # type: ignore[attr-defined]
    )
    # Two fit: each grows to what it needs, and the last one's passes copy as much.
    monkeypatch.setattr("omni.models.minicpmo.memory.free_bytes", lambda _: 3 * needed)
    stage.open("a")
    stage.open("b")
    with pytest.raises(SessionCapacity, match=r"cpu has .* GiB left for sessions"):
        stage.open("c")
    stage.close("a")
    stage.open("c")


def test_sessions_take_the_memory_that_is_counted_on(flow: Flow) -> None:
    flow.open("s")
    for index in range(3):
        flow.unit("s", index)
    past = flow.stages["hear"]._sessions["s"].past  # type: ignore[attr-defined]
    ear = flow.stages["hear"]._ears.ear  # type: ignore[attr-defined]
    assert past.num_bytes * len(ear.tower.embed_positions.weight) == ear.session_bytes * len(past)
    flow.close("s")
    vocoder = flow.stages["speak"]._organs.vocoder  # type: ignore[attr-defined]
    voice = vocoder.voice(Voices(None, 10).prompt("", vocoder.dims, None))
    stream = Stream(voice, seeded_noise(vocoder.hift.dims, SEED))
    for _ in range(4):
        vocoder.stream([stream], [range(28)], [False])
    assert stream.state.num_bytes == pytest.approx(vocoder.session_bytes(25 * 2), rel=0.1)


def test_too_little_memory_is_said_with_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni.models.minicpmo.checkpoint.free_bytes", lambda _: 3_000_000)
    with pytest.raises(AssetError, match=r"bfloat16 .* would fit"):
        build_stage(tiny(), "think").load()


def jpeg(side: int = 120) -> bytes:
    file = BytesIO()
    Image.fromarray(np.full((side, side, 3), side, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def drain(flow: Flow, *chunks: Chunk, only: object = None) -> list[Chunk]:
    """What one stage makes of chunks."""
    stage = only or next(iter(flow.stages.values()))
    out: list[Chunk] = stage.step(chunks)  # type: ignore[attr-defined]
    while stage.has_work():  # type: ignore[attr-defined]
        out += stage.step([])  # type: ignore[attr-defined]
    return out
