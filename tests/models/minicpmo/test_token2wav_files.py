"""The official token2wav folder is read by a whitelist and gives what the plain one gives."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from omni.errors import AssetError
from omni.models.minicpmo.token2wav_files import load_token2wav
from tests.models.minicpmo.conftest import PACK

CPU = torch.device("cpu")
PLAIN = PACK / "token2wav"
YAML = """
flow: !new:cosyvoice2.flow.flow.CausalMaskedDiffWithXvec
  input_size: 48
  output_size: 80
  spk_embed_dim: 192
  output_type: 'mel'
  vocab_size: 6561
  encoder: !new:cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2
    input_size: 48
    output_size: 48
    num_blocks: 2
    num_up_blocks: 1
    attention_heads: 2
    linear_units: 96
  decoder: !new:cosyvoice2.flow.flow_matching.CausalConditionalCFM
    inference_cfg_rate: 0.7
    estimator: !new:cosyvoice2.flow.decoder_dit.DiT
      in_channels: 320
      out_channels: 80
      mlp_ratio: 2.0
      depth: 2
      num_heads: 2
      head_dim: 24
      hidden_size: 48
"""


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny weights in the official form; only the vocoder is not of the official width."""
    (tmp_path / "flow.yaml").write_text(YAML)
    torch.save(load_file(PLAIN / "flow.safetensors"), tmp_path / "flow.pt")
    hift = load_file(PLAIN / "hift.safetensors")
    torch.save({f"generator.{name}": t for name, t in hift.items()}, tmp_path / "hift.pt")
    tree = json.loads((PLAIN / "config.json").read_text())
    monkeypatch.setattr("omni.models.minicpmo.flow_yaml.HIFT", tree["hift"])
    return tmp_path


def test_official_folder_is_the_plain_one(official: Path) -> None:
    one, other = load_token2wav(official, CPU), load_token2wav(PLAIN, CPU)
    assert one.dims.stream.num_steps == 10
    for module, twin in ((one.flow, other.flow), (one.hift, other.hift)):
        twins = twin.state_dict()
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, twins[name])


@pytest.mark.parametrize(
    "line",
    [
        "x: !new:os.system\n  command: ls",
        "x: !apply:os.system [ls]",
        "x: !name:builtins.eval",
        "x: !!python/object/apply:os.system [ls]",
    ],
)
def test_what_would_call_something_is_refused(official: Path, line: str) -> None:
    (official / "flow.yaml").write_text(f"{YAML}{line}\n")
    with pytest.raises(AssetError, match=r"flow\.yaml"):
        load_token2wav(official, CPU)


def test_weights_that_hold_code_are_refused(official: Path) -> None:
    (official / "flow.pt").write_bytes(pickle.dumps({"x": Path("/")}, protocol=2))
    with pytest.raises(AssetError, match=r"flow\.pt holds more than tensors"):
        load_token2wav(official, CPU)


def test_missing_section_is_named(official: Path) -> None:
    (official / "flow.yaml").write_text("flow: {}\n")
    with pytest.raises(AssetError, match="encoder"):
        load_token2wav(official, CPU)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"neither flow\.yaml nor config\.json"):
        load_token2wav(tmp_path, CPU)
    shutil.copy(PLAIN / "config.json", tmp_path)
    with pytest.raises(AssetError, match=r"no flow\.safetensors"):
        load_token2wav(tmp_path, CPU)
