"""The convolution block in pieces, with its own backward pass, against the same steps left to autograd."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.blocks import ConvBlock
from mim3d.model.depthwise import halo_index, slots_of
from mim3d.model.patches import patchify, take_tokens

DIM = 3
GRID = (2, 1, 3)
SIDE = (2, 4, 1)


def built(dtype: torch.dtype = torch.float64) -> ConvBlock:
    torch.manual_seed(0)
    block = ConvBlock(DIM, 4).to(dtype)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


def dense(block: ConvBlock, cubes: Tensor, visible: Tensor) -> Tensor:
    """The block on whole crops that are zero where hidden: cubes (N, x, y, z, C) in and out."""
    batch, kept = visible.shape
    spread = cubes.new_zeros(batch, math.prod(GRID), *SIDE, DIM)
    rows = torch.arange(batch)[:, None]
    spread = spread.index_put((rows, visible), cubes.reshape(batch, kept, *SIDE, DIM))
    shown = torch.zeros_like(spread).index_put(
        (rows, visible), torch.ones_like(cubes).reshape(batch, kept, *SIDE, DIM)
    )
    before = block.conv1(block.norm1(spread)) * shown
    crops = before.reshape(batch, *GRID, *SIDE, DIM).permute(0, 7, 1, 4, 2, 5, 3, 6)
    crops = crops.reshape(batch, DIM, *(g * s for g, s in zip(GRID, SIDE, strict=True)))
    mixed = F.conv3d(crops, block.depthwise.weight, block.depthwise.bias, padding=2, groups=DIM)
    mixed = take_tokens(patchify(mixed, SIDE), visible).flatten(0, 1)
    middle = cubes + block.conv2(mixed)
    out: Tensor = middle + block.mlp(block.norm2(middle))
    return out


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Cubes, which tokens they are, and the halo index."""
    torch.manual_seed(1)
    visible = torch.tensor([[4, 0, 3, 1], [2, 5, 0, 1]])
    cubes = torch.randn(8, *SIDE, DIM, dtype=dtype, requires_grad=True)
    return cubes, visible, halo_index(visible, slots_of(visible, math.prod(GRID)), GRID, SIDE)


@settings(max_examples=20)
@given(piece=st.integers(1, 10_000))
def test_equals_the_same_steps_left_to_autograd_whatever_the_piece(piece: int) -> None:
    block, (cubes, visible, index) = built(), drawn()
    block.piece = piece
    ours, expected = block(cubes, index), dense(block, cubes, visible)
    torch.testing.assert_close(ours, expected)
    signal = torch.randn_like(expected)
    inputs = [cubes, *block.parameters()]
    found = torch.autograd.grad((ours * signal).sum(), inputs)
    for gradient, wanted in zip(found, torch.autograd.grad((expected * signal).sum(), inputs), strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_gradients_agree_with_finite_differences() -> None:
    block, (cubes, _, index) = built(), drawn()
    block.piece = 500
    assert torch.autograd.gradcheck(lambda x: block(x, index), (cubes,))


def test_nothing_is_kept_without_gradients() -> None:
    block, (cubes, _, index) = built(), drawn()
    with torch.no_grad():
        out = block(cubes, index)
    assert out.grad_fn is None
    torch.testing.assert_close(out, block(cubes, index).detach())


def test_mixed_precision_rounds_no_more_than_the_same_steps_left_to_autograd() -> None:
    block, (cubes, visible, index) = built(torch.float32), drawn(torch.float32)
    inputs = [cubes, *block.parameters()]
    exact = dense(block, cubes, visible)
    with torch.autocast("cpu", torch.bfloat16):
        ours, library = block(cubes, index), dense(block, cubes, visible)
    assert ours.dtype is torch.float32  # the residual path
    assert not torch.equal(ours, exact)
    assert (ours - exact).norm() <= 1.5 * (library - exact).norm()
    found, rounded, wanted = (torch.autograd.grad(out.sum(), inputs) for out in (ours, library, exact))
    for gradient, theirs, true in zip(found, rounded, wanted, strict=True):
        assert gradient.dtype is torch.float32
        assert (gradient - true).norm() <= 1.5 * (theirs - true).norm() + 1e-6 * true.norm()


@pytest.mark.parametrize("shape", [SIDE, (1, 1, 1)])
def test_a_token_alone_sees_itself(shape: Triple) -> None:
    visible = torch.tensor([[0]])
    index = halo_index(visible, slots_of(visible, 1), (1, 1, 1), shape)
    block = built()
    cubes = torch.randn(1, *shape, DIM, dtype=torch.float64)
    whole = F.conv3d(
        block.conv1(block.norm1(cubes)).permute(0, 4, 1, 2, 3),
        block.depthwise.weight,
        block.depthwise.bias,
        padding=2,
        groups=DIM,
    ).permute(0, 2, 3, 4, 1)
    middle = cubes + block.conv2(whole)
    torch.testing.assert_close(block(cubes, index), middle + block.mlp(block.norm2(middle)))


def test_cubes_in_any_layout() -> None:
    block, (cubes, _, index) = built(), drawn()
    strided = cubes.detach().movedim(1, 3).contiguous().movedim(3, 1).requires_grad_()
    assert not strided.is_contiguous()
    outputs = [block(given, index) for given in (strided, cubes)]
    torch.testing.assert_close(*outputs)
    for out in outputs:
        out.square().sum().backward()
    torch.testing.assert_close(strided.grad, cubes.grad)


def test_a_second_derivative_is_refused() -> None:
    block, (cubes, _, index) = built(), drawn()
    (gradient,) = torch.autograd.grad(block(cubes, index).square().sum(), cubes, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())
