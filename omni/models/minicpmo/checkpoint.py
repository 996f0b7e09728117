"""The official checkpoint folder: which tensors there must be, and how they become a model.

Law: every tensor of the files is used, or known to be unused; a missing, unexpected or mis-shaped
one is an error that names it. Weights are read from safetensors only; no code of theirs runs.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Final, Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from omni.errors import AssetError
from omni.models.minicpmo.config import MiniCPMOConfig, read_config
from omni.models.minicpmo.hearing import AudioTower, Projector
from omni.models.minicpmo.speech import SpeechModel
from omni.models.minicpmo.vision import VisionTower
from omni.models.resampler import Resampler

Part = Literal["hear", "see", "think", "speak"]
Precision = Literal["int8", "int4"]

_UNUSED = re.compile(r"tts\.model\.embed_tokens\.weight|.*\.rotary_emb\.inv_freq")
_UNSPOKEN = re.compile(r"tts\..+|.*\.rotary_emb\.inv_freq")  # of 2.6: another speech model's
_WEIGHT_NORM = re.compile(r"(.+\.weight)(?:_g|_v)|(.+)\.parametrizations\.weight\.original[01]")
_QUANTIZED = re.compile(r"llm\.model\.layers\..*_proj\.weight")
_SMALLER = {"bfloat16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / 128}  # with a group's scale and zero
_GIB = 1 << 30


class MiniCPMO(nn.Module):
    """All modules under the checkpoint's names; each is used on its own."""

    def __init__(self, config: MiniCPMOConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.llm = _language_model(config.llm)
        self.vpm = VisionTower(config.vision)
        self.resampler = Resampler(config.num_queries, size, config.vision.hidden_size)
        self.apm = AudioTower(config.audio)
        self.audio_projection_layer = Projector(config.audio.d_model, size)
        if config.talker is not None:
            self.tts = SpeechModel(config.talker, size)


PARTS: Final[dict[Part, tuple[str, ...]]] = {
    "hear": ("apm.", "audio_projection_layer."),
    "see": ("vpm.", "resampler."),
    "think": ("llm.",),
    "speak": ("tts.",),
}
"""Which tensors each part of the work needs."""


def load(
    folder: Path, device: torch.device, dtype: torch.dtype, parts: Iterable[Part] = PARTS
) -> MiniCPMO:
    """Read an official folder (`config.json`, `model.safetensors` or its sharded form).

    Args:
        parts: what is wanted of it; the modules of the others stay empty, on the meta device.

    Raises:
        ConfigError: a wrong `config.json`.
        AssetError: a file or a tensor that is missing, unexpected or has another shape; or not
            enough memory on `device`.
    """
    config = read_config(folder)
    with torch.device("meta"):
        model = MiniCPMO(config)
    wanted = tuple(prefix for part in parts for prefix in PARTS[part])
    left_out = _UNUSED if config.talker else _UNSPOKEN
    load_into(model, weight_files(folder), device, dtype, wanted, left_out)
    return with_rotary_tables(model, device)


def with_rotary_tables(model: MiniCPMO, device: torch.device) -> MiniCPMO:
    """They are in no checkpoint, and those made on the meta device hold nothing."""
    config = model.config
    model.llm.model.rotary_emb = _rotary(config.llm).to(device)
    if config.talker is not None:
        model.tts.model.rotary_emb = LlamaRotaryEmbedding(config.talker.backbone).to(device)
    return model


def _language_model(config: Qwen2Config | Qwen3Config) -> Qwen2ForCausalLM | Qwen3ForCausalLM:
    if isinstance(config, Qwen2Config):
        return Qwen2ForCausalLM(config)
    return Qwen3ForCausalLM(config)


def _rotary(config: Qwen2Config | Qwen3Config) -> nn.Module:
    if isinstance(config, Qwen2Config):
        return Qwen2RotaryEmbedding(config)
    return Qwen3RotaryEmbedding(config)


def load_into(
    module: nn.Module,
    paths: Sequence[Path],
    device: torch.device,
    dtype: torch.dtype,
    prefixes: tuple[str, ...] = ("",),
    left_out: re.Pattern[str] = _UNUSED,
) -> None:
    """Give a module built on the meta device its weights; see `load` for errors.

    Args:
        prefixes: of the tensors to be read; the others are checked by name and shape, and stay
            on the meta device.
        left_out: names of tensors that may be there, and are not used.
    """
    every = {name: tensor.shape for name, tensor in module.state_dict().items()}
    wanted = {name: shape for name, shape in every.items() if name.startswith(prefixes)}
    _check_memory(wanted, device, dtype)
    found: dict[str, Tensor] = {}
    for name, tensor in _folded(_tensors(paths, device, prefixes)):
        if name not in every:
            if left_out.fullmatch(name):
                continue
            raise AssetError(f"unexpected tensor {name} {list(tensor.shape)}", param=name)
        if tensor.shape != every[name]:
            raise AssetError(
                f"tensor {name} is {list(tensor.shape)}, config.json wants {list(every[name])}",
                param=name,
            )
        found[name] = tensor.to(dtype)
    missing = sorted(every.keys() - found.keys())
    if missing:
        raise AssetError(
            f"{len(missing)} tensors are missing, the first is {missing[0]}", param=missing[0]
        )
    module.load_state_dict(found, assign=True)
    module.eval().requires_grad_(False)


def weight_files(folder: Path) -> list[Path]:
    """The one file, or the shards that the index names, each once."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    for name in names:
        if Path(name).name != name:
            raise AssetError(f"the index names {name}, outside its folder", param=name)
    return [folder / name for name in names]


def _tensors(
    paths: Sequence[Path], device: torch.device, prefixes: tuple[str, ...]
) -> Iterator[tuple[str, Tensor]]:
    """What the files hold; of tensors without one of the prefixes only name and shape."""
    for path in paths:
        if not path.is_file():
            raise AssetError(f"{path.parent} has no {path.name}", param=path.name)
        if path.suffix == ".pt":
            yield from _bare_tensors(path, device)
            continue
        with safe_open(path, framework="pt", device=str(device)) as file:
            for name in file.keys():  # noqa: SIM118  (it is no mapping)
                if name.startswith(prefixes):
                    yield name, file.get_tensor(name)
                else:
                    shape = file.get_slice(name).get_shape()
                    yield name, torch.empty(shape, device="meta")


def _bare_tensors(path: Path, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a torch file; anything else in it is refused, and nothing in it runs."""
    try:
        tensors = torch.load(path, map_location=device, weights_only=True)
    except UnpicklingError as error:
        raise AssetError(f"{path.name} holds more than tensors", param=path.name) from error
    for name, tensor in tensors.items():
        yield name.removeprefix("generator."), tensor


def _folded(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Join the two halves of a weight-normed matrix: g * v / |v|, row by row."""
    halves: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors:
        match = _WEIGHT_NORM.fullmatch(name)
        if match is None:
            yield name, tensor
            continue
        joined = match[1] or f"{match[2]}.weight"
        halves.setdefault(joined, {})[int(name.endswith(("_v", "1")))] = tensor
        if len(halves[joined]) == 2:
            g, v = (part.float() for _, part in sorted(halves.pop(joined).items()))
            dims = tuple(range(1, v.dim()))
            yield joined, g * v / v.norm(dim=dims, keepdim=True)
    for name in halves:
        raise AssetError(f"only one half of the weight-normed {name} is there", param=name)


def needed_bytes(folder: Path, dtype: torch.dtype) -> int:
    """Memory that all its weights take; reads names and shapes alone. Raises AssetError."""
    tensors = _tensors(weight_files(folder), torch.device("cpu"), ())
    return sum(tensor.numel() for _, tensor in tensors) * dtype.itemsize


def _check_memory(
    shapes: Mapping[str, torch.Size], device: torch.device, dtype: torch.dtype
) -> None:
    free, needed = free_bytes(device), _needed_bytes(shapes, dtype.itemsize, dtype.itemsize)
    if needed <= free:
        return
    smaller = {
        name: _needed_bytes(shapes, torch.bfloat16.itemsize, bytes_a_weight)
        for name, bytes_a_weight in _SMALLER.items()
    }
    fits = [f"{name} ({size / _GIB:.1f} GiB)" for name, size in smaller.items() if size <= free]
    advice = f"{fits[0]} would fit" if fits else "no smaller precision would fit either"
    raise AssetError(
        f"the weights need {needed / _GIB:.1f} GiB in {str(dtype).removeprefix('torch.')}, "
        f"{device} has {free / _GIB:.1f} GiB free; {advice}",
        param="checkpoint",
    )


def _needed_bytes(shapes: Mapping[str, torch.Size], rest: float, quantized: float) -> float:
    """Bytes for weights, by how many bytes one takes in the LLM's linear layers and elsewhere."""
    return sum(
        shape.numel() * (quantized if _QUANTIZED.fullmatch(name) else rest)
        for name, shape in shapes.items()
    )


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device, by this process."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise AssetError("this system does not say how much memory is free", param="checkpoint")
