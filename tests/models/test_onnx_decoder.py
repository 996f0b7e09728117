"""The stored decoder says what transformers says, whatever shares a run with it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from omni.errors import AssetError, StageError
from omni.models.embedded import gguf
from omni.models.embedded.onnx_decoder import OnnxDecoder
from omni.models.engine import Segment

SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SAME = 0.005  # an activation's int8 may be rounded the other way
IDS = torch.tensor([5, 17, 3, 60, 22, 8, 41, 0, 33])


def tiny_model(family: str, is_tied: bool) -> Any:
    torch.manual_seed(5)
    if family == "qwen2":
        model: Any = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=is_tied))
    else:
        config = Qwen3Config(**SIZES, head_dim=32, tie_word_embeddings=is_tied)
        model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # biases and norms of their own
    return model.eval().requires_grad_(False)


def tokenizer() -> Any:
    words = models.WordLevel({"hello": 0, "<unk>": 1}, unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words))


def stored(model: Any, folder: Path) -> OnnxDecoder:
    weights = {name: weight.numpy() for name, weight in model.named_parameters()}
    gguf.store(weights, model.config, tokenizer(), folder)
    return OnnxDecoder(folder, num_slots=3, context_tokens=12)


@pytest.fixture(params=[("qwen2", True), ("qwen2", False), ("qwen3", False)], ids=str)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(*request.param)


@pytest.fixture
def decoder(model: Any, tmp_path: Path) -> OnnxDecoder:
    decoder = stored(model, tmp_path / "stored")
    for _ in range(3):
        decoder.pool.acquire()
    return decoder


def distance(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


def test_it_says_nearly_what_transformers_says(model: Any, decoder: OnnxDecoder) -> None:
    (hidden,) = decoder.forward([Segment(1, IDS)])
    assert distance(decoder.logits(hidden), model(IDS[None]).logits[0]) < 0.05


def test_pieces_say_what_the_whole_says(decoder: OnnxDecoder) -> None:
    (whole,) = decoder.forward([Segment(0, IDS)])
    pieces = [decoder.forward([Segment(2, part)])[0] for part in IDS.split([4, 1, 3, 1])]
    assert distance(torch.cat(pieces), whole) < SAME


def test_contexts_that_share_a_run_do_not_see_each_other(decoder: OnnxDecoder) -> None:
    """Of different lengths, one of them taking in a long input, one idle in between."""
    starts = {0: IDS[:3], 1: IDS[3:8], 2: IDS[2:9]}
    for slot, ids in starts.items():
        decoder.forward([Segment(slot, ids)])
    inputs = {0: IDS[:1], 1: IDS[4:7], 2: IDS[5:6]}
    together = decoder.forward([Segment(slot, ids) for slot, ids in inputs.items()])
    idle = decoder.forward([Segment(0, IDS[:1]), Segment(2, IDS[:1])])
    after = decoder.forward([Segment(1, IDS[:1])])
    for slot, rows in zip(inputs, together, strict=True):
        decoder.pool.truncate(slot, 0)
        (alone,) = decoder.forward([Segment(slot, torch.cat((starts[slot], inputs[slot])))])
        assert distance(rows, alone[len(starts[slot]) :]) < SAME
    for slot, rows in ((0, idle[0]), (2, idle[1]), (1, after[0])):
        assert distance(rows, decoder.forward([Segment(slot, IDS[:1])])[0]) < SAME


def test_what_was_cut_leaves_no_trace(decoder: OnnxDecoder) -> None:
    (fresh,) = decoder.forward([Segment(0, IDS)])
    decoder.forward([Segment(1, IDS.flip(0))])
    decoder.pool.truncate(1, 0)
    (again,) = decoder.forward([Segment(1, IDS)])
    assert torch.equal(again, fresh)
    decoder.pool.copy(1, 2, 5)
    (rest,) = decoder.forward([Segment(2, IDS[5:])])
    assert distance(rest, fresh[5:]) < SAME


def test_a_full_context_refuses_more_and_stays(decoder: OnnxDecoder) -> None:
    decoder.forward([Segment(0, IDS[:8])])
    decoder.forward([Segment(1, IDS)])
    with pytest.raises(StageError, match="exceed the context of 12"):
        decoder.forward([Segment(0, IDS[:1]), Segment(1, IDS[:4])])
    assert decoder.pool.lengths[:2] == [8, 9]


def test_an_architecture_it_is_not_written_for_is_refused(tmp_path: Path) -> None:
    model = tiny_model("qwen2", True)
    model.config.rope_parameters = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(ValueError, match="rotary"):
        gguf.store({}, model.config, tokenizer(), tmp_path / "stored")


def test_half_a_conversion_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(AssetError, match=r"broken\.gguf"):
        gguf.convert(tmp_path / "broken.gguf", tmp_path / "stored")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]
