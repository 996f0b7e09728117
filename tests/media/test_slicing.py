"""Laws of slicing; golden geometry and pixels are in the pack (tests/models/minicpmo)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.media.slicing import Plan, Slicing, cut, patch_size, patches, plan

RULE = Slicing()
sides = st.integers(min_value=1, max_value=4000)


@given(width=sides, height=sides, limit=st.integers(min_value=1, max_value=9))
def test_tiles_are_whole_patches_of_about_the_trained_area(
    width: int, height: int, limit: int
) -> None:
    chosen = plan((width, height), limit)
    for side in (*chosen.overview, *(chosen.cell or ())):
        assert side % RULE.patch == 0
        assert side > 0
    assert chosen.num_tiles - 1 <= limit
    if chosen.grid is not None and chosen.cell is not None and 0.25 < width / height < 4:
        area = chosen.cell[0] * chosen.cell[1]
        assert 0.5 < area / RULE.resolution**2 < 1.5


@given(width=sides, height=sides)
def test_limit_of_one_never_cuts(width: int, height: int) -> None:
    assert plan((width, height), 1).grid is None


@given(width=st.integers(449, 2000), height=st.integers(449, 2000))
def test_grid_turns_with_the_picture(width: int, height: int) -> None:
    upright, lying = plan((width, height), 2).grid, plan((height, width), 2).grid
    if width != height and upright and lying:
        assert upright == lying[::-1]


def test_cells_tile_the_refined_picture_row_by_row() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    chosen = plan((900, 600), 9)
    overview, *cells = cut(picture, 9)
    assert chosen.grid is not None
    assert chosen.refined is not None
    columns, rows = chosen.grid
    assert len(cells) == columns * rows
    whole = np.vstack([np.hstack(cells[r * columns : (r + 1) * columns]) for r in range(rows)])
    assert whole.shape[1::-1] == chosen.refined
    assert overview.shape[1::-1] == chosen.overview


def test_small_picture_is_enlarged_whole() -> None:
    assert plan((100, 100), 9) == Plan((448, 448))


def test_patches_are_columns_in_reading_order() -> None:
    tile = np.random.default_rng(1).integers(0, 256, (28, 42, 3), np.uint8)
    rows = patches(tile)
    assert patch_size(tile) == (2, 3)
    assert rows.shape == (3, 14, 6 * 14)
    fourth = tile[14:28, 0:14].transpose(2, 0, 1) / np.float32(255) * 2 - 1
    np.testing.assert_allclose(rows[:, :, 3 * 14 : 4 * 14], fourth, atol=1e-6)
    assert rows.min() >= -1
    assert rows.max() <= 1


@pytest.mark.parametrize("limit", [1, 9])
def test_one_pixel_is_a_picture(limit: int) -> None:
    assert len(cut(np.zeros((1, 1, 3), np.uint8), limit)) == 1
