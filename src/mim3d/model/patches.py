"""Crops to patches and back, tokens chosen by index: the one token order of the project.

Shapes: B batch, L tokens of a crop, K chosen tokens, P voxels per patch, C channels, X Y Z space.
Tokens are counted in raster order (X, Y, Z), Z fastest; so are the voxels of a patch.
"""

import math

import torch
from torch import Tensor

from mim3d.errors import GeometryError
from mim3d.geometry import Triple, divide_exactly


def patchify(crops: Tensor, patch: Triple) -> Tensor:
    """Cut (B, C, X, Y, Z) into (B, L, x, y, z, C), one cube of `patch` voxels a token.

    Raises:
        GeometryError: If a side of the crop is not a multiple of the patch's.
    """
    batch, channels, *size = crops.shape
    gx, gy, gz = divide_exactly((size[0], size[1], size[2]), patch, "crop")
    px, py, pz = patch
    cubes = crops.reshape(batch, channels, gx, px, gy, py, gz, pz)
    cubes = cubes.permute(0, 2, 4, 6, 3, 5, 7, 1)  # (B, gx, gy, gz, x, y, z, C)
    return cubes.reshape(batch, gx * gy * gz, px, py, pz, channels)


def unpatchify(cubes: Tensor, grid: Triple) -> Tensor:
    """Put (B, L, x, y, z, C) together into (B, C, X, Y, Z) on a grid of `grid` tokens.

    Raises:
        GeometryError: If there are not as many tokens as the grid has.
    """
    batch, count, px, py, pz, channels = cubes.shape
    if count != math.prod(grid):
        raise GeometryError(f"{count} tokens do not fill a grid of {grid}, which has {math.prod(grid)}")
    gx, gy, gz = grid
    volume = cubes.reshape(batch, gx, gy, gz, px, py, pz, channels)
    volume = volume.permute(0, 7, 1, 4, 2, 5, 3, 6)  # (B, C, gx, x, gy, y, gz, z)
    return volume.reshape(batch, channels, gx * px, gy * py, gz * pz)


def take_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, L, ...) at index (B, K): (B, K, ...)."""
    batch = torch.arange(index.shape[0], device=index.device)
    return tokens[batch[:, None], index]


def pool_cells(features: Tensor, cells: Triple, cell: Triple) -> Tensor:
    """Mean feature of every cell: (B, L, D) to (B, cells, D), cells in raster order."""
    batch, _, dim = features.shape
    (nx, ny, nz), (cx, cy, cz) = cells, cell
    blocks = features.reshape(batch, nx, cx, ny, cy, nz, cz, dim)
    return blocks.mean(dim=(2, 4, 6)).reshape(batch, nx * ny * nz, dim)


def index_of(chosen: Tensor) -> Tensor:
    """Raster numbers (B, K) of the True entries of (B, L), ascending.

    Raises:
        GeometryError: If the rows have different numbers of True entries.
    """
    counts = chosen.sum(dim=1)
    if not bool((counts == counts[0]).all()):
        raise GeometryError(f"every crop of a level needs the same number of tokens, got {counts.tolist()}")
    return chosen.nonzero()[:, 1].reshape(chosen.shape[0], -1)
