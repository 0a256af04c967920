"""Linear layers: one result, whichever library computes it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.model import linear as module
from mim3d.model.linear import Linear, LinearFunction, linear, linear_forward

needs_both = pytest.mark.skipif(not module.AVAILABLE, reason="PyTorch without oneDNN or MKL has no choice")


def made(
    shape: tuple[int, ...] = (2, 3, 8), outputs: int = 5, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weight and bias that want gradients."""
    torch.manual_seed(0)
    rows, weight, bias = (torch.randn(s) for s in (shape, (outputs, shape[-1]), (outputs,)))
    return tuple(tensor.to(dtype).requires_grad_() for tensor in (rows, weight, bias))  # type: ignore[return-value]


def goes_to_onednn(out: Tensor) -> bool:
    return type(out.grad_fn).__name__ == LinearFunction.__name__ + "Backward"


@needs_both
@pytest.mark.parametrize("shape", [(7, 8), (2, 3, 8), (8,), (1, 8)])
@pytest.mark.parametrize("outputs", [5, 11])
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], outputs: int) -> None:
    mine, theirs = made(shape, outputs), made(shape, outputs)
    found = linear(*mine), F.linear(*theirs)
    assert goes_to_onednn(found[0])
    torch.testing.assert_close(*found)
    for out in found:
        torch.autograd.backward(out, torch.arange(out.numel()).reshape(out.shape) / 10)
    for tensor, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(tensor.grad, expected.grad)


@needs_both
@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_what_is_frozen_gets_no_gradient(frozen: tuple[int, ...]) -> None:
    mine, theirs = made(), made()
    for number in frozen:
        mine[number].requires_grad_(False)
    torch.autograd.backward(linear(*mine).sum())
    torch.autograd.backward(F.linear(*theirs).sum())
    for number, (tensor, expected) in enumerate(zip(mine, theirs, strict=True)):
        if number in frozen:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, expected.grad)


@needs_both
@pytest.mark.parametrize("outputs", [5, 11])
def test_rows_in_any_layout(outputs: int) -> None:
    rows, weight, bias = made(outputs=outputs)
    for layout in (torch.randn(2, 8, 3).mT, torch.randn(1, 1, 8).expand(2, 3, 8)):
        own = [
            torch.autograd.grad(f(layout, weight, bias).square().sum(), weight)[0] for f in (linear, F.linear)
        ]
        torch.testing.assert_close(*own)
    torch.testing.assert_close(linear_forward(rows, weight.mT.contiguous().mT), F.linear(rows, weight))


@needs_both
def test_a_gradient_has_a_gradient() -> None:
    found = []
    for function in (linear, F.linear):
        rows, weight, bias = made()
        (first,) = torch.autograd.grad(function(rows, weight, bias).pow(3).sum(), weight, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), (rows, weight, bias)))
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-3)  # values of thousands


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gelu_comes_with_the_product(dtype: torch.dtype) -> None:
    rows, weight, bias = made(dtype=dtype)
    with torch.no_grad():
        out = F.linear(rows, weight, bias)
        expected = 0.5 * out * (1 + torch.erf(out / math.sqrt(2)))
        torch.testing.assert_close(linear_forward(rows, weight, bias, gelu=True), expected)


def test_what_onednn_does_not_suit_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weight, bias = made()
    assert not goes_to_onednn(linear(rows.double(), weight.double(), bias.double()))
    assert not goes_to_onednn(linear(rows[:0], weight, bias))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(rows, weight, bias).dtype == torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        assert not goes_to_onednn(linear(rows, weight, bias))
    jacobian = torch.func.vmap(torch.func.grad(lambda x: linear(x, weight, bias).sum()))(rows.detach())
    torch.testing.assert_close(jacobian, weight.sum(dim=0).expand_as(rows))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear(rows[..., :7], weight, bias)
    monkeypatch.setattr(module, "AVAILABLE", False)
    assert not goes_to_onednn(linear(rows, weight, bias))


def test_the_layer_has_the_names_of_torchs_and_exports() -> None:
    layer, theirs, rows = Linear(8, 5), nn.Linear(8, 5), made()[0].detach()
    theirs.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(rows), theirs(rows))
    exported = torch.export.export(layer, (rows,))
    torch.testing.assert_close(exported.module()(rows), theirs(rows))
    without = Linear(8, 5, bias=False)
    without(rows).sum().backward()
    torch.testing.assert_close(without.weight.grad, rows.sum(dim=(0, 1)).expand(5, 8))
