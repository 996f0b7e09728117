"""Every tensor is accounted for, by name; nothing else is believed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from omni.errors import AssetError, ConfigError
from omni.models.minicpmo import checkpoint
from omni.models.minicpmo.checkpoint import load
from omni.models.minicpmo.parity.bench import Bench
from omni.models.minicpmo.tokens import Tokens
from tests.models.minicpmo.conftest import PACK

CPU = torch.device("cpu")
HEAD = "tts.head_code.0.parametrizations.weight.original"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(PACK / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(PACK / "config.json", tmp_path)
    return tmp_path


def load_with(folder: Path, weights: dict[str, torch.Tensor]) -> checkpoint.MiniCPMO:
    save_file(weights, folder / "model.safetensors")
    return load(folder, CPU, torch.float32)


def without(tensors: dict[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def test_missing_tensor_is_named(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(AssetError, match=r"apm\.conv1\.bias") as error:
        load_with(folder, without(weights, "apm.conv1.bias"))
    assert error.value.param == "apm.conv1.bias"


def test_unexpected_tensor_is_named(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(AssetError, match=r"unexpected tensor apm\.extra"):
        load_with(folder, weights | {"apm.extra": torch.zeros(1)})


def test_misshaped_tensor_is_named(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(AssetError, match=r"resampler\.query is \[3, 256\].*\[64, 256\]"):
        load_with(folder, weights | {"resampler.query": torch.zeros(3, 256)})


def test_table_that_is_never_read_may_be_there(
    folder: Path, weights: dict[str, torch.Tensor]
) -> None:
    load_with(folder, weights | {"tts.model.embed_tokens.weight": torch.zeros(32000, 48)})


@pytest.mark.parametrize("ending", ["_g _v", "plain"])
def test_28_weight_norm_in_either_form(
    folder: Path, weights: dict[str, torch.Tensor], bench: Bench, ending: str
) -> None:
    g, v = weights[f"{HEAD}0"], weights[f"{HEAD}1"]
    name = "tts.head_code.0.weight"
    other = without(weights, f"{HEAD}0", f"{HEAD}1")
    if ending == "plain":
        other[name] = g * v / v.norm(dim=1, keepdim=True)
    else:
        other |= {f"{name}_g": g, f"{name}_v": v}
    head = load_with(folder, other).tts.head_code[0].get_parameter("weight")
    torch.testing.assert_close(head, bench.model.tts.head_code[0].get_parameter("weight"))
    torch.testing.assert_close(head.norm(dim=1, keepdim=True), g)


def test_half_a_weight_norm_is_named(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(AssetError, match=r"half.*tts\.head_code\.0\.weight"):
        load_with(folder, without(weights, f"{HEAD}1"))


def test_shards(folder: Path, weights: dict[str, torch.Tensor], bench: Bench) -> None:
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    model = load(folder, CPU, torch.float32)
    assert torch.equal(model.llm.lm_head.weight, bench.model.llm.lm_head.weight)
    (folder / "b.safetensors").unlink()
    with pytest.raises(AssetError, match=r"no b\.safetensors"):
        load(folder, CPU, torch.float32)
    path.write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}))
    with pytest.raises(AssetError, match="outside its folder"):
        load(folder, CPU, torch.float32)


@pytest.mark.parametrize(
    ("share", "advice"),
    [
        (0.6, r"bfloat16 \(.* GiB\) would fit"),
        (0.46, r"int8 \(.* GiB\) would fit"),
        (0.42, r"int4 \(.* GiB\) would fit"),
        (0.1, "no smaller precision would fit either"),
    ],
)
def test_too_little_memory_says_what_would_fit(
    folder: Path,
    weights: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    advice: str,
) -> None:
    num_bytes = 4 * sum(tensor.numel() for tensor in weights.values())
    monkeypatch.setattr(checkpoint, "free_bytes", lambda device: int(num_bytes * share))
    with pytest.raises(AssetError, match=advice):
        load_with(folder, weights)


def test_names_and_counts_are_the_official_ones(weights: dict[str, torch.Tensor]) -> None:
    """The formula of the full model's 1414 tensors, at this depth, less the one left out."""
    assert len(weights) == 2 * 11 + 3 + 2 * 16 + 5 + 13 + 2 * 15 + 7 + 4 + 2 * 9 + 14 - 1


def changed(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    tree = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in tree.items() if v is not None}))


def test_field_that_is_missing_is_named(folder: Path) -> None:
    changed(folder, query_num=None)
    with pytest.raises(ConfigError, match="no query_num") as error:
        load(folder, CPU, torch.float32)
    assert error.value.param == "query_num"


def test_other_models_are_refused(folder: Path) -> None:
    changed(folder, model_type="qwen3")
    with pytest.raises(ConfigError, match="qwen3"):
        load(folder, CPU, torch.float32)


def test_dropped_vision_layer(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    changed(folder, drop_vision_last_layer=True)
    left = {n: t for n, t in weights.items() if not n.startswith("vpm.encoder.layers.1.")}
    assert len(load_with(folder, left).vpm.encoder.layers) == 1


def test_tokenizer_without_a_special_token_is_refused(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        text = (PACK / name).read_text().replace("<|listen|>", "<|listens|>")
        (tmp_path / name).write_text(text)
    with pytest.raises(AssetError, match=r"no <\|listen\|>"):
        Tokens(tmp_path)


def test_a_part_reads_its_own_tensors_and_checks_all(
    folder: Path, weights: dict[str, torch.Tensor], bench: Bench
) -> None:
    save_file(weights, folder / "model.safetensors")
    model = load(folder, CPU, torch.float32, ["hear"])
    read = {name for name, tensor in model.state_dict().items() if not tensor.is_meta}
    assert read == {n for n in weights if n.startswith(("apm.", "audio_projection_layer."))}
    assert torch.equal(model.apm.conv1.weight, bench.model.apm.conv1.weight)
    save_file(weights | {"llm.extra": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(AssetError, match=r"unexpected tensor llm\.extra"):
        load(folder, CPU, torch.float32, ["hear"])
