"""Weights of the LLM's linear layers in 8 or 4 bits, through torchao; all else stays as it was.

Hides torchao, which is an extra (`pip install omni[minicpm-o]`). Embeddings, heads, projectors and
the other models keep their precision: they are small, and errors in them are heard.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from omni.errors import ConfigError
from omni.models.minicpmo.checkpoint import PARTS, MiniCPMO, Part, Precision, load

GROUP_SIZE = 128  # 4-bit weights that share a scale


def load_quantized(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    precision: Precision,
    parts: Iterable[Part] = PARTS,
) -> MiniCPMO:
    """As `checkpoint.load`, with the LLM's linear layers in 8 or 4 bits on `device`.

    The full weights pass through main memory, layer by layer, and never lie on the device.

    Raises:
        ConfigError: torchao is not installed.
        AssetError: as `load`.
    """
    wanted = tuple(parts)
    model = load(folder, torch.device("cpu"), dtype, wanted)
    if "think" in wanted:
        quantize(model.llm.model.layers, device, precision)
    for part in wanted:
        for prefix in PARTS[part]:
            model.get_submodule(prefix.rstrip(".")).to(device)
    return model


def quantize(module: nn.Module, device: torch.device, precision: Precision) -> None:
    """Replace the weights of every linear layer in `module`, which comes to lie on `device`.

    4 bits are packed for the GPU's kernels; elsewhere they take a byte each, with the same values.
    """
    try:
        from torchao.quantization import quantize_
    except ImportError as error:
        raise ConfigError(
            f"{precision} weights need torchao: pip install 'omni[minicpm-o]'", param="precision"
        ) from error
    quantize_(module, _torchao_config(precision, device), device=device)


def _torchao_config(precision: Precision, device: torch.device) -> Any:
    from torchao.quantization import (
        Int4WeightOnlyConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
    )

    if precision == "int8":
        return Int8WeightOnlyConfig()
    if device.type == "cuda":
        return Int4WeightOnlyConfig(GROUP_SIZE, int4_packing_format="tile_packed_to_4d")
    four_bits = torch.int4  # type: ignore[attr-defined]
    return IntxWeightOnlyConfig(weight_dtype=four_bits, granularity=PerGroup(GROUP_SIZE))
