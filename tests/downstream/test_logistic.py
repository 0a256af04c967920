"""Logistic regression: the one solution of a convex problem, whatever the scale of the features."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.downstream.logistic import Linear, fit_logistic


def drawn(seed: int, outputs: int, *, multi_label: bool) -> tuple[Tensor, Tensor]:
    """Features (60, 4) and what mostly follows from them, (60, K)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    scores = features @ torch.randn(4, outputs, generator=generator, dtype=torch.float64)
    scores += torch.randn(60, outputs, generator=generator, dtype=torch.float64)
    return features, (scores > 0).double() if multi_label else F.one_hot(
        scores.argmax(dim=1), outputs
    ).double()


def penalised(learnt: Linear, features: Tensor, truth: Tensor, l2: float, *, multi_label: bool) -> Tensor:
    """What is minimised, of features as they are, by its plain definition."""
    logits = learnt.logits(features)
    scaled = learnt.weight * features.std(dim=0, correction=0)
    shares = logits.sigmoid() if multi_label else logits.softmax(dim=1)
    right = truth * shares.log()
    wrong = (1 - truth) * (1 - shares).log() if multi_label else torch.zeros_like(right)
    return -(right + wrong).sum(dim=1).mean() + l2 / 2 * scaled.square().sum()


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("l2", [1e-3, 1.0])
def test_no_step_from_the_solution_leads_down(multi_label: bool, l2: float) -> None:
    features, truth = drawn(0, 3, multi_label=multi_label)
    learnt = fit_logistic(features, truth, l2=l2, multi_label=multi_label)
    free = Linear(learnt.weight.clone().requires_grad_(), learnt.bias.clone().requires_grad_())
    penalised(free, features, truth, l2, multi_label=multi_label).backward()  # type: ignore[no-untyped-call]
    for one in free:
        assert one.grad is not None
        assert one.grad.abs().max() < 1e-5


def test_scale_and_place_of_features_change_nothing() -> None:
    features, truth = drawn(1, 3, multi_label=False)
    moved = features * torch.tensor([1e3, 1e-3, 1.0, 7.0]) + torch.tensor([5.0, -2.0, 1e3, 0.0])
    ours, theirs = (fit_logistic(one, truth, l2=0.1) for one in (features, moved))
    torch.testing.assert_close(ours.logits(features), theirs.logits(moved), atol=1e-5, rtol=1e-5)


def test_a_constant_feature_is_of_no_use() -> None:
    features, truth = drawn(2, 2, multi_label=False)
    learnt = fit_logistic(torch.cat([features, torch.full((60, 1), 3.0)], dim=1), truth, l2=0.1)
    assert learnt.weight[:, 4].abs().max() < 1e-9


def test_a_large_penalty_leaves_the_shares() -> None:
    features, truth = drawn(3, 3, multi_label=False)
    learnt = fit_logistic(features, truth, l2=1e6)
    shares = learnt.logits(features).softmax(dim=1)
    torch.testing.assert_close(shares, truth.mean(dim=0).expand(60, -1), atol=1e-3, rtol=0)


def test_what_counts_twice_is_as_if_it_were_there_twice() -> None:
    features, truth = drawn(4, 3, multi_label=False)
    counts = torch.ones(60, dtype=torch.float64)
    counts[:10] = 2.0
    twice = [torch.cat([one, one[:10]]) for one in (features, truth)]
    ours = fit_logistic(features, truth, l2=0.0, counts=counts)
    theirs = fit_logistic(*twice, l2=0.0)
    torch.testing.assert_close(ours.logits(features), theirs.logits(features), atol=1e-3, rtol=1e-3)


def test_the_same_again_bit_for_bit() -> None:
    features, truth = drawn(5, 3, multi_label=False)
    first, second = (fit_logistic(features.float(), truth, l2=1e-4) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert first.weight.dtype == torch.float32
