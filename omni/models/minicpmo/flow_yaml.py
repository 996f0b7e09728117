"""The official `flow.yaml`, read without building anything it names.

It is written for a loader that imports and calls whatever class a tag names. Here four class names
are known, as names of sections; every other tag is an error. Fields left out have the defaults of
the released constructors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from omni.errors import AssetError

_FLOW = {"output_size": 80, "spk_embed_dim": 192, "vocab_size": 5121}
_ENCODER = {
    "output_size": 256,
    "pre_lookahead_len": 3,
    "num_blocks": 6,
    "num_up_blocks": 4,
    "up_stride": 2,
    "attention_heads": 4,
    "linear_units": 2048,
}
_DECODER = {"inference_cfg_rate": 0.7}
_DIT = {"mlp_ratio": 4.0, "depth": 28, "num_heads": 8, "head_dim": 64, "hidden_size": 256}
_KNOWN: dict[str, dict[str, Any]] = {
    "CausalMaskedDiffWithXvec": _FLOW,
    "UpsampleConformerEncoderV2": _ENCODER,
    "CausalConditionalCFM": _DECODER,
    "DiT": _DIT,
}
# The vocoder is not in the file: the released code builds it with its defaults. So is the stream.
HIFT = {
    "in_channels": 80,
    "base_channels": 512,
    "f0_channels": 512,
    "nb_harmonics": 8,
    "sampling_rate": 24000,
    "nsf_alpha": 0.1,
    "nsf_sigma": 0.003,
    "nsf_voiced_threshold": 10,
    "upsample_rates": [8, 5, 3],
    "upsample_kernel_sizes": [16, 11, 7],
    "istft": {"n_fft": 16, "hop_len": 4},
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "source_resblock_kernel_sizes": [7, 7, 11],
    "source_resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "lrelu_slope": 0.1,
    "audio_limit": 0.99,
}
STREAM = {
    "lookahead": 3,
    "silence_token": 4218,
    "att_cache_keep": 100,
    "mel_cache_frames": 8,
    "source_cache_samples": 3840,
}
NUM_STEPS = 10


class _Loader(yaml.SafeLoader):
    """Plain YAML, and sections tagged with one of the known classes."""


def _section(loader: _Loader, class_name: str, node: yaml.Node) -> dict[str, Any]:
    name = class_name.rpartition(".")[2]
    if name not in _KNOWN or not isinstance(node, yaml.MappingNode):
        raise AssetError(f"flow.yaml wants to build {class_name}, which is not allowed", param=name)
    given = loader.construct_mapping(node, deep=True)
    return _KNOWN[name] | {str(key): value for key, value in given.items()}


def _refused(loader: _Loader, tag: str, node: yaml.Node) -> Any:
    raise AssetError(f"flow.yaml uses the tag !{tag}, which is not allowed", param=tag)


_Loader.add_multi_constructor("!new:", _section)
_Loader.add_multi_constructor("!", _refused)


def read_flow_yaml(path: Path) -> Mapping[str, Any]:
    """The tree that token2wav's `config.json` would hold.

    Raises:
        AssetError: a tag that is not known, a missing section or field, or no YAML at all.
    """
    try:
        tree = yaml.load(path.read_text(), Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise AssetError(f"{path.name} is not YAML: {error}", param=path.name) from error
    try:
        flow = tree["flow"]
        encoder, dit = flow["encoder"], flow["decoder"]["estimator"]
        return {
            "flow": {
                **flow,
                "inference_cfg_rate": flow["decoder"]["inference_cfg_rate"],
                "encoder": {**encoder, "dim": encoder["output_size"]},
                "dit": {
                    **dit,
                    "hidden": dit["hidden_size"],
                    "out_channels": dit.get("out_channels", flow["output_size"]),
                },
            },
            "n_timesteps": NUM_STEPS,
            "hift": HIFT,
            "stream": STREAM,
        }
    except (KeyError, TypeError) as error:
        raise AssetError(f"{path.name} has no {error}", param=path.name) from error
