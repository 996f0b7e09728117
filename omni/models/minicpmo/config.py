"""The official flat `config.json` of MiniCPM-o, split into what each module needs.

Hides the layout of the file (the LLM's fields lie at its root) and transformers' renamed fields:
`rope_theta` must reach `rope_parameters`, or the rotation silently falls back to 10000.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from transformers import LlamaConfig, Qwen3Config, SiglipVisionConfig, WhisperConfig

from omni.errors import ConfigError
from omni.media.slicing import Slicing

_Config = TypeVar("_Config", LlamaConfig, Qwen3Config, SiglipVisionConfig, WhisperConfig)

_LLM_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
    "attention_bias",
)  # fmt: skip
_SPEECH_FIELDS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings",
)  # fmt: skip
_SPEECH_ROPE_THETA = 10000.0
_SPEECH_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class SpeechConfig:
    """The speech language model: a Llama over LLM tokens and speech codes."""

    backbone: LlamaConfig
    num_text_tokens: int
    num_codes: int  # the last one ends the speech
    audio_bos_id: int
    text_eos_id: int
    chunk_codes: int  # said in a second
    lookahead: int  # codes the vocoder only looks at

    @property
    def eos_code(self) -> int:
        return self.num_codes - 1


@dataclass(frozen=True, slots=True, eq=False)
class MiniCPMOConfig:
    version: str
    llm: Qwen3Config
    vision: SiglipVisionConfig
    audio: WhisperConfig
    speech: SpeechConfig
    num_queries: int
    slicing: Slicing
    audio_pool: int  # encoder positions to one LLM embedding
    audio_chunk_s: float  # block of the offline encoder's chunk-causal mask

    @property
    def hidden_size(self) -> int:
        return int(self.llm.hidden_size)


def read_config(folder: Path) -> MiniCPMOConfig:
    """Read `config.json`.

    Raises:
        ConfigError: no such file, a missing field (`param` names it) or an unknown version.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{folder} has no config.json", param="checkpoint")
    return parse_config(json.loads(path.read_text()))


def parse_config(tree: Mapping[str, Any]) -> MiniCPMOConfig:
    """Split the tree of a 4.5 `config.json`; see `read_config` for errors."""
    version = str(tree.get("version", "unknown"))
    if tree.get("model_type") != "minicpmo" or version != "4.5":
        raise ConfigError(
            f"this is {tree.get('model_type')} {version}; only minicpmo 4.5 is supported",
            param="version",
        )
    try:
        slices = tree["slice_config"]
        return MiniCPMOConfig(
            version=version,
            llm=_llm(tree),
            vision=_vision(tree),
            audio=_sdpa(WhisperConfig(**_plain(tree["audio_config"]))),
            speech=_speech(tree["tts_config"]),
            num_queries=tree["query_num"],
            slicing=Slicing(slices["scale_resolution"], slices["patch_size"]),
            audio_pool=tree["audio_pool_step"],
            audio_chunk_s=tree["audio_chunk_length"],
        )
    except KeyError as missing:
        name = str(missing.args[0])
        raise ConfigError(f"config.json has no {name}", param=name) from missing


def _llm(tree: Mapping[str, Any]) -> Qwen3Config:
    rope = {"rope_type": "default", "rope_theta": float(tree["rope_theta"])}
    rope |= tree.get("rope_scaling") or {}
    fields = {name: tree[name] for name in _LLM_FIELDS}
    return _sdpa(Qwen3Config(**fields, rope_parameters=rope, tie_word_embeddings=False))


def _vision(tree: Mapping[str, Any]) -> SiglipVisionConfig:
    fields = _plain(tree["vision_config"])
    # The released code deletes the layer before saving, so the file does not have it either.
    fields["num_hidden_layers"] -= int(tree["drop_vision_last_layer"])
    return _sdpa(SiglipVisionConfig(**fields))


def _speech(tree: Mapping[str, Any]) -> SpeechConfig:
    if tree.get("attention_type", "full_attention") != "full_attention":
        raise ConfigError(
            f"speech attention {tree['attention_type']!r} is not supported",
            param="tts_config.attention_type",
        )
    backbone = LlamaConfig(
        **{name: tree[name] for name in _SPEECH_FIELDS},
        vocab_size=1,  # its own token table is never read
        bos_token_id=None,
        eos_token_id=None,
        rms_norm_eps=_SPEECH_NORM_EPS,
        rope_parameters={"rope_type": "default", "rope_theta": _SPEECH_ROPE_THETA},
    )
    return SpeechConfig(
        backbone=_sdpa(backbone),
        num_text_tokens=tree["num_text_tokens"],
        num_codes=tree["num_audio_tokens"],
        audio_bos_id=tree["audio_bos_token_id"],
        text_eos_id=tree["text_eos_token_id"],
        chunk_codes=tree["s3_stream_chunk_size"],
        lookahead=tree["s3_stream_prelook_size"],
    )


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A sub-config without the fields of the transformers that wrote it."""
    return {k: v for k, v in tree.items() if not k.startswith("_") and k != "torch_dtype"}


def _sdpa(config: _Config) -> _Config:
    config._attn_implementation = "sdpa"
    return config
