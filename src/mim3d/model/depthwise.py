"""Depthwise convolution over the visible tokens alone, equal to the dense masked one.

A masked crop is zero wherever a token is hidden, so a visible token's output needs its own cube of voxels
and a rim of `HALO` voxels, taken from visible neighbours and zero elsewhere. The work follows the share of
tokens visible; the numbers are those of the dense convolution, up to rounding.

Shapes: B batch, K visible tokens, N = B * K, C channels, x y z the side of a token's cube at this stage.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.geometry import Triple

KERNEL = 5
HALO = KERNEL // 2
KERNEL_PIECE = 2**20
"""Values of cubes with halos from which the gradient of a kernel is taken at once: each is read 125 times."""


def slots_of(visible: Tensor, num_tokens: int) -> Tensor:
    """Where each token's cube lies among the visible ones: (B, L), N where the token is hidden."""
    batch, kept = visible.shape
    slots = visible.new_full((batch, num_tokens), batch * kept)
    rows = torch.arange(batch * kept, device=visible.device).reshape(batch, kept)
    return slots.scatter_(1, visible, rows)


def halo_index(visible: Tensor, slots: Tensor, grid: Triple, side: Triple) -> Tensor:
    """Rows that make up every visible token's cube with its halo.

    Args:
        visible: (B, K), token numbers.
        slots: (B, L), from `slots_of`.
        grid: Tokens per axis.
        side: Voxels per axis of a token's cube at this stage.

    Returns:
        (N, x + 4, y + 4, z + 4), numbers of rows of (N * x * y * z, C); the number of rows itself means zero.
    """
    batch, kept = visible.shape
    place = (visible // (grid[1] * grid[2]), visible // grid[2] % grid[1], visible % grid[2])
    token = torch.zeros((batch, kept, 1, 1, 1), dtype=torch.long, device=visible.device)
    offset, inside = token, torch.ones_like(token, dtype=torch.bool)
    for axis in range(3):
        reach = torch.arange(-HALO, side[axis] + HALO, device=visible.device)
        voxel = place[axis][..., None] * side[axis] + reach  # (B, K, x + 4)
        shape = [batch, kept, 1, 1, 1]
        shape[2 + axis] = -1
        voxel = voxel.reshape(shape)
        inside = inside & (voxel >= 0) & (voxel < grid[axis] * side[axis])
        voxel = voxel.clamp(0, grid[axis] * side[axis] - 1)
        token = token * grid[axis] + voxel // side[axis]
        offset = offset * side[axis] + voxel % side[axis]
    volume = side[0] * side[1] * side[2]
    slot = slots.gather(1, token.reshape(batch, -1)).reshape(token.shape)
    empty = batch * kept * volume
    rows = torch.where(inside & (slot < batch * kept), slot * volume + offset, empty)
    return rows.flatten(0, 1)


def tokens_of(piece: int, index: Tensor, dim: int) -> int:
    """How many tokens' cubes with halos make up `piece` values of `dim` channels, at least one."""
    return max(1, piece // (math.prod(index.shape[1:]) * dim))


def convolve(rows: Tensor, weight: Tensor, bias: Tensor | None, index: Tensor) -> Tensor:
    """Depthwise convolution of some tokens' cubes with their halos.

    Args:
        rows: (N * x * y * z + 1, C), voxels of all visible tokens; the last row is zero.
        weight: (C, 1, 5, 5, 5).
        bias: (C,).
        index: (n, x + 4, y + 4, z + 4), of the n tokens that are wanted.

    Returns:
        (n, x, y, z, C).
    """
    halo = rows.index_select(0, index.flatten()).reshape(*index.shape, -1)
    out = F.conv3d(halo.permute(0, 4, 1, 2, 3), weight, bias, groups=rows.shape[1])  # (n, C, x, y, z)
    return out.permute(0, 2, 3, 4, 1)


def correlate(rows: Tensor, grad: Tensor, index: Tensor) -> Tensor:
    """Gradient of the weight of `convolve` from that of its output, for some tokens.

    It is a convolution too, with the gradient as kernel: on a CPU (never tried elsewhere) several
    times faster than PyTorch's gradient. Tokens lie between the planes of the first axis, and the stride
    steps over them, so that one output sums over them all.

    Args:
        rows: (N * x * y * z + 1, C), as in `convolve`.
        grad: (n, x, y, z, C).
        index: (n, x + 4, y + 4, z + 4).

    Returns:
        (C, 1, 5, 5, 5), in float32 at least.
    """
    dim = rows.shape[1]
    found = rows.new_zeros(dim, *(KERNEL,) * 3, dtype=torch.promote_types(rows.dtype, torch.float32))
    tokens = tokens_of(KERNEL_PIECE, index, dim)
    for some, signal in zip(torch.split(index, tokens), torch.split(grad, tokens), strict=True):
        halo = rows.index_select(0, some.transpose(0, 1).flatten())
        halo = halo.reshape(1, -1, *index.shape[2:], dim).permute(0, 4, 1, 2, 3)  # (1, C, (x + 4) * n, ...)
        kernel = signal.transpose(0, 1).flatten(0, 1).permute(3, 0, 1, 2)  # (C, x * n, y, z)
        found += F.conv3d(halo, kernel[:, None], stride=(len(some), 1, 1), groups=dim)[0]
    return found[:, None]
