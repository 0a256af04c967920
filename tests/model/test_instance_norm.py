import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mim3d.model.instance_norm import EPS, SLOPE, instance_norm


def reference(maps: Tensor, *, activate: bool) -> Tensor:
    """By the formula, (B, ..., C)."""
    deviations = maps - maps.flatten(1, -2).mean(dim=1).view(len(maps), *(1,) * (maps.ndim - 2), -1)
    variance = deviations.square().flatten(1, -2).mean(dim=1).view(len(maps), *(1,) * (maps.ndim - 2), -1)
    normed = deviations / (variance + EPS).sqrt()
    return F.leaky_relu(normed, SLOPE) if activate else normed


@given(
    batch=st.integers(1, 2),
    sides=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6)),
    channels=st.sampled_from([1, 3, 8, 200]),
    activate=st.booleans(),
)
def test_values_and_gradients_are_those_of_the_formula(
    batch: int, sides: tuple[int, int, int], channels: int, activate: bool
) -> None:
    torch.manual_seed(0)
    maps = torch.randn(batch, *sides, channels, dtype=torch.float64) * 3 + 5
    ours, theirs = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    found, expected = instance_norm(ours, activate=activate), reference(theirs, activate=activate)
    torch.testing.assert_close(found, expected)
    signal = torch.randn_like(found)
    torch.autograd.backward((found * signal).sum())
    torch.autograd.backward((expected * signal).sum())
    torch.testing.assert_close(ours.grad, theirs.grad)
    with torch.no_grad():
        assert torch.equal(instance_norm(maps, activate=activate), found)


def test_values_are_pytorchs() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 3, 2, 3, dtype=torch.float64)
    theirs = F.instance_norm(maps.movedim(-1, 1), eps=EPS).movedim(1, -1)
    torch.testing.assert_close(instance_norm(maps, activate=False), theirs)
    torch.testing.assert_close(instance_norm(maps, activate=True), F.leaky_relu(theirs, SLOPE))


def test_the_input_is_left_as_it_is_and_may_lie_in_any_order() -> None:
    maps = torch.randn(2, 8, 3, 4, 5).movedim(1, -1)  # channels first in memory
    before = maps.clone()
    torch.testing.assert_close(instance_norm(maps, activate=True), reference(maps, activate=True))
    assert torch.equal(maps, before)


@pytest.mark.parametrize("mean", [1.0, 100.0])
def test_deviations_that_are_small_beside_their_mean_are_kept(mean: float) -> None:
    maps = mean + 0.01 * torch.randn(1, 64, 16, 16, 2)
    exact = reference(maps.double(), activate=False)
    error = (instance_norm(maps, activate=False).double() - exact).abs().max()
    assert error < 4e-7 * mean / 0.01 + 1e-5


def test_half_precision_goes_in_and_out_and_is_computed_in_single() -> None:
    maps = (5 + torch.randn(1, 16, 16, 16, 4)).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = instance_norm(maps, activate=True)
    assert found.dtype == torch.bfloat16
    exact = reference(maps.detach().float(), activate=True)
    torch.testing.assert_close(found.float(), exact, atol=0.01, rtol=0.01)
    torch.autograd.backward(found.float().sum())
    assert maps.grad is not None
    assert maps.grad.dtype == torch.bfloat16
