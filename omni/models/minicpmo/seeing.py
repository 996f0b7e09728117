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
        for start in range(0, len(tiles), _TILES_A_PASS):
            embeds.extend(self.resampler(*self._look(tiles[start : start + _TILES_A_PASS])))
        return embeds

    @torch.inference_mode()
    def pack(self, films: Sequence[tuple[Sequence[Pixels], Sequence[int]]]) -> list[Tensor]:
        """Embed films, each as one: frames, and their times in 0.1 s. [queries, D] each"""
        embeds: list[Tensor] = []
        for pictures, times in films:
            tiles = [slicing.cut(picture, 1, self.slicing)[0] for picture in pictures]
            embeds.extend(self.resampler(*self._look(tiles), [list(times)]))
        return embeds

    def _look(self, tiles: Sequence[Pixels]) -> tuple[Tensor, Tensor]:
        """The tower's states of tiles [B, L, D], and their patch grids [B, 2]."""
        pixels = [torch.from_numpy(slicing.patches(tile, self.slicing)) for tile in tiles]
        sizes = torch.tensor([slicing.patch_size(tile, self.slicing) for tile in tiles])
        return self.tower(stack_pixels(pixels).to(self.resampler.query), sizes), sizes
