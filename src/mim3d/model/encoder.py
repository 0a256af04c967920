"""The hybrid encoder: three convolution stages, then a transformer, on the visible tokens of a crop.

Shapes: B batch, L tokens of a crop, K visible tokens, N = B * K, C channels, X Y Z space.
Source: Zhuang et al. 2025, arXiv:2404.15580; layer by layer as in the authors' released weights.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from mim3d.config import PATCH_SIDES, Architecture
from mim3d.errors import GeometryError
from mim3d.geometry import Triple, divide_exactly
from mim3d.model.blocks import Block, ConvBlock, init_weights, sincos_3d
from mim3d.model.depthwise import halo_index, slots_of
from mim3d.model.drop_path import drop_path, drop_rates
from mim3d.model.level_code import LevelCode
from mim3d.model.linear import Linear
from mim3d.model.patch_embed import PatchEmbed
from mim3d.model.patches import patchify, take_tokens, unpatchify

NUM_STAGES = 4


def strides_of(patch: Triple) -> list[Triple]:
    """Strides of the four patch embeddings, in all `patch` voxels; short axes are halved late."""
    assert all(side in PATCH_SIDES for side in patch)
    halvings = [side.bit_length() - 1 for side in patch]
    strides: list[Triple] = []
    for stage in range(NUM_STAGES):
        x, y, z = (2 if stage >= NUM_STAGES - count else 1 for count in halvings)
        strides.append((x, y, z))
    return strides


class Encoder(nn.Module):
    """Convolution stages and a transformer over visible tokens only.

    A crop of any size that the patch divides is taken; position codes follow its grid.
    """

    def __init__(self, patch: Triple, architecture: Architecture, drop_path: float = 0.0) -> None:
        """Make it with new weights.

        Args:
            patch: Voxels of a token.
            architecture: Sizes.
            drop_path: While learning, chance that the last block is left out for a crop, less for those
                below.
        """
        super().__init__()
        dims, depths, ratio = architecture.dims, architecture.depths, architecture.mlp_ratio
        self.patch, self.dim = patch, dims[3]
        self.strides = strides_of(patch)
        self.embeds = nn.ModuleList(
            PatchEmbed(stride, dim_in, dim)
            for stride, dim_in, dim in zip(self.strides, (architecture.channels, *dims), dims, strict=False)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(ConvBlock(dims[stage], ratio) for _ in range(depths[stage]))
            for stage in range(NUM_STAGES - 1)
        )
        self.skips = nn.ModuleList(
            Linear(dims[stage] * volume, self.dim) for stage, volume in enumerate(self._volumes()[:-1])
        )
        self.linear = Linear(self.dim, self.dim)
        self.blocks = nn.ModuleList(Block(self.dim, architecture.num_heads, ratio) for _ in range(depths[3]))
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)
        self.apply(init_weights)
        self.level_code = LevelCode(architecture.embedded_levels, self.dim)
        self.drop_rates = drop_rates(drop_path, sum(depths))

    def layers(self) -> list[list[nn.Module]]:
        """All modules, in groups from the input to the output: three stages, then block by block.

        The fourth embedding and what places tokens are a group of their own; what comes after the last block
        belongs to it.
        """
        stages = [[embed, stage] for embed, stage in zip(self.embeds, self.stages, strict=False)]
        placed = [self.embeds[-1], self.linear, self.level_code]
        groups: list[list[nn.Module]] = [*stages, placed, *([block] for block in self.blocks)]
        groups[-1] = [*groups[-1], *self.skips, self.norm]
        return groups

    def forward(self, crops: Tensor, visible: Tensor, level: int | None = None) -> Tensor:
        """Encode (B, C, X, Y, Z) intensities at token index (B, K) into latents (B, K, C).

        Args:
            crops: (B, C, X, Y, Z), intensities in [0, 1].
            visible: (B, K); K may be 0.
            level: Which one the crops are of; None if of none.

        Raises:
            GeometryError: If a side of the crops is no multiple of the patch's.
        """
        grid = self._grid(crops)
        if visible.shape[1] == 0:
            return crops.new_zeros(len(crops), 0, self.dim)
        *convolved, embedded = self._stages(crops, visible)
        return self._transform(convolved, self._placed(embedded, visible, grid, level))

    def features(self, volume: Tensor, level: int | None = None) -> list[Tensor]:
        """Features of a whole volume (B, C, X, Y, Z), nothing hidden, one map a stage.

        Args:
            volume: (B, C, X, Y, Z), intensities in [0, 1].
            level: Which one the voxels are of; None if of none.

        Returns:
            Four maps (B, C_i, X / s, Y / s, Z / s), at strides 2, 4, 8 and 16 voxels for patches of 16.

        Raises:
            GeometryError: If the volume is of another form, or a side of it is no multiple of the patch's.
        """
        if volume.dim() != 5:
            shape = tuple(volume.shape)
            raise GeometryError(f"volumes (B, C, X, Y, Z) are needed, got {shape}; add axes")
        grid = self._grid(volume)
        count = grid[0] * grid[1] * grid[2]
        everything = torch.arange(count, device=volume.device).expand(volume.shape[0], -1)
        *convolved, embedded = self._stages(volume, everything)
        latents = self._transform(convolved, self._placed(embedded, everything, grid, level))  # (B, L, C)
        cubes = [stage.reshape(volume.shape[0], count, *stage.shape[1:]) for stage in convolved]
        cubes.append(latents[:, :, None, None, None])
        return [unpatchify(cube, grid) for cube in cubes]

    def _stages(self, crops: Tensor, visible: Tensor) -> Iterator[Tensor]:
        """Yield the visible tokens' cubes (N, x, y, z, C_i) after each stage."""
        grid = self._grid(crops)
        cubes = take_tokens(patchify(crops, self.patch), visible).flatten(0, 1)  # (N, x, y, z, C)
        slots, rates = slots_of(visible, grid[0] * grid[1] * grid[2]), iter(self.drop_rates)
        for stage, embed in enumerate(self.embeds):
            cubes = embed(cubes)
            if stage < len(self.stages):
                x, y, z = cubes.shape[1:4]
                index = halo_index(visible, slots, grid, (x, y, z))
                for block in cast(nn.ModuleList, self.stages[stage]):
                    cubes = self._dropping(block(cubes, index), cubes, next(rates), len(crops))
            yield cubes

    def _placed(self, embedded: Tensor, visible: Tensor, grid: Triple, level: int | None) -> Tensor:
        """The embedded cubes (N, 1, 1, 1, C) as tokens (B, K, C), told where they lie and on which level."""
        position = sincos_3d(grid, self.dim).to(self.norm.weight)
        tokens = self.linear(embedded.reshape(*visible.shape, self.dim)) + position[visible]  # (B, K, C)
        placed: Tensor = self.level_code(tokens, level)
        return placed

    def _transform(self, convolved: list[Tensor], tokens: Tensor) -> Tensor:
        """Latents (B, K, C) of placed tokens (B, K, C) and the stages' cubes (N, x, y, z, C_i)."""
        rates = self.drop_rates[len(self.drop_rates) - len(self.blocks) :]
        for block, rate in zip(self.blocks, rates, strict=True):
            tokens = self._dropping(block(tokens), tokens, rate, len(tokens))
        for skip, cubes in zip(self.skips, convolved, strict=True):
            tokens = tokens + skip(cubes.flatten(1)).reshape(tokens.shape)
        latents: Tensor = self.norm(tokens)
        return latents

    def _dropping(self, out: Tensor, into: Tensor, rate: float, crops: int) -> Tensor:
        """A block's output while the network is used, and, for some crops, its input while it learns."""
        return drop_path(out, into, rate, crops) if self.training else out

    def _grid(self, crops: Tensor) -> Triple:
        x, y, z = crops.shape[2:]
        return divide_exactly((x, y, z), self.patch, "crop")

    def _volumes(self) -> list[int]:
        """Voxels of a token's cube after each patch embedding."""
        volumes = [self.patch[0] * self.patch[1] * self.patch[2]]
        for stride in self.strides:
            volumes.append(volumes[-1] // (stride[0] * stride[1] * stride[2]))
        return volumes[1:]
