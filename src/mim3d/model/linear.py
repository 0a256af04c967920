"""Linear layers by oneDNN, where PyTorch would ask MKL: float32 on a CPU.

PyTorch brings both along and uses oneDNN for convolutions alone. Measured on an AMD EPYC, it is a fifth to a
third faster (docs/performance.md); on Intel's processors this was not measured. Everything else (other
devices and precisions, compiled, traced and transformed code) goes PyTorch's own way.

Shapes: R rows, I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AVAILABLE = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]
"""Whether PyTorch has both; the operation is a private one, which another version may lack."""

ONEDNN = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
"""Whether PyTorch has the one library."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, computed by `linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return linear(rows, self.weight, self.bias)


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`rows` (..., I) times `weight` (O, I), plus `bias` (O,): (..., O)."""
    if not _suits(rows, weight):
        return F.linear(rows, weight, bias)
    if not torch.is_grad_enabled():
        return linear_forward(rows, weight, bias)
    out: Tensor = LinearFunction.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return out


def linear_forward(rows: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """What `linear` computes, (..., O), and GELU of it if asked for; its gradient is not defined."""
    if _suits(rows, weight):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else ""
        )
        return found
    found = F.linear(rows, weight, bias)
    return torch.ops.aten.gelu_(found) if gelu else found


class LinearFunction(torch.autograd.Function):
    """`linear_forward` with a backward pass by the same library."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: D102
        of_rows, of_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(rows if of_weight else None, weight if of_rows else None)
        return linear_forward(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        rows, weight = ctx.saved_tensors
        times = F.linear if torch.is_grad_enabled() else linear_forward  # to be differentiated once more
        signal = grad.reshape(-1, grad.shape[-1])  # (R, O)
        back = None if weight is None else times(grad, weight.t())
        own = None
        if rows is not None:
            flat = rows.reshape(-1, rows.shape[-1]).contiguous()  # (R, I)
            narrow = signal.shape[1] < flat.shape[1]  # where oneDNN was measured to be faster
            own = times(signal.t().contiguous(), flat.t()) if narrow else signal.t() @ flat
        return back, own, signal.sum(dim=0) if ctx.needs_input_grad[2] else None


def onednn_suits(values: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can be asked by itself: plain float32 tensors on a CPU, of which there are some."""
    if torch.compiler.is_compiling() or torch._C._is_tracing() or not ONEDNN:
        return False
    plain = type(values) in (Tensor, nn.Parameter) and type(weight) in (Tensor, nn.Parameter)
    fitting = values.device.type == "cpu" and values.dtype == weight.dtype == torch.float32
    as_is = torch.backends.mkldnn.enabled and not torch.is_autocast_enabled("cpu")
    plain &= values.numel() > 0 and bool(as_is)
    return plain and fitting and not torch._C._are_functorch_transforms_active()


def _suits(rows: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can be asked for a linear layer."""
    return AVAILABLE and rows.shape[-1] == weight.shape[1] and onednn_suits(rows, weight)
