"""Layers that look at one row at a time: how many rows go at once, and their backward passes.

Shapes: R rows, I and C inputs, O outputs.
"""

import torch
from torch import Tensor

from mim3d.model.linear import linear_forward

PIECE = 2**20
"""Values that go through a block at once, in each thread: a few MB, so that they stay in the cache."""

EPS = 1e-5
"""Of the normalisations between convolutions, as in the authors' released weights."""


def lower_dtype(rows: Tensor) -> torch.dtype | None:
    """What layers but norms compute in where mixed precision is on; None where it is off."""
    device = rows.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def normalise(rows: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Layer normalisation of rows (R, C), and the moments that its backward pass needs."""
    normed, *moments = torch.native_layer_norm(rows, rows.shape[-1:], weight, bias, EPS)
    return normed, moments


def backward_linear(signal: Tensor, rows: Tensor, weight: Tensor, totals: tuple[Tensor, Tensor]) -> Tensor:
    """Gradient (R, I) of a linear layer's input from that (R, O) of its output.

    Those of its weight and bias are added to `totals`.
    """
    add_gradients(signal, rows, totals)
    return linear_forward(signal, weight.t().contiguous())


def add_gradients(signal: Tensor, rows: Tensor, totals: tuple[Tensor, Tensor]) -> None:
    """Add to `totals` the gradients of a linear layer's weight (O, I) and bias (O,)."""
    weight, bias = totals
    if weight.dtype == rows.dtype == signal.dtype:
        weight.addmm_(signal.t(), rows)
    else:
        weight.add_(signal.t() @ rows)
    bias.add_(signal.sum(dim=0, dtype=bias.dtype))


def backward_norm(
    signal: Tensor,
    rows: Tensor,
    moments: list[Tensor],
    parameters: tuple[Tensor, Tensor],
    totals: tuple[Tensor, Tensor],
) -> Tensor:
    """Gradient (R, C) of a normalisation's input from that of its output.

    Those of its weight and bias are added to `totals`.
    """
    back: Tensor
    back, *found = torch.ops.aten.native_layer_norm_backward(
        signal.to(rows.dtype), rows, rows.shape[-1:], *moments, *parameters, (True,) * 3
    )
    for total, part in zip(totals, found, strict=True):
        total.add_(part)
    return back
