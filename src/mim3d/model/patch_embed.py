"""Patch embedding of visible tokens, forward and backward some tokens at a time.

    out = gelu(norm(project(cells)))

Cells do not overlap. Kept is the input alone: the rest is computed again, as it is cheap.

Shapes: N visible tokens of all crops, x y z the side of a token's cube, R rows = cells, I values of a cell,
C and C' channels before and after.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.linear import Linear, linear_forward
from mim3d.model.pieces import by_thread
from mim3d.model.rows import EPS, PIECE, add_gradients, backward_norm, lower_dtype, normalise


class Weights(NamedTuple):
    """Parameters of an embedding, in the order in which they act."""

    project: Tensor
    """(C', I)"""
    project_bias: Tensor
    """(C',)"""
    norm: Tensor
    """(C',)"""
    norm_bias: Tensor
    """(C',)"""


class PatchEmbed(nn.Module):
    """Halve the cubes' sides (where `stride` is 2) and change their channels: linear on disjoint cells."""

    def __init__(self, stride: Triple, dim_in: int, dim: int) -> None:
        super().__init__()
        self.stride = stride
        self.project = Linear(stride[0] * stride[1] * stride[2] * dim_in, dim)
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.piece = PIECE

    def forward(self, cubes: Tensor) -> Tensor:
        """(N, x, y, z, C) to (N, x', y', z', C').

        Raises:
            TypeError: If the cubes' precision is not that of the weights, and mixed precision is off.
        """
        project, norm = self.project, self.norm
        lower = lower_dtype(cubes)
        if lower is None and cubes.dtype != project.weight.dtype:
            raise TypeError(
                f"crops are {cubes.dtype}, weights {project.weight.dtype}; convert either of them"
            )
        linear = (project.weight.to(lower), project.bias.to(lower))
        width = project.out_features // project.in_features + 1
        tokens = max(1, self.piece // (math.prod(cubes.shape[1:]) * width))
        out: Tensor = PatchEmbedFunction.apply(  # type: ignore[no-untyped-call]
            cubes, self.stride, tokens, *linear, norm.weight, norm.bias
        )
        return out


class PatchEmbedFunction(torch.autograd.Function):
    """The embedding with its own backward pass."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, cubes: Tensor, stride: Triple, tokens: int, *parameters: Tensor
    ) -> Tensor:
        w, cubes = Weights(*parameters), cubes.contiguous()
        x, y, z = (side // step for side, step in zip(cubes.shape[1:4], stride, strict=True))
        out = w.norm.new_empty(len(cubes), x, y, z, w.norm.numel())
        pieces = list(zip(torch.split(cubes, tokens), torch.split(out, tokens), strict=True))
        by_thread(partial(_embed, w, stride), pieces, cubes.device)
        ctx.stride, ctx.tokens = stride, tokens
        ctx.save_for_backward(cubes, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        cubes, *parameters = ctx.saved_tensors
        w = Weights(*parameters)
        needed = ctx.needs_input_grad[0]
        grad_cubes = torch.empty_like(cubes) if needed else cubes[:, :0]
        maps = (torch.split(maps, ctx.tokens) for maps in (cubes, grad.contiguous(), grad_cubes))
        pieces = list(zip(*maps, strict=True))
        parts = by_thread(partial(_backward, w, ctx.stride, needed), pieces, cubes.device)
        sums = (sum(totals) for totals in zip(*parts, strict=True))
        found = (total.to(weight.dtype) for total, weight in zip(sums, w, strict=True))
        return grad_cubes if needed else None, None, None, *found


def _embed(w: Weights, stride: Triple, pieces: Sequence[tuple[Tensor, Tensor]]) -> None:
    """From cubes to the embedding, into the second of each pair."""
    for some, target in pieces:
        rows = _cells(some, stride).flatten(4).flatten(0, 3)  # (R, I)
        projected = linear_forward(rows.to(w.project.dtype), w.project, w.project_bias).to(w.norm.dtype)
        normed = F.layer_norm(projected, projected.shape[-1:], w.norm, w.norm_bias, EPS)
        torch.ops.aten.gelu.out(normed, out=target.flatten(0, 3))


def _backward(
    w: Weights, stride: Triple, needed: bool, pieces: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Weights:
    """Backward of cubes and signal, into the third if it is needed; the weights' gradients."""
    exact = torch.promote_types(w.norm.dtype, torch.float32)
    sums = Weights(*(torch.zeros_like(weight, dtype=exact) for weight in w))
    for some, signal, target in pieces:
        rows = _cells(some, stride).flatten(4).flatten(0, 3).to(w.project.dtype)  # (R, I)
        back = _backward_norm(signal.flatten(0, 3), rows, w, sums)
        add_gradients(back, rows, (sums.project, sums.project_bias))
        if needed:
            cells = _cells(target, stride)
            cells.copy_(linear_forward(back, w.project.t().contiguous()).view(cells.shape))
    return sums


def _cells(cubes: Tensor, stride: Triple) -> Tensor:
    """A view (N, x', y', z', sx, sy, sz, C) of cubes (N, x, y, z, C)."""
    count, x, y, z, dim = cubes.shape
    sx, sy, sz = stride
    return cubes.view(count, x // sx, sx, y // sy, sy, z // sz, sz, dim).permute(0, 1, 3, 5, 2, 4, 6, 7)


def _backward_norm(signal: Tensor, rows: Tensor, w: Weights, sums: Weights) -> Tensor:
    """Gradient (R, C') of what is projected, computed again, from that of the output."""
    projected = linear_forward(rows, w.project, w.project_bias).to(w.norm.dtype)
    normed, moments = normalise(projected, w.norm, w.norm_bias)
    signal = torch.ops.aten.gelu_backward(signal, normed)
    own, totals = (w.norm, w.norm_bias), (sums.norm, sums.norm_bias)
    return backward_norm(signal, projected, moments, own, totals).to(rows.dtype)
