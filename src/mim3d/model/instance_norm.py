"""Instance normalisation and leaky ReLU of maps with channels last, forward and backward in few passes.

PyTorch's own wants channels first, as its convolutions do not: on a CPU those are up to three times as fast
with channels last (docs/performance.md). Kept for the backward pass is the output alone: the input's
deviations follow from it.

Shapes: B batch, C channels, V voxels of a map.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

EPS = 1e-5
"""Added to the variance, as in PyTorch."""
SLOPE = 0.01
"""Of the leaky ReLU below 0."""
WIDTH = 128
"""Values that are worked on side by side: channels of several voxels."""

aten = torch.ops.aten


def instance_norm(maps: Tensor, *, activate: bool) -> Tensor:
    """Each channel of each map to mean 0 and variance 1, then a leaky ReLU if asked for.

    Source: Ulyanov et al. 2016, arXiv:1607.08022, without scale and offset. Computed in single precision at
    least.

    Args:
        maps: (B, ..., C).
        activate: Whether what is below 0 is multiplied by `SLOPE`.

    Returns:
        (B, ..., C), of the same precision.
    """
    if torch.compiler.is_compiling():  # other programs know it as one operation
        normed = F.instance_norm(maps.movedim(-1, 1), eps=EPS).movedim(1, -1)
        return F.leaky_relu(normed, SLOPE) if activate else normed
    exact = torch.promote_types(maps.dtype, torch.float32)
    rows = maps.flatten(1, -2).to(exact).contiguous()  # (B, V, C)
    with torch.autocast(maps.device.type, enabled=False):
        if torch.is_grad_enabled():
            out: Tensor = InstanceNormFunction.apply(rows, activate)  # type: ignore[no-untyped-call]
        else:
            out, _ = _normalised(rows, activate)
    return out.view(maps.shape).to(maps.dtype)


class InstanceNormFunction(torch.autograd.Function):
    """`instance_norm` of rows with its own backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, activate: bool) -> Tensor:  # noqa: D102
        out, scale = _normalised(rows, activate)
        ctx.activate = activate
        ctx.save_for_backward(out, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        out, scale = ctx.saved_tensors
        grad = grad.contiguous()
        if ctx.activate:
            grad = aten.leaky_relu_backward(grad, out, SLOPE, True)
            out = F.leaky_relu(out, 1 / SLOPE)
        along = _products(out, grad) / out.shape[1]  # (B, 1, C)
        back = _folded(torch.empty_like(out))
        offset = _repeated(-grad.mean(dim=1, keepdim=True) * scale, back)
        torch.addcmul(offset, _folded(out), _repeated(-along * scale, back), out=back)
        return back.addcmul_(_folded(grad), _repeated(scale, back)).view_as(out), None


def _normalised(rows: Tensor, activate: bool) -> tuple[Tensor, Tensor]:
    """Normalised rows (B, V, C), and what their deviations were multiplied by, (B, 1, C)."""
    folded = _folded(rows)
    out = folded - _repeated(rows.mean(dim=1, keepdim=True), folded)
    deviations = out.view_as(rows)
    scale = (_products(deviations, deviations) / rows.shape[1] + EPS).rsqrt()
    out.mul_(_repeated(scale, folded))
    return (F.leaky_relu_(deviations, SLOPE) if activate else deviations), scale


def _products(first: Tensor, second: Tensor) -> Tensor:
    """Sums over voxels of the products of two maps (B, V, C), channel by channel: (B, 1, C)."""
    return (first.transpose(1, 2) @ second).diagonal(dim1=1, dim2=2)[:, None]


def _folded(rows: Tensor) -> Tensor:
    """(B, V, C) with several voxels side by side, (B, V / n, n * C): a view."""
    batch, voxels, channels = rows.shape
    together = 1
    while together * channels < WIDTH and voxels % (2 * together) == 0:
        together *= 2
    return rows.view(batch, voxels // together, together * channels)


def _repeated(each: Tensor, folded: Tensor) -> Tensor:
    """Values of channels (B, 1, C) for the channels of voxels that lie side by side, (B, 1, n * C)."""
    return each.repeat(1, 1, folded.shape[2] // each.shape[2])
