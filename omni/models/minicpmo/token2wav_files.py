"""The files of token2wav: the official `flow.yaml`, `flow.pt` and `hift.pt`, or their plain form.

The plain form is `config.json` and safetensors. Law: every tensor is accounted for, as in the main
checkpoint; `.pt` files are read by torch's reader of bare tensors, which runs nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omni.errors import AssetError, ConfigError
from omni.models.minicpmo.checkpoint import load_into
from omni.models.minicpmo.flow_encoder import EncoderDims
from omni.models.minicpmo.flow_matching import DiTDims
from omni.models.minicpmo.flow_yaml import read_flow_yaml
from omni.models.minicpmo.hift import HiFT, HiFTDims
from omni.models.minicpmo.token2wav import Flow, StreamDims, Token2Wav, Token2WavDims

_NOISE_FRAMES = 30000
_NOISE_SEED = 0


def load_token2wav(folder: Path, device: torch.device, noise: Tensor | None = None) -> Token2Wav:
    """Read a token2wav folder, in float32.

    Args:
        noise: the flow's starting point [frames, mels]; drawn once from a fixed seed if None.

    Raises:
        ConfigError, AssetError: as for the main checkpoint.
    """
    tree, ending = _read_tree(folder)
    dims = parse_dims(tree)
    with torch.device("meta"):
        flow, hift = Flow(dims), HiFT(dims.hift)
    load_into(flow, [folder / f"flow{ending}"], device, torch.float32)
    load_into(hift, [folder / f"hift{ending}"], device, torch.float32)
    return Token2Wav(dims, flow, hift, fixed_noise(dims) if noise is None else noise)


def read_dims(folder: Path) -> Token2WavDims:
    """The sizes of a token2wav folder. Raises as `load_token2wav` does."""
    tree, _ = _read_tree(folder)
    return parse_dims(tree)


def fixed_noise(dims: Token2WavDims) -> Tensor:
    """Where every flow starts, the same in every process. [frames, mels]"""
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    return torch.randn(_NOISE_FRAMES, dims.dit.num_mels, generator=generator)


def _read_tree(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The sizes, and how the names of the weight files end."""
    plain, official = folder / "config.json", folder / "flow.yaml"
    if plain.is_file():
        tree: Mapping[str, Any] = json.loads(plain.read_text())
        return tree, ".safetensors"
    if official.is_file():
        return read_flow_yaml(official), ".pt"
    raise AssetError(f"{folder} has neither flow.yaml nor config.json", param="token2wav")


def parse_dims(tree: Mapping[str, Any]) -> Token2WavDims:
    """Split the tree of token2wav's `config.json`.

    Raises:
        ConfigError: a missing field; `param` names it.
    """
    try:
        flow, stream = tree["flow"], tree["stream"]
        return Token2WavDims(
            num_codes=flow["vocab_size"],
            speaker_size=flow["spk_embed_dim"],
            encoder=_encoder(flow["encoder"]),
            dit=_dit(flow),
            hift=_hift(tree["hift"]),
            stream=StreamDims(
                num_steps=tree["n_timesteps"],
                lookahead=stream["lookahead"],
                silence_code=stream["silence_token"],
                kept_frames=stream["att_cache_keep"],
                mel_frames=stream["mel_cache_frames"],
                overlap_samples=stream["source_cache_samples"],
            ),
        )
    except KeyError as missing:
        name = str(missing.args[0])
        raise ConfigError(f"token2wav's config.json has no {name}", param=name) from missing


def _encoder(tree: Mapping[str, Any]) -> EncoderDims:
    return EncoderDims(
        size=tree["dim"],
        heads=tree["attention_heads"],
        ffn=tree["linear_units"],
        num_token_layers=tree["num_blocks"],
        num_frame_layers=tree["num_up_blocks"],
        lookahead=tree["pre_lookahead_len"],
        stride=tree["up_stride"],
    )


def _dit(tree: Mapping[str, Any]) -> DiTDims:
    dit = tree["dit"]
    return DiTDims(
        num_mels=dit["out_channels"],
        size=dit["hidden"],
        depth=dit["depth"],
        heads=dit["num_heads"],
        head_size=dit["head_dim"],
        ffn=int(dit["hidden"] * dit["mlp_ratio"]),
        guidance=tree["inference_cfg_rate"],
    )


def _hift(tree: Mapping[str, Any]) -> HiFTDims:
    return HiFTDims(
        num_mels=tree["in_channels"],
        channels=tree["base_channels"],
        f0_channels=tree["f0_channels"],
        num_harmonics=tree["nb_harmonics"],
        rate_hz=tree["sampling_rate"],
        sine_amplitude=tree["nsf_alpha"],
        noise_amplitude=tree["nsf_sigma"],
        voiced_above_hz=tree["nsf_voiced_threshold"],
        up_rates=tuple(tree["upsample_rates"]),
        up_kernels=tuple(tree["upsample_kernel_sizes"]),
        fft=tree["istft"]["n_fft"],
        hop=tree["istft"]["hop_len"],
        kernels=tuple(tree["resblock_kernel_sizes"]),
        dilations=tuple(map(tuple, tree["resblock_dilation_sizes"])),
        source_kernels=tuple(tree["source_resblock_kernel_sizes"]),
        source_dilations=tuple(map(tuple, tree["source_resblock_dilation_sizes"])),
        slope=tree["lrelu_slope"],
        limit=tree["audio_limit"],
    )
