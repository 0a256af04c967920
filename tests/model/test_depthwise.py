"""Visible tokens only, against the dense convolution of crops that are zero where hidden."""

import math
from unittest.mock import patch

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model import depthwise
from mim3d.model.depthwise import convolve, correlate, halo_index, slots_of, tokens_of
from mim3d.model.patches import patchify, take_tokens

GRIDS = st.tuples(*[st.integers(1, 3)] * 3)
SIDES = st.sampled_from([(1, 1, 1), (2, 2, 2), (2, 2, 1), (4, 4, 2), (1, 2, 4), (8, 8, 8)])


def drawn_visible(data: st.DataObject, grid: Triple, batch: int) -> Tensor:
    """Some tokens of every crop, in any order: (B, K)."""
    count = math.prod(grid)
    kept = data.draw(st.integers(1, count))
    return torch.tensor([data.draw(st.permutations(range(count)))[:kept] for _ in range(batch)])


def shown_of(visible: Tensor, grid: Triple) -> Tensor:
    """1 where a token is visible: (B, 1, gx, gy, gz)."""
    shown = torch.zeros(len(visible), math.prod(grid), dtype=torch.float64).scatter(1, visible, 1.0)
    return shown.reshape(-1, 1, *grid)


def assert_close(found: Tensor | None, expected: Tensor | None, tolerance: float) -> None:
    assert found is not None
    assert expected is not None
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-3)


@settings(max_examples=30)
@given(
    grid=GRIDS,
    side=SIDES,
    batch=st.integers(1, 2),
    dim=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    piece=st.integers(1, 10_000),
    data=st.data(),
)
def test_equals_the_dense_convolution_in_value_and_gradient_of_the_weight(
    grid: Triple, side: Triple, batch: int, dim: int, dtype: torch.dtype, piece: int, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    visible = drawn_visible(data, grid, batch)
    crops = torch.randn(batch, dim, *(g * s for g, s in zip(grid, side, strict=True)), dtype=dtype)
    weight = torch.randn(dim, 1, 5, 5, 5, dtype=dtype, requires_grad=True)
    bias = torch.randn(dim, dtype=dtype)

    shown = F.interpolate(shown_of(visible, grid), size=crops.shape[2:]).to(dtype)
    dense = F.conv3d(crops * shown, weight, bias, padding=2, groups=dim)
    dense = take_tokens(patchify(dense, side), visible).flatten(0, 1)
    signal = torch.randn_like(dense)
    (expected,) = torch.autograd.grad((dense * signal).sum(), weight)

    cubes = take_tokens(patchify(crops, side), visible).flatten(0, 1)
    rows = torch.cat([cubes.reshape(-1, dim), cubes.new_zeros(1, dim)])
    index = halo_index(visible, slots_of(visible, math.prod(grid)), grid, side)
    tolerance = 1e-4 if dtype is torch.float32 else 1e-10
    assert_close(convolve(rows, weight.detach(), bias, index), dense.detach(), tolerance)
    with patch.object(depthwise, "KERNEL_PIECE", piece):
        assert_close(correlate(rows, signal, index), expected, tolerance)


def test_a_piece_holds_whole_tokens_and_at_least_one() -> None:
    index = torch.zeros(9, 6, 6, 6, dtype=torch.long)
    assert tokens_of(216 * 4 * 3, index, 4) == 3
    assert tokens_of(216 * 4 * 3 - 1, index, 4) == 2
    assert tokens_of(1, index, 4) == 1


def test_slots_count_visible_tokens_through_the_batch() -> None:
    visible = torch.tensor([[2, 0], [1, 3]])
    assert slots_of(visible, 4).tolist() == [[1, 4, 0, 4], [4, 2, 4, 3]]


def test_the_halo_of_a_lone_token_is_empty() -> None:
    visible = torch.tensor([[4]])
    index = halo_index(visible, slots_of(visible, 9), (1, 3, 3), (2, 1, 1))
    assert index.shape == (1, 6, 5, 5)
    assert index[0, 2:4, 2, 2].tolist() == [0, 1]
    assert (index == 2).sum() == index.numel() - 2


def test_the_gradient_of_a_weight_adds_up_in_float32() -> None:
    index = torch.full((300, 5, 5, 5), 0)
    rows, signal = torch.ones(2, 1, dtype=torch.bfloat16), torch.ones(300, 1, 1, 1, 1, dtype=torch.bfloat16)
    with patch.object(depthwise, "KERNEL_PIECE", 1):
        assert (correlate(rows, signal, index) == 300).all()  # in bfloat16 it would stay at 256
