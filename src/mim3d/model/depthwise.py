"""Depthwise convolution over the visible tokens alone, equal to the dense masked one.

A masked crop is zero wherever a token is hidden, so a visible token's output needs its own cube of voxels
and a rim of `HALO` voxels, taken from visible neighbours and zero elsewhere. The work follows the share of
tokens visible; the numbers are those of the dense convolution, up to rounding.

Shapes: B batch, K visible tokens, N = B * K, C channels, x y z the side of a token's cube at this stage.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv3d_weight

from mim3d.geometry import Triple

KERNEL = 5
HALO = KERNEL // 2


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


class VisibleDepthwise(torch.autograd.Function):
    """Convolve cubes with their halos, gathered by index; the gradient gathers the same way.

    PyTorch's own backward of a depthwise 3-D convolution is several times slower on CPU than gathering the
    output's gradient with its halo and convolving it with the flipped kernel.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: torch.autograd.function.FunctionCtx, cubes: Tensor, weight: Tensor, index: Tensor
    ) -> Tensor:
        ctx.save_for_backward(cubes, weight, index)
        return _convolve(_with_halo(cubes, index), weight)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: D102
        cubes, weight, index = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_cubes = _convolve(_with_halo(grad.contiguous(), index), weight.flip(2, 3, 4))
        halo = _with_halo(cubes, index).permute(0, 4, 1, 2, 3)
        grad_weight = conv3d_weight(  # type: ignore[no-untyped-call]
            halo, weight.shape, grad.to(halo.dtype).permute(0, 4, 1, 2, 3), groups=weight.shape[0]
        )
        return grad_cubes.to(cubes.dtype), grad_weight.to(weight.dtype), None


def visible_depthwise(cubes: Tensor, weight: Tensor, bias: Tensor, index: Tensor) -> Tensor:
    """Depthwise convolution with padding 2 of a crop that is zero where hidden, at visible tokens.

    Args:
        cubes: (N, x, y, z, C), the visible tokens' voxels.
        weight: (C, 1, 5, 5, 5).
        bias: (C,).
        index: (N, x + 4, y + 4, z + 4), from `halo_index`.

    Returns:
        (N, x, y, z, C).
    """
    convolved: Tensor = VisibleDepthwise.apply(cubes, weight, index)  # type: ignore[no-untyped-call]
    return convolved + bias


def _with_halo(cubes: Tensor, index: Tensor) -> Tensor:
    rows = cubes.reshape(-1, cubes.shape[-1])
    rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])  # the last row stands for all that is hidden
    return rows.index_select(0, index.flatten()).reshape(*index.shape, -1)


def _convolve(halo: Tensor, weight: Tensor) -> Tensor:
    channels_first = halo.permute(0, 4, 1, 2, 3)  # (N, C, x + 4, y + 4, z + 4), channels last in memory
    out = F.conv3d(channels_first, weight.to(halo.dtype), groups=weight.shape[0])
    return out.permute(0, 2, 3, 4, 1).contiguous()
