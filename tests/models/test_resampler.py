"""Laws of the resampler; its numbers are in the golden pack (tests/models/minicpmo)."""

import pytest
import torch

from omni.models.resampler import Resampler, sin_cos, table_2d

QUERIES, SIZE, INPUT = 4, 256, 32


@pytest.fixture
def resampler() -> Resampler:
    generator = torch.Generator().manual_seed(0)
    module = Resampler(QUERIES, SIZE, INPUT)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return module.eval().requires_grad_(False)


def frames(num: int, length: int) -> torch.Tensor:
    return torch.randn(num, length, INPUT, generator=torch.Generator().manual_seed(1))


SIZES = torch.tensor([[2, 3]] * 4)


def test_one_vector_set_a_picture_and_one_a_group(resampler: Resampler) -> None:
    x = frames(4, 6)
    assert resampler(x, SIZES).shape == (4, QUERIES, SIZE)
    assert resampler(x, SIZES, [[0, 1, 2], [5]]).shape == (2, QUERIES, SIZE)


def test_pictures_are_groups_of_one_without_time(resampler: Resampler) -> None:
    x = frames(4, 6)
    assert torch.equal(resampler(x, SIZES), resampler(x, SIZES, [[-1]] * 4))


def test_order_of_frames_matters(resampler: Resampler) -> None:
    x = frames(4, 6)
    turned = resampler(x.flip(0), SIZES, [[0, 1, 2, 3]])
    assert (resampler(x, SIZES, [[0, 1, 2, 3]]) - turned).abs().max() > 1e-2


def test_frames_with_their_times_may_come_in_any_order(resampler: Resampler) -> None:
    x = frames(4, 6)
    turned = resampler(x.flip(0), SIZES, [[3, 2, 1, 0]])
    torch.testing.assert_close(resampler(x, SIZES, [[0, 1, 2, 3]]), turned, atol=1e-4, rtol=1e-4)


def test_padding_does_not_matter(resampler: Resampler) -> None:
    x = frames(4, 9)
    x[:, 6:] = 0
    noisy = x.clone()
    noisy[:, 6:] = 100
    assert torch.equal(resampler(x, SIZES), resampler(noisy, SIZES))
    assert torch.equal(
        resampler(x, SIZES, [[0, 1], [2, 3]]), resampler(noisy, SIZES, [[0, 1], [2, 3]])
    )


def test_a_group_does_not_depend_on_its_neighbours(resampler: Resampler) -> None:
    x = frames(4, 6)
    together = resampler(x, SIZES, [[0, 1, 2], [7]])
    alone = resampler(x[3:], SIZES[3:], [[7]])
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)


def test_closing_a_group_early_equals_packing_what_came(resampler: Resampler) -> None:
    """Frames of one unit are packed as they come; the group is closed at the unit's end."""
    x = frames(4, 6)
    longer = resampler(x, SIZES, [[10, 11], [20, 21]])
    first = resampler(x[:2], SIZES[:2], [[10, 11]])
    torch.testing.assert_close(longer[:1], first, atol=1e-4, rtol=1e-4)


def test_wrong_number_of_times_is_refused(resampler: Resampler) -> None:
    with pytest.raises(ValueError, match="3 temporal ids for 4 frames"):
        resampler(frames(4, 6), SIZES, [[0, 1], [2]])


def test_positions_put_the_column_first() -> None:
    table = table_2d(5, 16)
    assert torch.equal(table[2, 4, :8], sin_cos(4, 8))
    assert torch.equal(table[2, 4, 8:], sin_cos(2, 8))
