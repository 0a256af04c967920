"""Residual blocks against MONAI's with the same weights."""

import pytest
import torch
from monai.networks.blocks import UnetResBlock, UnetrUpBlock
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.residual import Convolution, ResidualBlock, UpBlock


def first(maps: Tensor) -> Tensor:
    """Channels first."""
    return maps.movedim(-1, 1)


def fill(ours: ResidualBlock, weights: dict[str, Tensor], prefix: str = "") -> None:
    """Give ours the weights of a block of MONAI's."""
    with torch.no_grad():
        ours.conv1.weight.copy_(weights[f"{prefix}conv1.conv.weight"])
        ours.conv2.weight.copy_(weights[f"{prefix}conv2.conv.weight"])
        if ours.shortcut is not None:
            ours.shortcut.weight.copy_(weights[f"{prefix}conv3.conv.weight"].flatten(1))


@pytest.mark.parametrize("dims", [(3, 5), (4, 4), (1, 8)])
def test_a_block_is_monais(dims: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs, ours = UnetResBlock(3, *dims, 3, 1, "instance").double(), ResidualBlock(*dims).double()
    fill(ours, theirs.state_dict())
    maps = torch.randn(2, 6, 5, 4, dims[0], dtype=torch.float64)
    found, expected = ours(maps), theirs(first(maps))
    torch.testing.assert_close(first(found), expected)
    signal = torch.randn_like(expected)
    torch.autograd.backward((first(found) * signal).sum())
    torch.autograd.backward((expected * signal).sum())
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    torch.testing.assert_close(ours.conv1.weight.grad, gradients["conv1.conv.weight"])
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("stride", [(2, 2, 2), (2, 1, 2), (1, 1, 1)])
def test_an_up_block_is_monais(stride: Triple) -> None:
    torch.manual_seed(0)
    theirs = UnetrUpBlock(3, 6, 4, 3, stride, "instance", res_block=True).double()
    ours = UpBlock(6, 4, stride).double()
    weights = theirs.state_dict()
    assert isinstance(ours.block, ResidualBlock)
    fill(ours.block, weights, "conv_block.")
    with torch.no_grad():  # (C, C', x, y, z) as rows of a cell's voxels
        ours.enlarge.weight.copy_(weights["transp_conv.conv.weight"].permute(2, 3, 4, 1, 0).flatten(0, 3))
    below = torch.randn(1, 2, 3, 2, 6, dtype=torch.float64)
    skip = torch.randn(1, *(n * s for n, s in zip((2, 3, 2), stride, strict=True)), 4, dtype=torch.float64)
    torch.testing.assert_close(first(ours(below, skip)), theirs(first(below), first(skip)))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("stride", [(2, 2, 2), (2, 2, 1)])
def test_a_stride_makes_maps_smaller_and_its_shortcut_averages(stride: Triple) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(3, 3, stride).double()
    nn.init.zeros_(block.conv2.weight)  # leaves the shortcut alone
    maps = torch.randn(1, 4, 6, 8, 3, dtype=torch.float64)
    found = block(maps)
    assert found.shape == (1, *(n // s for n, s in zip((4, 6, 8), stride, strict=True)), 3)
    torch.testing.assert_close(first(found), F.leaky_relu(F.avg_pool3d(first(maps), stride), 0.01))


@pytest.mark.parametrize("dim_in", [1, 4])
def test_a_convolution_is_pytorchs_and_keeps_channels_last_in_memory(dim_in: int) -> None:
    torch.manual_seed(0)
    convolution, maps = Convolution(dim_in, 8, (2, 1, 1)), torch.rand(2, 8, 7, 6, dim_in)
    found = convolution(maps)
    assert found.is_contiguous()
    expected = F.conv3d(first(maps), convolution.weight, stride=(2, 1, 1), padding=1)
    torch.testing.assert_close(first(found), expected)
    torch.autograd.backward(found.square().sum())
    assert convolution.weight.grad is not None
    (gradient,) = torch.autograd.grad(expected.square().sum(), convolution.weight)
    torch.testing.assert_close(convolution.weight.grad, gradient, rtol=1e-4, atol=1e-4)
