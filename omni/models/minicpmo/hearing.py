"""The ear: Whisper's encoder that streams, its projector, and the pool that makes 10 vectors a s.

Layers are transformers'; the forward is ours, because theirs wants exactly 30 s. Law: a unit
streamed with context equals the same second of the offline path with chunk-causal attention.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from omni.models.minicpmo.kv import Batch, KeyValues
from omni.models.minicpmo.mel import PIECE_SAMPLES, MelChunk, clip

_POSITIONS_A_S = 50


class AudioTower(nn.Module):
    """Whisper's encoder, with the checkpoint's names (`apm.`)."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        size = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(size, size, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, size)
        layers = [WhisperEncoderLayer(config) for _ in range(config.encoder_layers)]
        for index, layer in enumerate(layers):
            layer.self_attn.layer_idx = index  # transformers leaves it out, and so its cache
        self.layers = nn.ModuleList(layers)
        self.layer_norm = nn.LayerNorm(size)

    def convolve(self, mel: Tensor) -> Tensor:
        """[B, 80, T] to [B, (T - 1) // 2 + 1, D]."""
        x: Tensor = functional.gelu(self.conv2(functional.gelu(self.conv1(mel))))
        return x.transpose(1, 2)

    def transform(self, x: Tensor, mask: Tensor | None, cache: Batch | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask, past_key_values=cache)
        y: Tensor = self.layer_norm(x)
        return y


class Projector(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(input_size, size)
        self.linear2 = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear2(functional.relu(self.linear1(x)))
        return y


class Ear:
    """The tower and its projector, which are neighbours in the checkpoint, as one function."""

    def __init__(self, tower: AudioTower, projector: Projector, pool: int) -> None:
        self.tower = tower
        self.projector = projector
        self.pool = pool

    @property
    def session_bytes(self) -> int:
        """What a session that has heard as long as it can remember takes."""
        return 2 * len(self.tower.layers) * self.tower.embed_positions.weight.nbytes

    @torch.inference_mode()
    def stream(self, pasts: Sequence[KeyValues], chunks: Sequence[MelChunk]) -> list[Tensor]:
        """Encode the next unit of several sessions after what each has heard before.

        Args:
            pasts: grow by the new positions; one that is full is dropped first.

        Returns:
            Encoder states of each session's unit. [positions, D]
        """
        table = self.tower.embed_positions.weight
        rows: list[Tensor] = []
        for past, chunk in zip(pasts, chunks, strict=True):
            # The released code counts the convolved frames before their context is cut.
            if len(past) + (chunk.frames.shape[1] - 1) // 2 + 1 >= len(table):
                past.clear()
            x = self.tower.convolve(chunk.frames.to(table)[None])[0]
            x = x[(chunk.left + 1) // 2 : len(x) - (chunk.right + 1) // 2]
            rows.append(x + table[len(past) : len(past) + len(x)])
        batch = Batch(pasts, [len(row) for row in rows])
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = batch.mask()
        hidden = self.tower.transform(
            padded, None if mask is None else mask.to(padded.device), batch
        )
        return [h[: len(row)] for h, row in zip(hidden, rows, strict=True)]

    @torch.inference_mode()
    def embed(self, hidden: Tensor) -> Tensor:
        """Encoder states [..., T, d] to LLM embeddings [..., T // pool, D]."""
        x: Tensor = self.projector(hidden).transpose(-1, -2)
        return functional.avg_pool1d(x, self.pool).transpose(-1, -2)

    @torch.inference_mode()
    def clips(self, clips: Sequence[Tensor], chunk_s: float | None) -> list[Tensor]:
        """Encode finished sounds in one pass.

        Args:
            clips: mono 16 kHz samples. [n]
            chunk_s: attention sees whole chunks of this length up to its own; None sees all.

        Returns:
            Embeddings of each clip. [about n / 1600, D]
        """
        table = self.tower.embed_positions.weight
        pieces = [clip(piece) for sound in clips for piece in torch.split(sound, PIECE_SAMPLES)]
        num_frames = [piece.shape[1] for piece in pieces]
        longest = max(num_frames)
        mel = torch.stack(
            [functional.pad(piece, (0, longest - piece.shape[1])) for piece in pieces]
        )
        x = self.tower.convolve(mel.to(table))  # [B, L, d]
        x = x + table[: x.shape[1]]
        mask = _offline_mask(x.shape[1], num_frames, chunk_s).to(x.device)
        embeds = self.embed(self.tower.transform(x, mask))
        kept = [
            e[: ((n - 1) // 2 + 1 - self.pool) // self.pool + 1]
            for e, n in zip(embeds, num_frames, strict=True)
        ]
        counts = [-(-len(sound) // PIECE_SAMPLES) for sound in clips]
        parts = iter(kept)
        return [torch.cat([next(parts) for _ in range(count)]) for count in counts]


def _offline_mask(length: int, num_frames: list[int], chunk_s: float | None) -> Tensor:
    """True where a position may look. [B, 1, length, length]

    The released code compares positions with frames, of which there are twice as many, so that
    it never hides the padding of a piece more than half as long as the longest.
    """
    at = torch.arange(length)
    visible = at < torch.tensor(num_frames)[:, None, None]  # [B, 1, L]
    if chunk_s is None:
        return visible[:, None].expand(-1, 1, length, -1)
    chunk = at // int(chunk_s * _POSITIONS_A_S)
    return (visible & (chunk <= chunk[:, None]))[:, None]
