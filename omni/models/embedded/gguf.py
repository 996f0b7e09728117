"""A quantised GGUF file as an ONNX decoder, made once and opened quickly after.

Hides the stored form: two graphs with their weights beside them, the table of embeddings as int8
rows, the model's config and fast tokenizer. Law: opening computes nothing that converting could.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoTokenizer

from omni.errors import AssetError
from omni.models.embedded import decoder_graph
from omni.models.embedded.decoder_graph import Floats, Weights

RECIPE = "onnx-int8-1"
"""Names the stored form; raise its number when the form changes."""


def convert(path: Path, folder: Path) -> None:
    """Write a Qwen2 or Qwen3 GGUF to `folder`, one tensor at a time.

    Raises:
        AssetError: the file is missing, damaged or of another architecture.
    """
    if not path.is_file():
        raise AssetError(f"no model file {path.name}: run `omni pull`", param=path.name)
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        config = AutoConfig.from_pretrained(**source)
        weights = _GgufWeights(path)
        config.tie_word_embeddings = "lm_head.weight" not in weights
        store(weights, config, AutoTokenizer.from_pretrained(**source), folder)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise AssetError(f"cannot convert {path.name}: {error}", param=path.name) from error


def store(weights: Weights, config: Any, tokenizer: Any, folder: Path) -> None:
    """Write float weights, by transformers' names, in the stored form.

    The folder appears only when complete; an older one of that name is replaced.

    Raises:
        ValueError: the architecture is not one that the graph is written for.
    """
    if config.model_type not in ("qwen2", "qwen3"):
        raise ValueError(f"architecture {config.model_type}")
    if config.rope_parameters["rope_type"] != "default" or config.use_sliding_window:
        raise ValueError("scaled rotary embeddings or attention by windows")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".onnx-"))
    try:
        for name, make in (("decoder", decoder_graph.decoder), ("head", decoder_graph.head)):
            onnx.save_model(
                make(weights, config),
                str(partial / f"{name}.onnx"),
                save_as_external_data=True,
                location=f"{name}.weights",
            )
        rows, scales = decoder_graph.int8_rows(weights["model.embed_tokens.weight"])
        save_file({"rows": rows, "scales": scales}, partial / "embeddings.safetensors")
        _plain_config(config).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _GgufWeights(Mapping[str, Floats]):
    """The file's tensors as floats, by transformers' names, each computed when asked for."""

    def __init__(self, path: Path) -> None:
        self._tensors = {_name(t.name): t for t in gguf.GGUFReader(path).tensors}

    def __getitem__(self, name: str) -> Floats:
        tensor = self._tensors[name]
        return np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    match name.split("."):
        case ["blk", layer, part, kind]:
            return f"model.layers.{layer}.{_INNER[part]}.{kind}"
        case [part, kind]:
            return f"{_OUTER[part]}.{kind}"
    raise ValueError(f"tensor {name}")


def _plain_config(config: Any) -> Any:
    """The config without its note that the weights came from a GGUF."""
    kept = {k: v for k, v in json.loads(config.to_json_string()).items() if "quantization" not in k}
    return type(config)(**kept)
