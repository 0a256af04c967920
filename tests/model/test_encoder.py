"""The encoder on visible tokens, against a plain dense one that computes every voxel, as the release does."""

import math
from dataclasses import replace
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.config import Architecture
from mim3d.errors import GeometryError
from mim3d.geometry import Triple
from mim3d.model.blocks import ConvBlock, sincos_3d
from mim3d.model.encoder import Encoder, strides_of
from mim3d.model.patch_embed import PatchEmbed
from mim3d.model.patches import take_tokens

ARCHITECTURE = Architecture(
    dims=(12, 14, 16, 18), depths=(1, 2, 1, 1), num_heads=2, mlp_ratio=2, decoder_dim=12, decoder_heads=2
)
GRIDS = st.tuples(*[st.integers(1, 3)] * 3)
PATCHES = st.sampled_from([(8, 8, 8), (16, 16, 8), (8, 4, 2), (4, 1, 16), (2, 2, 2)])


def channels_last(layer: nn.Module, maps: Tensor) -> Tensor:
    return cast(Tensor, layer(maps.movedim(1, -1))).movedim(-1, 1)


def strided(layer: nn.Linear, maps: Tensor, stride: Triple) -> Tensor:
    """A linear layer on disjoint cells as the convolution it stands for."""
    kernel = layer.weight.reshape(layer.out_features, *stride, -1).permute(0, 4, 1, 2, 3)
    return F.conv3d(maps, kernel, layer.bias, stride)


def dense_block(block: ConvBlock, maps: Tensor, shown: Tensor) -> Tensor:
    mixed = shown * channels_last(block.conv1, channels_last(block.norm1, maps))
    mixed = F.conv3d(mixed, block.depthwise.weight, block.depthwise.bias, padding=2, groups=maps.shape[1])
    maps = maps + channels_last(block.conv2, mixed)
    hidden = F.gelu(channels_last(block.mlp.fc1, channels_last(block.norm2, maps)))
    return maps + channels_last(block.mlp.fc2, hidden)


def dense(encoder: Encoder, crops: Tensor, visible: Tensor) -> list[Tensor]:
    """The three convolution stages' maps (B, C_i, x, y, z), and the latents (B, K, C)."""
    grid = tuple(s // p for s, p in zip(crops.shape[2:], encoder.patch, strict=True))
    shown = crops.new_zeros(len(crops), math.prod(grid)).scatter(1, visible, 1.0).reshape(-1, 1, *grid)
    maps, stages, skipped = crops, [], []
    for stage, embed in enumerate(cast(list[PatchEmbed], encoder.embeds)):
        maps = F.gelu(channels_last(embed.norm, strided(embed.project, maps, embed.stride)))
        if stage < 3:
            for block in cast(list[ConvBlock], encoder.stages[stage]):
                maps = dense_block(block, maps, F.interpolate(shown, size=maps.shape[2:]))
            stages.append(maps)
            x, y, z = (m // g for m, g in zip(maps.shape[2:], grid, strict=True))
            skipped.append(strided(cast(nn.Linear, encoder.skips[stage]), maps, (x, y, z)))
    tokens = encoder.linear(maps.flatten(2).transpose(1, 2))  # (B, L, C)
    tokens = take_tokens(tokens + sincos_3d((grid[0], grid[1], grid[2]), encoder.dim), visible)
    for transformer in encoder.blocks:
        tokens = transformer(tokens)
    tokens = tokens + sum(take_tokens(skip.flatten(2).transpose(1, 2), visible) for skip in skipped)
    return [*stages, encoder.norm(tokens)]


def made(patch: Triple, channels: int = 1, dtype: torch.dtype = torch.float64) -> Encoder:
    """An encoder in which no tensor is trivial."""
    torch.manual_seed(0)
    encoder = Encoder(patch, replace(ARCHITECTURE, channels=channels)).to(dtype)
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


@settings(deadline=None, max_examples=20)
@given(
    grid=GRIDS,
    patch=PATCHES,
    batch=st.integers(1, 2),
    channels=st.integers(1, 2),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    data=st.data(),
)
def test_visible_tokens_alone_give_the_latents_and_gradients_of_all(
    grid: Triple, patch: Triple, batch: int, channels: int, dtype: torch.dtype, data: st.DataObject
) -> None:
    count = math.prod(grid)
    kept = data.draw(st.integers(1, count))
    visible = torch.tensor([data.draw(st.permutations(range(count)))[:kept] for _ in range(batch)])
    encoder = made(patch, channels, dtype)
    size = [g * p for g, p in zip(grid, patch, strict=True)]
    crops = torch.rand(batch, channels, *size, dtype=dtype, requires_grad=True)
    inputs = [crops, *encoder.parameters()]

    expected = dense(encoder, crops, visible)[-1]
    signal = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * signal).sum(), inputs)
    found = encoder(crops, visible)
    ours = torch.autograd.grad((found * signal).sum(), inputs)

    tolerance = 1e-4 if dtype is torch.float32 else 1e-9
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    least = 1e-2 * max(
        float(gradient.abs().max()) for gradient in gradients
    )  # key biases: 0 but for rounding
    for gradient, of_ours in zip(gradients, ours, strict=True):
        assert (of_ours - gradient).abs().max() <= tolerance * max(float(gradient.abs().max()), least)


