"""Linear layers by the faster of the two libraries that PyTorch brings along for matrix products on a CPU.

PyTorch gives float32 products to MKL, which leaves the wide registers of other makers' processors unused.
oneDNN, to which PyTorch gives its convolutions, uses them: a third faster on the machine of
docs/performance.md. Everything else (other devices, precisions, compiled code) goes PyTorch's own way.

Shapes: R rows, I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AVAILABLE = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]


class Linear(nn.Linear):
    """`torch.nn.Linear`, computed by `linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return linear(rows, self.weight, self.bias)


def linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`rows` (..., I) times `weight` (O, I), plus `bias` (O,): (..., O)."""
    if not _suits(rows, weight):
        return F.linear(rows, weight, bias)
    out: Tensor = LinearFunction.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return out


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """What `linear` computes, (..., O), and GELU of it if asked for; without gradient."""
    if _suits(rows, weight):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else ""
        )
        return found
    found = F.linear(rows, weight, bias)
    return torch.ops.aten.gelu_(found) if gelu else found


class LinearFunction(torch.autograd.Function):
    """`product` with a backward pass by the same library."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        rows, weight = ctx.saved_tensors
        signal, rows = grad.flatten(0, -2), rows.flatten(0, -2)  # (R, O), (R, I)
        back = product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        tall = signal.shape[1] < rows.shape[1]  # what the library is faster at
        own = product(signal.t().contiguous(), rows.t()) if tall else signal.t() @ rows
        return back, own, signal.sum(dim=0)


def _suits(rows: Tensor, weight: Tensor) -> bool:
    """Whether the other library can be asked: float32 on a CPU, nothing automatic, nothing compiled."""
    suits = (
        AVAILABLE
        and rows.device.type == "cpu"
        and rows.dtype == weight.dtype == torch.float32
        and rows.numel() > 0
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
    return bool(suits)
