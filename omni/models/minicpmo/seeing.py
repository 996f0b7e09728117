"""The eye: pictures to the LLM's embeddings, 64 a tile, those of all sessions together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from omni.media import slicing
from omni.media.slicing import Pixels, Slicing
from omni.models.minicpmo.vision import VisionTower, stack_pixels
from omni.models.resampler import Resampler

_TILES_A_PASS = 16


class Eye:
    def __init__(self, tower: VisionTower, resampler: Resampler, cutting: Slicing) -> None:
        self.tower = tower
        self.resampler = resampler
        self.slicing = cutting

    def see(self, pictures: Sequence[tuple[Pixels, int]]) -> list[list[Tensor]]:
        """Embed pictures, each with the most slices it may be cut into.

        Returns:
            For each picture its tiles, the overview first. [queries, D]
        """
        cut = [slicing.cut(pixels, limit, self.slicing) for pixels, limit in pictures]
        embeds = iter(self.tiles([tile for tiles in cut for tile in tiles]))
        return [[next(embeds) for _ in tiles] for tiles in cut]

    @torch.inference_mode()
    def tiles(self, tiles: Sequence[Pixels]) -> list[Tensor]:
        """Tower and resampler over finished tiles. [queries, D] each"""
        embeds: list[Tensor] = []
        like = self.resampler.query
        for start in range(0, len(tiles), _TILES_A_PASS):
            batch = tiles[start : start + _TILES_A_PASS]
            pixels = [torch.from_numpy(slicing.patches(tile, self.slicing)) for tile in batch]
            sizes = torch.tensor([slicing.patch_size(tile, self.slicing) for tile in batch])
            states = self.tower(stack_pixels(pixels).to(like), sizes)
            embeds.extend(self.resampler(states, sizes))
        return embeds
