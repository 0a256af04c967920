"""The convolution block on visible tokens, forward and backward in pieces that stay in the cache.

    middle = cubes + conv2(depthwise(conv1(norm1(cubes))))
    out    = middle + fc2(gelu(fc1(norm2(middle))))

All but the depthwise convolution looks at one voxel at a time. Left to autograd, each of these steps writes
and reads whole maps, four times as wide within the MLP. Here some tokens at a time go through all of them,
and the backward pass computes again what is cheaper to compute than to keep. Kept are what is convolved
(`before`), what comes of it (`mixed`), and `middle`.

Linear layers compute in the precision of their weights, the sums along the block in that of the cubes.

Shapes: N visible tokens of all crops, x y z the side of a token's cube, R rows = voxels, C channels.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mim3d.model.depthwise import convolve, correlate, tokens_of
from mim3d.model.linear import linear_forward
from mim3d.model.pieces import by_thread
from mim3d.model.rows import EPS, backward_linear, backward_norm, normalise

aten = torch.ops.aten


class Weights(NamedTuple):
    """Parameters of a block, in the order in which they act."""

    norm1: Tensor
    """(C,)"""
    norm1_bias: Tensor
    """(C,)"""
    conv1: Tensor
    """(C, C)"""
    conv1_bias: Tensor
    """(C,)"""
    depthwise: Tensor
    """(C, 1, 5, 5, 5)"""
    depthwise_bias: Tensor
    """(C,)"""
    conv2: Tensor
    """(C, C)"""
    conv2_bias: Tensor
    """(C,)"""
    norm2: Tensor
    """(C,)"""
    norm2_bias: Tensor
    """(C,)"""
    fc1: Tensor
    """(ratio * C, C)"""
    fc1_bias: Tensor
    """(ratio * C,)"""
    fc2: Tensor
    """(C, ratio * C)"""
    fc2_bias: Tensor
    """(C,)"""


def conv_block(cubes: Tensor, index: Tensor, weights: Weights, piece: int) -> Tensor:
    """The block on cubes of visible tokens.

    Args:
        cubes: (N, x, y, z, C).
        index: (N, x + 4, y + 4, z + 4), from `halo_index`.
        weights: Parameters.
        piece: Values of the cubes with halos that go through the block at once.

    Returns:
        (N, x, y, z, C).
    """
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (cubes, *weights))
    out: Tensor = ConvBlockFunction.apply(cubes, index, piece, keep, *weights)  # type: ignore[no-untyped-call]
    return out


class ConvBlockFunction(torch.autograd.Function):
    """`conv_block` with its own backward pass."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, cubes: Tensor, index: Tensor, piece: int, keep: bool, *parameters: Tensor
    ) -> Tensor:
        w, cubes = Weights(*parameters), cubes.contiguous()
        tokens = tokens_of(piece, index, cubes.shape[-1])
        before = _convolution_input(cubes, w, tokens)
        out = torch.empty_like(cubes)
        pieces = zip(torch.split(index, tokens), _rows(cubes, tokens), _rows(out, tokens), strict=True)
        kept = by_thread(partial(_mix_and_mlp, before, w, keep), list(pieces), cubes.device)
        ctx.tokens = tokens
        ctx.save_for_backward(cubes, before, index, *parameters, *chain.from_iterable(kept))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        cubes, before, index, *others = ctx.saved_tensors
        w, kept = Weights(*others[: len(Weights._fields)]), others[len(Weights._fields) :]
        grad_cubes, grad_mixed = torch.empty_like(cubes), torch.empty_like(before)
        grad_mixed[-1] = 0  # stands for all that is hidden
        maps = torch.split(grad_mixed[:-1].view_as(cubes), ctx.tokens)
        grads, targets = _rows(grad_cubes, ctx.tokens), [piece.flatten(0, 3) for piece in maps]
        signals = _rows(grad.contiguous(), ctx.tokens)
        pieces = list(zip(signals, kept[::2], kept[1::2], grads, targets, strict=True))
        after = by_thread(partial(_backward_after, w), pieces, cubes.device)
        shown = _rows(cubes, ctx.tokens)
        others = list(zip(torch.split(index, ctx.tokens), maps, shown, grads, strict=True))
        earlier = by_thread(partial(_backward_earlier, w, before, grad_mixed), others, cubes.device)
        sums = Weights(*(sum(parts) for parts in zip(*after, *earlier, strict=True)))
        sums.depthwise_bias.copy_(grad_mixed.sum(dim=0, dtype=sums.depthwise_bias.dtype))
        found = (total.to(weight.dtype) for total, weight in zip(sums, w, strict=True))
        return grad_cubes, None, None, None, *found


def _rows(cubes: Tensor, tokens: int) -> list[Tensor]:
    """Pieces of some tokens each, as rows (R, C) of one voxel; views."""
    return [piece.flatten(0, 3) for piece in torch.split(cubes, tokens)]


