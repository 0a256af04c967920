"""Linear layers: one result, whichever library computes it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d import linear as module
from mim3d.linear import Linear, linear, product


def made(shape: tuple[int, ...] = (2, 3, 8), dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Rows, weight and bias that want gradients."""
    torch.manual_seed(0)
    tensors = (torch.randn(shape), torch.randn(5, shape[-1]), torch.randn(5))
    return tuple(tensor.to(dtype).requires_grad_() for tensor in tensors)


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 8), (2, 3, 8), (0, 8)])
def test_values_and_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: torch.dtype, available: bool
) -> None:
    monkeypatch.setattr(module, "AVAILABLE", module.AVAILABLE and available)
    mine, theirs = made(shape, dtype), made(shape, dtype)
    outputs = linear(*mine), F.linear(*theirs)
    torch.testing.assert_close(*outputs)
    for output in outputs:
        torch.autograd.backward(output, torch.arange(output.numel(), dtype=dtype).reshape(output.shape) / 10)
    for tensor, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(tensor.grad, expected.grad)


@pytest.mark.skipif(not module.AVAILABLE, reason="PyTorch without MKL has no second library to choose from")
def test_float32_on_a_cpu_goes_to_the_faster_library() -> None:
    rows, weight, bias = made()
    name = module.LinearFunction.__name__ + "Backward"
    assert type(linear(rows, weight, bias).grad_fn).__name__ == name
    assert type(linear(rows.double(), weight.double(), bias.double()).grad_fn).__name__ != name


def test_a_transposed_weight_and_one_without_bias() -> None:
    rows, weight, _ = made()
    turned = torch.randn(8, 5).t()
    torch.testing.assert_close(product(rows, turned), F.linear(rows, turned))
    torch.testing.assert_close(product(rows, weight), F.linear(rows, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gelu_comes_with_the_product(dtype: torch.dtype) -> None:
    rows, weight, bias = made(dtype=dtype)
    with torch.no_grad():
        out = F.linear(rows, weight, bias)
        expected = 0.5 * out * (1 + torch.erf(out / math.sqrt(2)))
        torch.testing.assert_close(product(rows, weight, bias, gelu=True), expected)


def test_mixed_precision_is_left_to_torch() -> None:
    rows, weight, bias = made()
    with torch.autocast("cpu", torch.bfloat16):
        out = linear(rows, weight, bias)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, F.linear(rows.bfloat16(), weight.bfloat16(), bias.bfloat16()))


def test_the_layer_has_the_names_of_torchs() -> None:
    layer, theirs = Linear(8, 5), nn.Linear(8, 5)
    theirs.load_state_dict(layer.state_dict())
    rows = made()[0]
    torch.testing.assert_close(layer(rows), theirs(rows))
