"""What a stream of speech remembers: values, made for a voice and replaced window by window."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omni.models.minicpmo.flow_encoder import EncoderCache
from omni.models.minicpmo.flow_matching import DiTCache


@dataclass(frozen=True, slots=True, eq=False)
class VoicePrompt:
    """A reference recording: its codes, its mel at `stride` frames a code, its x-vector."""

    codes: tuple[int, ...]
    mel: Tensor  # [frames, mels]
    speaker: Tensor  # [speaker size]


@dataclass(frozen=True, slots=True, eq=False)
class FlowState:
    encoder: EncoderCache
    dit: DiTCache

    @property
    def num_bytes(self) -> int:
        rows = (self.encoder.tokens, self.encoder.frames, self.dit.attention, self.dit.convolution)
        return sum(tensor.nbytes for tensor in rows)


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """What every stream in this voice starts from."""

    speaker: Tensor  # [1, mels]
    num_frames: int  # of the prompt
    state: FlowState


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The end of what was made so far, which the next window begins with."""

    mel: Tensor  # [1, mels, frames]
    source: Tensor  # [1, samples]
    speech: Tensor  # [1, samples], not given out yet


def stacked(states: Sequence[FlowState]) -> FlowState:
    """Several sessions' states as one batch; their shapes are alike."""
    encoders, dits = [s.encoder for s in states], [s.dit for s in states]
    return FlowState(
        EncoderCache(
            torch.cat([e.lookahead for e in encoders]),
            torch.cat([e.up for e in encoders]),
            torch.cat([e.tokens for e in encoders], dim=1),
            torch.cat([e.frames for e in encoders], dim=1),
        ),
        DiTCache(
            torch.cat([d.attention for d in dits], dim=2),
            torch.cat([d.convolution for d in dits], dim=2),
        ),
    )


def picked(state: FlowState, i: int) -> FlowState:
    """One session's state out of a batch."""
    one, two = slice(i, i + 1), slice(2 * i, 2 * i + 2)
    e, d = state.encoder, state.dit
    return FlowState(
        EncoderCache(e.lookahead[one], e.up[one], e.tokens[:, one], e.frames[:, one]),
        DiTCache(d.attention[:, :, two], d.convolution[:, :, two]),
    )
