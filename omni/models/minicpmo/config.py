"""The official flat `config.json` of MiniCPM-o, split into what each module needs.

Hides the layout of the file (the LLM's fields lie at its root) and transformers' renamed fields:
`rope_theta` must reach `rope_parameters`, or the rotation silently falls back to 10000.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from transformers import (
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
    SiglipVisionConfig,
    WhisperConfig,
)

from omni.errors import ConfigError
from omni.media.slicing import Slicing

_Config = TypeVar(
    "_Config", LlamaConfig, Qwen2Config, Qwen3Config, SiglipVisionConfig, WhisperConfig
)

_LLM_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip
_QWEN3_FIELDS = ("head_dim", "attention_bias")
# What the class of 2.6 has where its file says nothing.
_OLD_DEFAULTS = {
    "query_num": 64, "audio_pool_step": 2, "audio_chunk_length": 1.0,
    "drop_vision_last_layer": True, "slice_config": {"scale_resolution": 448, "patch_size": 14},
}  # fmt: skip
_SPEECH_FIELDS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings",
)  # fmt: skip
NO_SPEECH = "its speech path is not supported yet: replies are text only"
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
    llm: Qwen2Config | Qwen3Config
    vision: SiglipVisionConfig
    audio: WhisperConfig
    talker: SpeechConfig | None  # 2.6 has another, which is left out
    num_queries: int
    slicing: Slicing
    audio_pool: int  # encoder positions to one LLM embedding
    audio_chunk_s: float  # block of the offline encoder's chunk-causal mask

    @property
    def hidden_size(self) -> int:
        return int(self.llm.hidden_size)

    @property
    def speech(self) -> SpeechConfig:
        """Raises ConfigError if this version's speech path is not supported."""
        if self.talker is None:
            raise ConfigError(f"MiniCPM-o {self.version}: {NO_SPEECH}", param="version")
        return self.talker


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
    """Split the tree of a `config.json` of 4.5 or 2.6; see `read_config` for errors."""
    version = str(tree.get("version", "unknown"))
    if tree.get("model_type") != "minicpmo" or version not in ("4.5", "2.6"):
        raise ConfigError(
            f"this is {tree.get('model_type')} {version}; minicpmo 4.5 and 2.6 are supported",
            param="version",
        )
    is_old = version == "2.6"
    if is_old:
        tree = {**_OLD_DEFAULTS, **tree}
    try:
        slices = tree["slice_config"]
        return MiniCPMOConfig(
            version=version,
            llm=_old_llm(tree) if is_old else _llm(tree),
            vision=_vision(tree),
            audio=_sdpa(WhisperConfig(**_plain(tree["audio_config"]))),
            talker=None if is_old else _speech(tree["tts_config"]),
            num_queries=tree["query_num"],
            slicing=Slicing(slices["scale_resolution"], slices["patch_size"]),
            audio_pool=tree["audio_pool_step"],
            audio_chunk_s=tree["audio_chunk_length"],
        )
    except KeyError as missing:
        name = str(missing.args[0])
        raise ConfigError(f"config.json has no {name}", param=name) from missing


def _llm(tree: Mapping[str, Any]) -> Qwen3Config:
    fields = {name: tree[name] for name in (*_LLM_FIELDS, *_QWEN3_FIELDS)}
    return _sdpa(Qwen3Config(**fields, rope_parameters=_rope(tree), tie_word_embeddings=False))


def _old_llm(tree: Mapping[str, Any]) -> Qwen2Config:
    fields = {name: tree[name] for name in _LLM_FIELDS}
    return _sdpa(Qwen2Config(**fields, rope_parameters=_rope(tree), tie_word_embeddings=False))


def _rope(tree: Mapping[str, Any]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": float(tree["rope_theta"])}
    return rope | (tree.get("rope_scaling") or {})


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
