"""A quantised GGUF file as a torch model with int8 weights, made once and mapped quickly after.

Hides the stored form: safetensors with one int8 row and one scale per output of every linear layer,
beside the model's config and fast tokenizer. Law: loading computes nothing that converting could.
"""

import json
import shutil
import struct
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from omni.errors import AssetError

RECIPE = "int8-rows-1"
"""Names the stored form; raise its number when the form changes."""


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale per output row, and activations quantised on
    the fly (fbgemm's 7-bit range), one scale per input row: rows never see each other."""

    def __init__(self, rows: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        with warnings.catch_warnings():
            # This kernel's container of weights is deprecated; onednn's successor is slower.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor")
            weight = torch._make_per_channel_quantized_tensor(
                rows, scales.double(), torch.zeros_like(scales, dtype=torch.int64), 0
            )
        self._packed = torch.ops.quantized.linear_prepack(weight, None)
        self._bias = bias
        # The kernel takes one range over all rows; this row makes it -1..1 whatever the others.
        self._range = torch.zeros(1, rows.shape[1])
        self._range[0, :2] = torch.tensor([1.0, -1.0])

    def forward(self, x: Tensor) -> Tensor:  # [.., in] -> [.., out]
        flat = x.flatten(0, -2)
        sizes = flat.abs().amax(1, keepdim=True).clamp(min=1e-8)
        unit = torch.cat((flat / sizes, self._range))
        y: Tensor = torch.ops.quantized.linear_dynamic(unit, self._packed, True)[:-1] * sizes
        if self._bias is not None:
            y += self._bias
        return y.reshape(*x.shape[:-1], -1)


class Int8Embedding(nn.Module):
    """An embedding table with int8 rows, one scale each."""

    def __init__(self, rows: Tensor, scales: Tensor) -> None:
        super().__init__()
        self._rows, self._scales = rows, scales

    def forward(self, ids: Tensor) -> Tensor:  # [..] -> [.., D]
        return self._rows[ids].float() * self._scales[ids].unsqueeze(-1)


def convert(path: Path, folder: Path) -> None:
    """Write the int8 form of a Qwen2 or Qwen3 GGUF to `folder`, one tensor at a time.

    Raises:
        AssetError: the file is missing, damaged or of another architecture.
    """
    if not path.is_file():
        raise AssetError(f"no model file {path.name}: run `omni pull`", param=path.name)
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        config = AutoConfig.from_pretrained(**source)
        if config.model_type not in ("qwen2", "qwen3"):
            raise ValueError(f"architecture {config.model_type}")
        reader = gguf.GGUFReader(path)
        config.tie_word_embeddings = all(t.name != "output.weight" for t in reader.tensors)
        weights = (
            (_name(t.name), torch.from_numpy(gguf.dequantize(t.data, t.tensor_type)))
            for t in reader.tensors
        )
        store(weights, config, AutoTokenizer.from_pretrained(**source), folder)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise AssetError(f"cannot convert {path.name}: {error}", param=path.name) from error


def store(weights: Iterable[tuple[str, Tensor]], config: Any, tokenizer: Any, folder: Path) -> None:
    """Write float weights, by transformers' names, in the int8 form.

    The folder appears only when complete; an older one of that name is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".int8-"))
    try:
        stored: dict[str, Tensor] = {}
        for name, weight in weights:
            stored.update(_quantise(name, weight.float()))
        save_file(stored, partial / "model.safetensors")
        _plain_config(config).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load(folder: Path) -> tuple[Any, Any]:
    """The model and its tokenizer from what `convert` wrote, for `TorchCore`."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    tensors = load_file(folder / "model.safetensors")
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            key = name if f"{name}.rows" in tensors else _TIED
            rows, scales = tensors[f"{key}.rows"], tensors[f"{key}.scales"]
            model.set_submodule(name, Int8Linear(rows, scales, tensors.get(f"{name}.bias")))
        elif isinstance(module, nn.Embedding):
            rows, scales = tensors[f"{name}.rows"], tensors[f"{name}.scales"]
            model.set_submodule(name, Int8Embedding(rows, scales))
    rest = {k: v for k, v in tensors.items() if k in model.state_dict()}
    model.load_state_dict(rest, assign=True)
    # Its frequencies are computed, not stored; on the meta device they were not.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


_TIED = "model.embed_tokens"  # what the head's weights are when it stores none of its own


def _quantise(name: str, weight: Tensor) -> dict[str, Tensor]:
    """What is stored for one float tensor: matrices as int8 rows with their scales."""
    if weight.ndim != 2:
        return {name: weight.clone()}
    scales = weight.abs().amax(1).clamp(min=1e-8) / 127
    stem = name.removesuffix(".weight")
    rows = (weight / scales[:, None]).round().to(torch.int8)
    return {f"{stem}.rows": rows, f"{stem}.scales": scales}


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
