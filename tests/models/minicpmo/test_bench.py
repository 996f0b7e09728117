"""`omni bench minicpm-o` on the tiny checkpoint, and the official sizes that it builds on a GPU."""

import json

import numpy as np
import pytest
import torch

from omni.cli import main
from omni.evaluation.units import Load, run_load
from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import MiniCPMO
from omni.models.minicpmo.config import read_config
from omni.models.minicpmo.memory import needs
from omni.models.minicpmo.parity.bench import StubStream
from omni.models.minicpmo.random_weights import (
    official,
    placeholder_tokens,
    random_model,
    random_token2wav,
)
from omni.models.minicpmo.token2wav_files import read_dims
from omni.models.minicpmo.tokens import Tokens
from tests.models.minicpmo.conftest import PACK

PICTURE = np.zeros((448, 448, 3), np.uint8)


def test_every_unit_speaks_and_its_time_is_accounted_for(brain: Brain) -> None:
    load = Load(num_sessions=3, num_units=2, num_words=4, picture=PICTURE, unit_s=0.01)
    ran = run_load(brain, load, lambda index: StubStream(), lambda: None)
    assert len(ran.units) == 3 * 2
    assert set(ran.stages) == {"see", "hear", "prefill", "decode", "speak", "vocode", "wait"}
    for unit in ran.units:
        (output,) = unit.job.outputs
        assert len(output.ids) == 4
        assert not output.is_listen
        assert len(output.codes) == 25
        assert unit.out_ms == pytest.approx(sum(unit.stages_ms.values()))
        assert unit.stages_ms["wait"] > -1e-6


def test_a_unit_waits_for_the_one_before_it(brain: Brain) -> None:
    load = Load(num_sessions=1, num_units=3, num_words=1, unit_s=0.0)
    ran = run_load(brain, load, lambda index: StubStream(), lambda: None)
    waits_ms = [unit.stages_ms["wait"] for unit in ran.units]
    others_ms = [unit.out_ms - unit.stages_ms["wait"] for unit in ran.units]
    for index in range(1, 3):  # all were due at once: each waits while the one before is served
        assert waits_ms[index] >= waits_ms[index - 1] + others_ms[index - 1] - 1e-6


def test_sessions_give_their_contexts_back(brain: Brain) -> None:
    for _ in range(3):  # of the eight there are
        load = Load(num_sessions=3, num_units=1, num_words=1, unit_s=0.0)
        assert len(run_load(brain, load, lambda index: StubStream(), lambda: None).units) == 3


def test_the_official_sizes_are_those_of_the_release() -> None:
    config, dims = official()
    with torch.device("meta"):
        model = MiniCPMO(config)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == pytest.approx(
        9.34e9, rel=0.01
    )
    assert dims.dit.depth == 16
    assert placeholder_tokens().encode("<unit><|listen|>") != []


def test_the_memory_is_told_before_anything_is_built(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni.models.minicpmo.memory.free_bytes", lambda _: 24 << 30)
    monkeypatch.setattr("omni.commands.bench_brain.random_model", built)
    command = ["bench", "minicpm-o", "--random-weights", "--device", "cpu", "--sessions", "4"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "billion weights" in told
    assert "cpu has 24.0 GiB free" in told


def built(*_: object) -> None:
    raise AssertionError("there was no memory for this")


def test_what_is_needed_is_what_is_taken() -> None:
    """Weights and contexts of the tiny checkpoint, byte by byte; of the official sizes, in all."""
    config, dims = read_config(PACK), read_dims(PACK / "token2wav")
    cpu, room = torch.device("cpu"), Room(num_sessions=3, context_tokens=99, speech_tokens=50)
    model, vocoder = random_model(config, cpu, torch.float32), random_token2wav(dims, cpu)
    brain = Brain(model, Tokens(PACK), vocoder, room)
    weights = [*model.state_dict().values()]
    weights += [*vocoder.flow.state_dict().values(), *vocoder.hift.state_dict().values()]
    found = needs(config, dims, torch.float32, room, prompt_frames=50)
    assert found.weights_bytes == sum(tensor.nbytes for tensor in weights)
    rows = sum(
        2 * pool.keys[..., :-1, :].nbytes
        for pool in (brain.llm.engine.pool, brain.talker.engine.pool)
    )
    others = 3 * (brain.ear.session_bytes + vocoder.session_bytes(50))
    assert found.sessions_bytes == rows + others
    official_needs = needs(*official(), torch.bfloat16, Room(1, 4096), prompt_frames=250)
    assert official_needs.num_weights == pytest.approx(9.5e9, rel=0.02)
    assert official_needs.weights_bytes == pytest.approx(19.4e9, rel=0.01)
    assert 1.1e9 < official_needs.sessions_bytes < 1.4e9


def test_random_weights_compute_numbers() -> None:
    model = random_model(read_config(PACK), torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        embeds = model.llm.model.embed_tokens(torch.arange(5)[None])
        logits = model.llm(inputs_embeds=embeds).logits
    assert logits.isfinite().all()
    assert logits.std() > 0


def test_the_command_prints_the_most_sessions_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--units", "1", "--words", "1", "--sessions", "1", "--device", "cpu", "--json"]
    command = ["bench", "minicpm-o", "--checkpoint", str(PACK), "--random-weights", *options]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["words_per_unit"] == 1
    for row in (*report["audio"], *report["audio_and_frame"]):
        assert row["unit_p50_ms"] > 0
        assert row["codes_per_s"] > 0
    assert set(report["most_sessions"]) == {"audio", "audio_and_frame"}


def test_a_folder_or_random_weights_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "minicpm-o"]) == 2
    assert "--random-weights" in capsys.readouterr().err