def _convolution_input(cubes: Tensor, w: Weights, tokens: int) -> Tensor:
    """What is convolved, as rows (N * x * y * z + 1, C); the last, of zeros, stands for what is hidden."""
    rows = w.conv1.new_empty(cubes.shape[:-1].numel() + 1, cubes.shape[-1])
    rows[-1] = 0
    targets = _rows(rows[:-1].view_as(cubes), tokens)
    by_thread(partial(_enter, w), list(zip(_rows(cubes, tokens), targets, strict=True)), cubes.device)
    return rows


def _enter(w: Weights, pieces: Sequence[tuple[Tensor, Tensor]]) -> None:
    """From rows (R, C) of cubes to what is convolved, into the second of each pair."""
    for shown, target in pieces:
        normed = F.layer_norm(shown, shown.shape[-1:], w.norm1, w.norm1_bias, EPS)
        target.copy_(linear_forward(normed.to(target.dtype), w.conv1, w.conv1_bias))


def _mix_and_mlp(
    before: Tensor, w: Weights, keep: bool, pieces: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> list[Tensor]:
    """From halo index and rows of cubes to the block's output, into the third; what is kept of each."""
    kept: list[Tensor] = []
    for some, shown, target in pieces:
        mixed = convolve(before, w.depthwise, w.depthwise_bias, some).flatten(0, 3)  # (R, C)
        middle = shown + linear_forward(mixed, w.conv2, w.conv2_bias)
        normed = F.layer_norm(middle, middle.shape[-1:], w.norm2, w.norm2_bias, EPS)
        hidden = linear_forward(normed.to(w.fc1.dtype), w.fc1, w.fc1_bias, gelu=True)  # (R, ratio * C)
        torch.add(middle, linear_forward(hidden, w.fc2, w.fc2_bias), out=target)
        if keep:
            kept += mixed, middle
    return kept


def _no_gradients(w: Weights) -> Weights:
    """Zeros to add to: in float32 at least, as many pieces would round away in half of it."""
    exact = torch.promote_types(w.norm1.dtype, torch.float32)
    return Weights(*(torch.zeros_like(weight, dtype=exact) for weight in w))


def _backward_after(w: Weights, pieces: Sequence[tuple[Tensor, ...]]) -> Weights:
    """Backward to the convolution's output: of signal, mixed, middle, into the last two.

    Returns:
        Gradients of the weights.
    """
    sums = _no_gradients(w)
    for signal, mixed, middle, grad_middle, target in pieces:
        torch.add(_backward_mlp(signal, middle, w, sums), signal, out=grad_middle)
        low = grad_middle.to(mixed.dtype)
        target.copy_(backward_linear(low, mixed, w.conv2, (sums.conv2, sums.conv2_bias)))
    return sums


def _backward_earlier(
    w: Weights, before: Tensor, grad_mixed: Tensor, pieces: Sequence[tuple[Tensor, ...]]
) -> Weights:
    """Backward through the convolution: of index, map, rows of cubes, added to the last.

    Returns:
        Gradients of the weights.
    """
    sums, flipped = _no_gradients(w), w.depthwise.flip(2, 3, 4)
    for some, grad_map, shown, target in pieces:
        sums.depthwise.add_(correlate(before, grad_map, some))
        back = convolve(grad_mixed, flipped, None, some).flatten(0, 3)
        target.add_(_backward_before(back, shown, w, sums))
    return sums


def _backward_mlp(signal: Tensor, middle: Tensor, w: Weights, sums: Weights) -> Tensor:
    """Gradient (R, C) of `middle` through the MLP, computed again, from that of the block's output."""
    low = signal.to(w.fc2.dtype)
    normed, moments = normalise(middle, w.norm2, w.norm2_bias)
    normed = normed.to(w.fc1.dtype)
    hidden = linear_forward(normed, w.fc1, w.fc1_bias)  # (R, ratio * C)
    wide = F.gelu(hidden)
    wide = backward_linear(low, wide, w.fc2, (sums.fc2, sums.fc2_bias))
    aten.gelu_backward.grad_input(wide, hidden, grad_input=wide)
    back = backward_linear(wide, normed, w.fc1, (sums.fc1, sums.fc1_bias))
    return backward_norm(back, middle, moments, (w.norm2, w.norm2_bias), (sums.norm2, sums.norm2_bias))


def _backward_before(signal: Tensor, shown: Tensor, w: Weights, sums: Weights) -> Tensor:
    """Gradient (R, C) of the block's input through the convolution, from that of the convolution's input."""
    normed, moments = normalise(shown, w.norm1, w.norm1_bias)
    normed = normed.to(signal.dtype)
    back = backward_linear(signal, normed, w.conv1, (sums.conv1, sums.conv1_bias))
    return backward_norm(back, shown, moments, (w.norm1, w.norm1_bias), (sums.norm1, sums.norm1_bias))
