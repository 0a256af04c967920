"""Patch embedding, with its own backward pass, against the same steps left to autograd."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mim3d.model.patch_embed import PatchEmbed

STRIDE = (2, 1, 2)


def built(dtype: torch.dtype = torch.float64) -> PatchEmbed:
    torch.manual_seed(0)
    embed = PatchEmbed(STRIDE, 3, 5).to(dtype)
    for parameter in embed.parameters():
        torch.nn.init.normal_(parameter)
    return embed


def strided(embed: PatchEmbed, cubes: Tensor) -> Tensor:
    kernel = embed.project.weight.reshape(5, *STRIDE, 3).permute(0, 4, 1, 2, 3)
    out = F.conv3d(cubes.movedim(-1, 1), kernel, embed.project.bias, STRIDE).movedim(1, -1)
    return F.gelu(embed.norm(out))


@given(piece=st.integers(1, 500), wanted=st.booleans())
def test_values_and_gradients_are_those_of_a_strided_convolution(piece: int, wanted: bool) -> None:
    embed = built()
    embed.piece = piece
    other, found = deepcopy(embed), []
    for network, function in ((embed, embed), (other, lambda cubes: strided(other, cubes))):
        torch.manual_seed(1)
        cubes = torch.randn(7, 4, 2, 6, 3, dtype=torch.float64, requires_grad=wanted)
        out = function(cubes)
        out.square().sum().backward()
        found.append([out, *(parameter.grad for parameter in network.parameters()), cubes.grad])
    for own, expected in zip(*found, strict=True):
        if own is None:
            assert not wanted
            assert expected is None
        else:
            torch.testing.assert_close(own, expected)


def test_cubes_in_any_layout() -> None:
    embed, cubes = built(), torch.randn(2, 6, 4, 2, 3, dtype=torch.float64).movedim(1, 3)
    torch.testing.assert_close(embed(cubes), strided(embed, cubes))


def test_no_crops_at_all() -> None:
    assert built()(torch.zeros(0, 4, 2, 6, 3, dtype=torch.float64)).shape == (0, 2, 2, 3, 5)


def test_another_precision_than_the_weights_is_refused() -> None:
    with pytest.raises(TypeError, match=r"crops are torch\.float32, weights torch\.float64"):
        built()(torch.zeros(1, 4, 2, 6, 3))


def test_mixed_precision_rounds_the_products_alone() -> None:
    embed, cubes = built(torch.float32), torch.rand(2, 4, 2, 6, 3)
    with torch.autocast("cpu", torch.bfloat16):
        out = embed(cubes)
        out.sum().backward()
    assert out.dtype == torch.float32
    assert embed.project.weight.grad is not None
    assert embed.project.weight.grad.dtype == torch.float32
    torch.testing.assert_close(out, strided(embed, cubes), atol=0.1, rtol=0.1)


def test_a_second_derivative_is_refused() -> None:
    embed, cubes = built(), torch.rand(1, 4, 2, 6, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(embed(cubes).square().sum(), cubes, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())
