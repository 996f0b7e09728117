"""Nothing is tied to the tiny pack's sizes: another checkpoint with random weights, end to end."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omni.models.minicpmo.brain import Brain, Room
from omni.models.minicpmo.checkpoint import MiniCPMO, load
from omni.models.minicpmo.config import read_config
from omni.models.minicpmo.duplex import Duplex
from omni.models.minicpmo.halfduplex import HalfDuplex
from omni.models.minicpmo.parity.bench import Bench, StubStream, StubVocoder
from omni.models.minicpmo.sampling import seeded
from omni.models.minicpmo.scheduler import run
from omni.models.minicpmo.tokens import Tokens
from omni.models.minicpmo.turns import Frame, HalfDuplexRule, Unit
from omni.models.minicpmo.unit import DuplexRule, SystemPrompt, UnitInput
from omni.models.minicpmo.window import WindowRule
from tests.models.minicpmo.conftest import PACK
from tests.models.minicpmo.playing import second

OTHER = {
    "hidden_size": 384, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 3, "head_dim": 32, "intermediate_size": 128, "rope_theta": 500000,
    "query_num": 16, "audio_pool_step": 2,
}  # fmt: skip
VISION = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 448}
AUDIO = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
SPEECH = {
    "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
    "num_audio_tokens": 500, "s3_stream_chunk_size": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Brain:
    folder: Path = tmp_path_factory.mktemp("other")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(PACK / name, folder)
    tree = json.loads((PACK / "config.json").read_text()) | OTHER
    tree["vision_config"] |= VISION
    tree["audio_config"] |= AUDIO
    tree["tts_config"] |= SPEECH
    (folder / "config.json").write_text(json.dumps(tree))
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {n: t.shape for n, t in MiniCPMO(read_config(folder)).state_dict().items()}
    weights = {n: torch.randn(s, generator=generator) * 0.2 for n, s in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    model = load(folder, torch.device("cpu"), torch.float32)
    return Brain(model, Tokens(folder), StubVocoder(), Room(2, 1024))


def test_duplex(bench: Bench, brain: Brain) -> None:
    rule = DuplexRule(window=WindowRule("context", max_units=2))
    duplex = Duplex(brain, rule)
    prompt = SystemPrompt("<|im_start|>system\nTalk.", "<|im_end|>", bench.pack.sound("ref_audio"))
    session = run(brain, duplex.open(prompt, StubStream(), seeded(1), seeded(2)))
    codes = []
    for number in range(6):
        unit = UnitInput(second(bench, number), [(bench.pack.inputs["img_mid"], 2)])
        output = run(brain, duplex.unit(session, unit))
        codes += output.codes
        assert len(output.codes) <= 20
        rows = sum(unit.num_rows for unit in session.thinking.window.units)
        assert len(session.thinking.context) == session.thinking.window.system_rows + rows
    assert codes
    assert max(codes) < 499
    session.close()


def test_halfduplex(bench: Bench, brain: Brain) -> None:
    half = HalfDuplex(brain, HalfDuplexRule(max_tokens=30))
    session = run(brain, half.open(["Be brief."], StubStream(), (seeded(1), seeded(2))))
    rows = len(session.context)
    run(brain, half.read(session, [Frame(bench.pack.inputs["img_mid"]), Unit(second(bench, 0))]))
    opening = len(brain.tokens.encode("<|im_start|>user\n"))
    assert len(session.context) == rows + opening + (1 + 16 + 1) + (1 + 25 + 1)
    assert run(brain, half.answer(session))
    session.close()
