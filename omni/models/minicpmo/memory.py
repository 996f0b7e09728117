"""What the brain takes of a device, and whether there is room for one more session.

Law: nothing is built to find out.
"""

from dataclasses import dataclass
from typing import Final

import torch

from omni.errors import AssetError, SessionCapacity
from omni.models.kv_cache import CacheShape
from omni.models.minicpmo.brain import Room
from omni.models.minicpmo.checkpoint import MiniCPMO, free_bytes
from omni.models.minicpmo.config import MiniCPMOConfig
from omni.models.minicpmo.hearing import Ear
from omni.models.minicpmo.hift import HiFT
from omni.models.minicpmo.token2wav import Flow, Token2Wav, Token2WavDims

GIB: Final = 1 << 30
_FLOAT_BYTES: Final = torch.float32.itemsize  # of the vocoder, whatever the others have


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """Of a checkpoint and its vocoder, and of all sessions, each grown as far as it can."""

    num_weights: int
    weights_bytes: int
    sessions_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.sessions_bytes

    def check(self, device: torch.device) -> None:
        """Raises AssetError if the device has not so much memory."""
        free = free_bytes(device)
        if self.total_bytes > free:
            raise AssetError(
                f"{device} has {free / GIB:.1f} GiB free and {self.total_bytes / GIB:.1f} are "
                f"needed: {self.weights_bytes / GIB:.1f} for {self.num_weights / 1e9:.2f} billion "
                f"weights, {self.sessions_bytes / GIB:.1f} for sessions, of which fewer or shorter "
                "ones take less",
                param="device",
            )


def needs(
    config: MiniCPMOConfig, dims: Token2WavDims, dtype: torch.dtype, room: Room, prompt_frames: int
) -> Needs:
    """Counted on modules without memory.

    Args:
        prompt_frames: of the recordings that voices are taken from.
    """
    with torch.device("meta"):
        model, flow, hift = MiniCPMO(config), Flow(dims), HiFT(dims.hift)
        vocoder = Token2Wav(dims, flow, hift, torch.empty(1, dims.dit.num_mels))
    main, *spoken = (
        sum(tensor.numel() for tensor in module.state_dict().values())
        for module in (model, flow, hift)
    )
    ear = Ear(model.apm, model.audio_projection_layer, config.audio_pool)
    session_bytes = (
        _row_bytes(model.llm.model, dtype) * room.context_tokens
        + _row_bytes(model.tts.model, dtype) * room.speech_tokens
        + ear.session_bytes // _FLOAT_BYTES * dtype.itemsize
        + vocoder.session_bytes(prompt_frames)
    )
    weights_bytes = main * dtype.itemsize + sum(spoken) * _FLOAT_BYTES
    return Needs(main + sum(spoken), weights_bytes, room.num_sessions * session_bytes)


def check_room(device: torch.device, session_bytes: int, held_bytes: list[int]) -> None:
    """Args:
        session_bytes: that a session grows to; a pass copies as much for a moment.
        held_bytes: that each open session holds by now.

    Raises:
        SessionCapacity: the memory that is left is promised.
    """
    promised = sum(max(0, session_bytes - held) for held in held_bytes)
    left, needed = free_bytes(device) - promised, 2 * session_bytes
    if left < needed:
        raise SessionCapacity(
            f"{device} has {max(0, left) / GIB:.1f} GiB left for sessions, and another needs "
            f"{needed / GIB:.1f}; try again soon"
        )


def _row_bytes(decoder: torch.nn.Module, dtype: torch.dtype) -> int:
    """Keys and values of one token."""
    shape = CacheShape.of(decoder)
    return 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * dtype.itemsize
