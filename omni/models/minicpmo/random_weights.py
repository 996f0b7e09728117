"""MiniCPM-o 4.5 in its official sizes with weights drawn at random: what speed is measured with.

Hides the sizes (the flat `config.json` as released, token2wav's `flow.yaml`) and a tokenizer that
knows the special tokens and little else. What such a model says means nothing; what it costs does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import torch
from tokenizers import Tokenizer, models
from torch import Tensor, nn

from omni.models.minicpmo.checkpoint import MiniCPMO, with_rotary_tables
from omni.models.minicpmo.config import MiniCPMOConfig, parse_config
from omni.models.minicpmo.flow_yaml import HIFT, NUM_STEPS, STREAM
from omni.models.minicpmo.hift import HiFT
from omni.models.minicpmo.token2wav import Flow, Token2Wav, Token2WavDims
from omni.models.minicpmo.token2wav_files import fixed_noise, parse_dims
from omni.models.minicpmo.tokens import STRINGS, Tokens
from omni.models.minicpmo.voice import VoicePrompt

STD: Final = 0.02
PROMPT_S: Final = 5  # of the recording that gives the voice
CODES_A_SECOND: Final = 25

CONFIG: Final[Mapping[str, Any]] = {
    "model_type": "minicpmo", "version": "4.5",
    "vocab_size": 151748, "hidden_size": 4096, "intermediate_size": 12288,
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "hidden_act": "silu", "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000, "rope_scaling": None, "attention_bias": False,
    "audio_chunk_length": 1.0, "audio_pool_step": 5, "query_num": 64,
    "drop_vision_last_layer": False,
    "slice_config": {"max_slice_nums": 1, "patch_size": 14, "scale_resolution": 448},
    "vision_config": {
        "hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16,
        "intermediate_size": 4304, "image_size": 980, "patch_size": 14,
    },
    "audio_config": {
        "d_model": 1024, "encoder_layers": 24, "encoder_attention_heads": 16,
        "encoder_ffn_dim": 4096, "num_mel_bins": 80, "max_source_positions": 1500,
    },
    "tts_config": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 20,
        "num_attention_heads": 12, "num_key_value_heads": 12, "max_position_embeddings": 4096,
        "num_text_tokens": 152064, "num_audio_tokens": 6562, "attention_type": "full_attention",
        "audio_bos_token_id": 151687, "text_eos_token_id": 151692,
        "s3_stream_chunk_size": 25, "s3_stream_prelook_size": 3,
    },
}  # fmt: skip
TOKEN2WAV: Final[Mapping[str, Any]] = {
    "flow": {
        "vocab_size": 6561, "spk_embed_dim": 192, "inference_cfg_rate": 0.7,
        "encoder": {
            "dim": 512, "attention_heads": 8, "linear_units": 2048, "num_blocks": 6,
            "num_up_blocks": 4, "pre_lookahead_len": 3, "up_stride": 2,
        },
        "dit": {
            "out_channels": 80, "hidden": 512, "depth": 16, "num_heads": 8, "head_dim": 64,
            "mlp_ratio": 4.0,
        },
    },
    "n_timesteps": NUM_STEPS, "hift": HIFT, "stream": STREAM,
}  # fmt: skip

Built = TypeVar("Built", bound=nn.Module)


def random_model(
    config: MiniCPMOConfig, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> MiniCPMO:
    """A model of these sizes, drawn on the device."""
    with torch.device("meta"):
        model = MiniCPMO(config)
    return with_rotary_tables(_drawn(model, device, dtype, seed), device)


def random_token2wav(dims: Token2WavDims, device: torch.device, seed: int = 0) -> Token2Wav:
    with torch.device("meta"):
        flow, hift = Flow(dims), HiFT(dims.hift)
    flow = _drawn(flow, device, torch.float32, seed)
    return Token2Wav(dims, flow, _drawn(hift, device, torch.float32, seed), fixed_noise(dims))


def random_voice(dims: Token2WavDims, device: torch.device, seed: int = 0) -> VoicePrompt:
    """A reference recording that nobody has spoken."""
    generator = torch.Generator().manual_seed(seed)
    num_codes = PROMPT_S * CODES_A_SECOND
    codes = torch.randint(dims.num_codes, (num_codes,), generator=generator)
    num_frames = num_codes * dims.encoder.stride
    mel = torch.randn(num_frames, dims.dit.num_mels, generator=generator)
    speaker = torch.randn(dims.speaker_size, generator=generator)
    return VoicePrompt(tuple(codes.tolist()), mel.to(device), speaker.to(device))


def official() -> tuple[MiniCPMOConfig, Token2WavDims]:
    """The sizes of the released 4.5."""
    return parse_config(CONFIG), parse_dims(TOKEN2WAV)


def placeholder_tokens() -> Tokens:
    """A tokenizer of the special tokens, so that units can be laid out; other ids have no text."""
    words = [*STRINGS.values(), "</s>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=STRINGS["unk"]))
    tokenizer.add_special_tokens(words)
    with TemporaryDirectory() as folder:
        tokenizer.save(str(Path(folder) / "tokenizer.json"))
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"unk_token": "<unk>"}))
        return Tokens(Path(folder))


def _drawn(module: Built, device: torch.device, dtype: torch.dtype, seed: int) -> Built:
    """Give a module on the meta device weights: matrices drawn, norms 1, biases 0."""
    generator = torch.Generator(device).manual_seed(seed)

    def draw(name: str, like: Tensor) -> Tensor:
        new = torch.empty(like.shape, dtype=dtype, device=device)
        if like.dim() > 1:
            return new.normal_(0, STD, generator=generator)
        return new.fill_(float(name.endswith("weight")))

    state = {name: draw(name, tensor) for name, tensor in module.state_dict().items()}
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)
