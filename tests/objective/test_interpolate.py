"""Push and pull: what is known stays, what is not follows its surroundings."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.patches import index_of, patchify
from mim3d.objective.interpolate import hidden_blocks, push_pull

SIDES = st.tuples(*[st.integers(1, 6)] * 3)
PATCHES = st.tuples(*[st.sampled_from([2, 4, 8])] * 3)


def drawn(size: Triple, seed: int) -> tuple[Tensor, Tensor]:
    """Values of two crops with two channels, and which are known: always the first."""
    random = torch.Generator().manual_seed(seed)
    known = (torch.rand(2, 1, *size, generator=random) < 0.4).float()
    known[:, :, 0, 0, 0] = 1
    return torch.rand(2, 2, *size, generator=random), known


@given(size=SIDES, seed=st.integers(0, 99))
def test_what_is_known_stays_and_the_rest_lies_within_its_range(size: Triple, seed: int) -> None:
    values, known = drawn(size, seed)
    filled = push_pull(values, known)
    seen = known.bool().expand_as(values)
    assert torch.equal(filled[seen], values[seen])
    for row in range(2):
        for channel in range(2):
            of_it = values[row, channel][known[row, 0].bool()]
            assert filled[row, channel].min() >= of_it.min() - 1e-5
            assert filled[row, channel].max() <= of_it.max() + 1e-5


@given(size=SIDES, seed=st.integers(0, 99))
def test_what_is_not_known_has_no_say(size: Triple, seed: int) -> None:
    values, known = drawn(size, seed)
    other = torch.where(known.bool(), values, torch.rand(values.shape))
    assert torch.equal(push_pull(other, known), push_pull(values, known))


def test_by_hand_along_a_line() -> None:
    values = torch.tensor([1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0]).reshape(1, 1, 8, 1, 1)
    known = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]).reshape(1, 1, 8, 1, 1)
    # Halves of the line hold 2 (half of it known) and 5 (a quarter known); doubled, 2, 2.75, 4.25 and 5;
    # and doubled again, where nothing is known:
    expected = torch.tensor([1.0, 3.0, 2.5625, 3.125, 3.875, 4.4375, 5.0, 5.0]).reshape(1, 1, 8, 1, 1)
    torch.testing.assert_close(push_pull(values, known), expected)


def test_nothing_known_gives_nothing() -> None:
    assert not push_pull(torch.rand(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)).any()


@given(grid=st.tuples(*[st.integers(1, 3)] * 3), patch=PATCHES, seed=st.integers(0, 99))
def test_blocks_are_means_and_hidden_ones_are_filled_in(grid: Triple, patch: Triple, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    count = math.prod(grid)
    crops = torch.rand(2, 2, *(g * p for g, p in zip(grid, patch, strict=True)), generator=random)
    masked = torch.zeros(2, count, dtype=torch.bool)
    masked[0, count // 2] = masked[1, 0] = True
    hidden = index_of(masked)
    true, filled = hidden_blocks(crops, masked, hidden, patch)
    side = tuple(min(p, 4) for p in patch)
    for row in range(2):
        cube = patchify(crops, patch)[row, hidden[row, 0]].movedim(-1, 0)[None]  # (1, C, x, y, z)
        expected = F.avg_pool3d(cube, side)[0].movedim(0, -1)
        torch.testing.assert_close(true[row, 0], expected)
    assert filled.shape == true.shape
    shown = patchify(crops, patch)[~masked]
    if len(shown):
        assert filled.min() >= shown.min() - 1e-5
        assert filled.max() <= shown.max() + 1e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_two_flat_sides_lies_a_slope(axis: int) -> None:
    crop = torch.zeros(1, 1, 24, 24, 24)
    crop.narrow(2 + axis, 16, 8).fill_(1.0)
    crop.narrow(2 + axis, 8, 8).fill_(7.0)  # hidden: its value must not matter
    places = torch.arange(27).reshape(3, 3, 3).select(axis, 1).flatten()
    masked = torch.zeros(1, 27, dtype=torch.bool)
    masked[0, places] = True
    _, filled = hidden_blocks(crop, masked, index_of(masked), (8, 8, 8))
    middle = filled[0].mean(dim=(0, 4)).movedim(axis, 0).flatten(1).mean(dim=1)  # along the slope
    assert 0 < middle[0] < middle[1] < 1
