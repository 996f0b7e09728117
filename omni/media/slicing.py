"""LLaVA-UHD slicing: how a picture of any aspect ratio becomes tiles a vision tower can read.

Hides which tiles a picture is cut into; the law is that every tile is a whole number of patches
and about `resolution`² pixels. Rules: MiniCPM-V image processor (minicpm-o 4.5, V 4.5, V 4.6).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Size = tuple[int, int]  # width, height
Pixels = NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True, slots=True, eq=False)
class Slicing:
    """What the vision tower was trained on."""

    resolution: int = 448
    patch: int = 14


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a picture of one size is cut; `grid` is None when the overview alone is enough."""

    overview: Size
    grid: tuple[int, int] | None = None  # columns, rows
    cell: Size | None = None

    @property
    def refined(self) -> Size | None:
        """The size the picture is resized to before it is cut into cells."""
        if self.grid is None or self.cell is None:
            return None
        return self.cell[0] * self.grid[0], self.cell[1] * self.grid[1]

    @property
    def num_tiles(self) -> int:
        return 1 + (self.grid[0] * self.grid[1] if self.grid else 0)


def plan(size: Size, max_slices: int, slicing: Slicing = Slicing()) -> Plan:
    """Decide the tiles of a picture of `size` with at most `max_slices` slices (1: never cut)."""
    grid = best_grid(size, max_slices, slicing)
    if grid is None:
        return Plan(_fitted(*size, slicing))
    is_large = size[0] * size[1] > slicing.resolution**2
    overview = _fitted(*size, slicing) if is_large else _whole_patches(*size, slicing)
    columns, rows = grid
    cell = (_multiple(size[0], columns) / columns, _multiple(size[1], rows) / rows)
    return Plan(overview, grid, _fitted(*cell, slicing))


def best_grid(size: Size, max_slices: int, slicing: Slicing) -> tuple[int, int] | None:
    """The (columns, rows) whose aspect ratio is nearest to the picture's; the first one wins."""
    width, height = size
    wanted = min(math.ceil(width * height / slicing.resolution**2), max_slices)
    if wanted <= 1:
        return None
    counts = [n for n in (wanted - 1, wanted, wanted + 1) if n != 1 and n <= max_slices]
    grids = [(m, n // m) for n in counts for m in range(1, n + 1) if n % m == 0]
    ratio = math.log(width / height)
    return min(grids, key=lambda grid: abs(ratio - math.log(grid[0] / grid[1])))


def cut(picture: Pixels, max_slices: int, slicing: Slicing = Slicing()) -> list[Pixels]:
    """Resize and cut an RGB picture: the overview first, then the cells row by row."""
    image = Image.fromarray(picture)
    chosen = plan(image.size, max_slices, slicing)
    tiles = [_resize(image, chosen.overview)]
    if chosen.grid and chosen.cell and chosen.refined:
        whole = _resize(image, chosen.refined)
        width, height = chosen.cell
        for top in range(0, whole.shape[0], height):
            for left in range(0, whole.shape[1], width):
                tiles.append(whole[top : top + height, left : left + width])
    return tiles


def patch_size(tile: Pixels, slicing: Slicing = Slicing()) -> tuple[int, int]:
    """Rows and columns of patches in a tile."""
    return tile.shape[0] // slicing.patch, tile.shape[1] // slicing.patch


def patches(tile: Pixels, slicing: Slicing = Slicing()) -> NDArray[np.float32]:
    """Normalise a tile to [-1, 1] and unfold it into rows of patches, the tower's input layout."""
    p = slicing.patch
    rows, columns = patch_size(tile, slicing)
    scaled = (tile.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    split = scaled.reshape(rows, p, columns, p, 3)
    return split.transpose(4, 1, 0, 2, 3).reshape(3, p, rows * columns * p)  # [3, P, L*P]


def _multiple(length: float, divisor: int) -> int:
    return max(round(length / divisor) * divisor, divisor)


def _fitted(width: float, height: float, slicing: Slicing) -> Size:
    """The size with this aspect ratio and the area the tower was trained on."""
    ratio = width / height
    rows = int(slicing.resolution / math.sqrt(ratio))
    return _whole_patches(int(rows * ratio), rows, slicing)


def _whole_patches(width: float, height: float, slicing: Slicing) -> Size:
    return _multiple(width, slicing.patch), _multiple(height, slicing.patch)


def _resize(image: Image.Image, size: Size) -> Pixels:
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
