"""One order of tokens: that of cells of a box."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mim3d.errors import GeometryError
from mim3d.geometry import Box, Triple, tokens_of_cell
from mim3d.model.patches import index_of, patchify, pool_cells, take_tokens, unpatchify

SIDES = st.tuples(*[st.integers(1, 4)] * 3)


def numbered(batch: int, channels: int, size: Triple) -> torch.Tensor:
    """Crops in which every voxel has a value of its own."""
    return torch.arange(batch * channels * math.prod(size)).reshape(batch, channels, *size)


@pytest.mark.parametrize(("extent", "inner"), [(192, 96), (96, 16)])
def test_token_order_is_cell_order(extent: int, inner: int) -> None:
    crop = numbered(1, 1, (extent,) * 3)
    tokens = patchify(crop, (inner,) * 3)[0]
    cells = Box((0, 0, 0), (extent,) * 3).split((extent // inner,) * 3)
    for token, cell in zip(tokens, cells, strict=True):
        assert torch.equal(token[..., 0], crop[0, 0][cell.slices])


@settings(deadline=None)
@given(grid=SIDES, patch=SIDES, batch=st.integers(1, 2), channels=st.integers(1, 2))
def test_patches_are_cells_and_go_back(grid: Triple, patch: Triple, batch: int, channels: int) -> None:
    size = (grid[0] * patch[0], grid[1] * patch[1], grid[2] * patch[2])
    crops = numbered(batch, channels, size)
    cubes = patchify(crops, patch)
    assert cubes.shape == (batch, math.prod(grid), *patch, channels)
    for number, cell in enumerate(Box((0, 0, 0), size).split(grid)):
        assert torch.equal(cubes[:, number], crops[:, :, *cell.slices].movedim(1, -1))
    assert torch.equal(unpatchify(cubes, grid), crops)


def test_a_crop_that_is_no_multiple_is_refused() -> None:
    message = r"crop \(8, 9, 8\) must be a positive multiple of \(4, 4, 4\); the nearest is \(8, 8, 8\)"
    with pytest.raises(GeometryError, match=message):
        patchify(torch.zeros(1, 1, 8, 9, 8), (4, 4, 4))


def test_tokens_that_do_not_fill_the_grid_are_refused() -> None:
    message = r"7 tokens do not fill a grid of \(2, 2, 2\), which has 8"
    with pytest.raises(GeometryError, match=message):
        unpatchify(torch.zeros(1, 7, 2, 2, 2, 1), (2, 2, 2))


def test_tokens_are_taken_in_the_order_asked_for() -> None:
    tokens = torch.arange(2 * 4 * 3).reshape(2, 4, 3)
    taken = take_tokens(tokens, torch.tensor([[3, 0], [1, 2]]))
    assert torch.equal(taken, torch.stack([tokens[0, [3, 0]], tokens[1, [1, 2]]]))


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.data())
def test_index_of_and_its_inverse(batch: int, count: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, count))
    rows = [sorted(data.draw(st.permutations(range(count)))[:kept]) for _ in range(batch)]
    chosen = torch.zeros(batch, count, dtype=torch.bool)
    for row, numbers in zip(chosen, rows, strict=True):
        row[numbers] = True
    assert index_of(chosen).tolist() == rows


def test_unequal_numbers_of_tokens_are_refused() -> None:
    message = r"every crop of a level needs the same number of tokens, got \[1, 2\]"
    with pytest.raises(GeometryError, match=message):
        index_of(torch.tensor([[True, False], [True, True]]))


@given(cells=SIDES, cell=SIDES, batch=st.integers(1, 2), seed=st.integers(0, 9))
def test_pooling_is_the_mean_of_a_cells_tokens(cells: Triple, cell: Triple, batch: int, seed: int) -> None:
    count = math.prod(cells) * math.prod(cell)
    features = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed))
    pooled = pool_cells(features, cells, cell)
    assert pooled.shape == (batch, math.prod(cells), 3)
    for index in range(math.prod(cells)):
        expected = features[:, list(tokens_of_cell(index, cells, cell))].mean(dim=1)
        torch.testing.assert_close(pooled[:, index], expected)
