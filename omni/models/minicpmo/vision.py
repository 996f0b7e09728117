"""SigLIP in NaViT style: pictures of any size side by side, each attending to its own patches.

Layers are transformers'; embedding and forward are ours, because positions are fractions of the
picture mapped onto the trained 70x70 grid. Tensor names are the checkpoint's (`vpm.`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer


class Embeddings(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        patch = int(config.patch_size)  # type: ignore[arg-type]  # a pair only in newer models
        self.side = int(config.image_size) // patch  # type: ignore[arg-type]
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, patch, patch)
        self.position_embedding = nn.Embedding(self.side**2, config.hidden_size)

    def forward(self, pixels: Tensor, sizes: Tensor) -> Tensor:
        """Rows of patches [B, 3, P, L*P] and patch grids [B, 2] to vectors [B, L, D]."""
        x: Tensor = self.patch_embedding(pixels).flatten(2).transpose(1, 2)  # [B, L, D]
        ids = pad_rows([position_ids(rows, cols, self.side) for rows, cols in sizes.tolist()])
        y: Tensor = x + self.position_embedding(ids.to(x.device))
        return y


class Encoder(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SiglipEncoderLayer(config) for _ in range(config.num_hidden_layers)
        )


class VisionTower(nn.Module):
    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor, sizes: Tensor) -> Tensor:
        """See pictures of different sizes in one pass.

        Args:
            pixels: rows of patches, zeros after the last one. [B, 3, P, L*P]
            sizes: rows and columns of patches of each picture. [B, 2]

        Returns:
            One vector a patch, zeros after the last one. [B, L, D]
        """
        x: Tensor = self.embeddings(pixels, sizes)
        valid = valid_rows(sizes.prod(1), x.shape[1]).to(x.device)  # [B, L]
        mask = None if valid.all() else valid[:, None, None].expand(-1, 1, x.shape[1], -1)
        for layer in self.encoder.layers:
            x = layer(x, mask)
        y: Tensor = self.post_layernorm(x) * valid[..., None]
        return y


def axis_ids(length: int, side: int) -> Tensor:
    """Trained grid line of each of `length` patches along one axis. [length]

    The step is a float32 tensor division, as in the released code: at lengths 25, 49, 50, 55 and
    58 ties round differently from Python's (and from transformers' helper).
    """
    step = (1 / torch.tensor(length, dtype=torch.int32)).item()
    fractions = torch.arange(0, 1 - 1e-6, step)
    return torch.bucketize(fractions, torch.arange(1 / side, 1.0, 1 / side), right=True)


def position_ids(rows: int, columns: int, side: int) -> Tensor:
    """Row of the position table of each patch, row by row. [rows * columns]"""
    return (axis_ids(rows, side)[:, None] * side + axis_ids(columns, side)).flatten()


def pad_rows(rows: list[Tensor]) -> Tensor:
    """Stack tensors of different lengths, zeros at the end. [B, L, ...]"""
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def valid_rows(lengths: Tensor, longest: int) -> Tensor:
    """True where a padded row is real. [B, L]"""
    return torch.arange(longest) < lengths.cpu()[:, None]


def stack_pixels(pictures: list[Tensor]) -> Tensor:
    """Rows of patches of several pictures, zero-padded to the longest. [B, 3, P, L*P]"""
    longest = max(picture.shape[-1] for picture in pictures)
    return torch.stack(
        [functional.pad(picture, (0, longest - picture.shape[-1])) for picture in pictures]
    )