@settings(deadline=None, max_examples=10)
@given(grid=GRIDS, patch=PATCHES)
def test_features_are_the_dense_maps_with_nothing_hidden(grid: Triple, patch: Triple) -> None:
    encoder = made(patch, channels=2)
    volume = torch.rand(2, 2, *(g * p for g, p in zip(grid, patch, strict=True)), dtype=torch.float64)
    everything = torch.arange(math.prod(grid)).expand(2, -1)
    found = encoder.features(volume)
    *maps, latents = dense(encoder, volume, everything)
    maps.append(latents.transpose(1, 2).reshape(2, -1, *grid))
    for ours, expected in zip(found, maps, strict=True):
        torch.testing.assert_close(ours, expected)
    masked_path = encoder(volume, everything)
    torch.testing.assert_close(found[-1].flatten(2).transpose(1, 2), masked_path)


def test_what_is_hidden_is_not_seen() -> None:
    encoder = made((8, 8, 8))
    crops = torch.rand(1, 1, 16, 16, 24, dtype=torch.float64)
    other = crops.clone()
    other[..., :8, 8:, 16:] = -7  # token 5
    visible = torch.tensor([[0, 7, 2, 11, 4, 10]])
    assert torch.equal(encoder(crops, visible), encoder(other, visible))
    with_it = torch.tensor([[0, 7, 2, 5, 4, 10]])
    assert not torch.allclose(encoder(crops, with_it), encoder(other, with_it))


def test_the_order_of_visible_tokens_is_that_of_the_latents() -> None:
    encoder = made((8, 8, 8))
    crops = torch.rand(2, 1, 16, 16, 24, dtype=torch.float64)
    visible = torch.tensor([[0, 7, 2, 5], [3, 1, 9, 11]])
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(encoder(crops, visible[:, order]), encoder(crops, visible)[:, order])


@pytest.mark.parametrize(
    ("patch", "size", "shapes"),
    [
        ((16, 16, 16), (32, 48, 16), [(16, 24, 8), (8, 12, 4), (4, 6, 2), (2, 3, 1)]),
        ((16, 16, 8), (32, 32, 16), [(16, 16, 16), (8, 8, 8), (4, 4, 4), (2, 2, 2)]),
        ((16, 16, 4), (32, 16, 8), [(16, 8, 8), (8, 4, 8), (4, 2, 4), (2, 1, 2)]),
        ((8, 8, 8), (16, 16, 8), [(16, 16, 8), (8, 8, 4), (4, 4, 2), (2, 2, 1)]),
    ],
)
def test_features_come_at_four_strides(patch: Triple, size: Triple, shapes: list[Triple]) -> None:
    maps = made(patch, dtype=torch.float32).features(torch.rand(1, 1, *size))
    assert [tuple(features.shape) for features in maps] == [
        (1, dim, *shape) for dim, shape in zip(ARCHITECTURE.dims, shapes, strict=True)
    ]


@pytest.mark.parametrize(
    ("patch", "strides"),
    [
        ((16, 16, 16), [(2, 2, 2)] * 4),
        ((16, 16, 8), [(2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((16, 16, 4), [(2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2)]),
        ((8, 2, 1), [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 2, 1)]),
    ],
)
def test_short_axes_are_halved_late(patch: Triple, strides: list[Triple]) -> None:
    assert strides_of(patch) == strides


def test_a_volume_that_is_no_multiple_is_refused() -> None:
    message = r"crop \(8, 8, 12\) must be a positive multiple of \(8, 8, 8\); the nearest is \(8, 8, 16\)"
    encoder, volume = made((8, 8, 8)), torch.zeros(1, 1, 8, 8, 12, dtype=torch.float64)
    with pytest.raises(GeometryError, match=message):
        encoder.features(volume)
    with pytest.raises(GeometryError, match=message):
        encoder(volume, torch.tensor([[0]]))


def test_mixed_precision_stays_near() -> None:
    encoder = made((8, 8, 8), dtype=torch.float32)
    crops, visible = torch.rand(2, 1, 16, 16, 16), torch.tensor([[0, 3, 5], [1, 2, 7]])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(crops, visible)
    torch.autograd.backward(rounded.float().square().sum())
    torch.testing.assert_close(rounded.float(), encoder(crops, visible), atol=0.15, rtol=0.1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_base_has_as_many_parameters_as_the_paper() -> None:
    with torch.device("meta"):
        encoder = Encoder((16, 16, 16), Architecture())
    skips = sum(p.numel() for p in encoder.skips.parameters())
    assert round(skips / 1e6, 2) == 12.39
    assert round((sum(p.numel() for p in encoder.parameters()) - skips) / 1e6, 2) == 21.50
