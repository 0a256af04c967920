"""The encoder with nothing hidden, in PyTorch's plain operations: what other programs can be given.

The encoder gathers visible tokens by index and has backward passes of its own: neither traces well. With
nothing hidden the gathered convolution is the dense one with zero padding, and the rest looks at one voxel or
one token at a time, so the numbers are the encoder's up to rounding.

Shapes: B batch, L tokens, C channels, X Y Z space.
"""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.geometry import Triple, divide_exactly
from mim3d.model.blocks import Block, ConvBlock, sincos_3d
from mim3d.model.depthwise import HALO
from mim3d.model.encoder import Encoder
from mim3d.model.patch_embed import PatchEmbed
from mim3d.model.patches import patchify, unpatchify


class DenseEncoder(nn.Module):
    """`Encoder.features` of crops of one size, under the encoder's own parameters.

    Raises:
        GeometryError: If a side of the crop is no multiple of the patch's.
    """

    position: Tensor

    def __init__(self, encoder: Encoder, crop: Triple) -> None:
        super().__init__()
        self.encoder, self.strides = encoder, encoder.strides
        self.grid = divide_exactly(crop, encoder.patch, "crop")
        self.register_buffer("position", sincos_3d(self.grid, encoder.dim).to(encoder.norm.weight))

    def features(self, volume: Tensor) -> list[Tensor]:
        """(B, C, X, Y, Z) intensities in [0, 1] to four maps (B, C_i, X / s, Y / s, Z / s)."""
        encoder, maps = self.encoder, volume.movedim(1, -1)  # (B, X, Y, Z, C)
        found, skipped = [], torch.zeros(())
        for embed, stage, skip in zip(encoder.embeds, encoder.stages, encoder.skips, strict=False):
            maps = _embed(maps, cast(PatchEmbed, embed))
            for block in cast(nn.ModuleList, stage):
                maps = _convolve(maps, cast(ConvBlock, block))
            found.append(maps.movedim(-1, 1))
            skipped = skipped + skip(self._tokens(found[-1]))  # (B, L, C)
        embedded = _embed(maps, cast(PatchEmbed, encoder.embeds[-1]))
        tokens = encoder.linear(embedded.flatten(1, 3)) + self.position  # (B, L, C)
        tokens = encoder.level_code(tokens, None)
        for block in encoder.blocks:
            tokens = cast(Block, block)(tokens)
        latents = encoder.norm(tokens + skipped)
        return [*found, unpatchify(latents[:, :, None, None, None], self.grid)]

    def _tokens(self, maps: Tensor) -> Tensor:
        """(B, C, X, Y, Z) to one row a token, (B, L, x * y * z * C)."""
        x, y, z = (size // count for size, count in zip(maps.shape[2:], self.grid, strict=True))
        return patchify(maps, (x, y, z)).flatten(2)


def plain(network: nn.Module, crop: Triple) -> nn.Module:
    """A copy of a network for crops of one size, its encoder in plain operations; in evaluation mode."""
    copy = deepcopy(network)
    for name, module in list(copy.named_children()):
        if isinstance(module, Encoder):
            setattr(copy, name, DenseEncoder(module, crop))
    return copy.eval()


def _embed(maps: Tensor, embed: PatchEmbed) -> Tensor:
    """(B, X, Y, Z, C) to (B, X', Y', Z', C')."""
    rows = _cells(maps, embed.stride)
    normed: Tensor = embed.norm(embed.project(rows))
    return F.gelu(normed)


def _cells(maps: Tensor, stride: Triple) -> Tensor:
    """Disjoint cells as rows: (B, X, Y, Z, C) to (B, X', Y', Z', sx * sy * sz * C)."""
    batch, x, y, z, dim = maps.shape
    sx, sy, sz = stride
    cells = maps.reshape(batch, x // sx, sx, y // sy, sy, z // sz, sz, dim)
    return cells.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


def _convolve(maps: Tensor, block: ConvBlock) -> Tensor:
    """A convolution block, (B, X, Y, Z, C) to the same."""
    before = block.conv1(block.norm1(maps)).movedim(-1, 1)
    kernel = block.depthwise
    mixed = F.conv3d(before, kernel.weight, kernel.bias, padding=HALO, groups=kernel.groups)
    middle = maps + block.conv2(mixed.movedim(1, -1))
    out: Tensor = middle + block.mlp(block.norm2(middle))
    return out
