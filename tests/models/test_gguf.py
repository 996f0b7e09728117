"""The int8 form keeps a model's meaning, and its rows to themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from omni.errors import AssetError
from omni.models.embedded import gguf


def tiny_model(is_tied: bool) -> Any:
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=is_tied,
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # biases and norms of their own
    return model


def tokenizer() -> Any:
    words = models.WordLevel({"hello": 0, "<unk>": 1}, unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words))


@pytest.mark.parametrize("is_tied", [True, False])
def test_stored_model_says_nearly_the_same(is_tied: bool, tmp_path: Path) -> None:
    model = tiny_model(is_tied).requires_grad_(False)
    ids = torch.randint(0, 64, (2, 9))
    with torch.inference_mode():
        expected = model(ids).logits
    gguf.store(model.named_parameters(), model.config, tokenizer(), tmp_path / "int8")
    loaded, _ = gguf.load(tmp_path / "int8")
    with torch.inference_mode():
        got = loaded(ids).logits
    assert (got - expected).norm() / expected.norm() < 0.05


def test_rows_do_not_see_each_other() -> None:
    weight = torch.randint(-127, 128, (24, 16), dtype=torch.int8)
    layer = gguf.Int8Linear(weight, torch.rand(24), torch.rand(24))
    x = torch.randn(5, 16) * torch.tensor([[0.01], [1.0], [100.0], [0.0], [3.0]])
    together = layer(x[None])[0]
    for row, expected in zip(x, together, strict=True):
        assert torch.equal(layer(row[None])[0], expected)


def test_int8_layer_is_the_float_one_rounded() -> None:
    rows, scales = torch.randint(-127, 128, (24, 64), dtype=torch.int8), torch.rand(24) / 100
    bias = torch.randn(24)
    x = torch.randn(3, 64)
    expected = x @ (rows * scales[:, None]).T + bias
    got = gguf.Int8Linear(rows, scales, bias)(x)
    assert (got - expected).norm() / expected.norm() < 0.02


def test_half_a_conversion_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(AssetError, match=r"broken\.gguf"):
        gguf.convert(tmp_path / "broken.gguf", tmp_path / "int8")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]
