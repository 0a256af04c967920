"""Logistic regression on frozen features: convex, so that one answer is right, and nothing is drawn.

Shapes: N samples, D features, K outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_STEPS = 300
"""Of L-BFGS; it ends before where nothing changes any more."""
SMALLEST = 1e-6
"""Standard deviation below which a feature counts as constant."""


class Linear(NamedTuple):
    """What was learnt: features (N, D) give logits `features @ weight.T + bias`, (N, K)."""

    weight: Tensor
    """(K, D)."""
    bias: Tensor
    """(K,)."""

    def logits(self, features: Tensor) -> Tensor:
        """(N, D) to (N, K)."""
        return F.linear(features, self.weight, self.bias)


def fit_logistic(
    features: Tensor, truth: Tensor, *, l2: float, multi_label: bool = False, counts: Tensor | None = None
) -> Linear:
    """Logistic regression with an L2 penalty, by L-BFGS from zero.

    The mean cross-entropy plus `l2` / 2 times the sum of squared weights is minimised, of features that are
    first brought to mean 0 and variance 1; the bias is free.

    Source: Liu and Nocedal 1989, Mathematical Programming 45:503-528, for L-BFGS.

    Args:
        features: (N, D), float32 or float64.
        truth: (N, K), 1 for the outputs that a sample has, else 0; rows add up to 1 unless `multi_label`.
        l2: Weight of the penalty, 0 or more.
        multi_label: Whether each output is a yes or no of its own, or they add up to 1.
        counts: (N,), how much each sample counts; None: all the same.
    """
    truth = truth.to(features)
    counts = torch.ones_like(features[:, 0]) if counts is None else counts.to(features)
    shares = counts / counts.sum()
    middle, spread = features.mean(dim=0), features.std(dim=0, correction=0)
    spread = torch.where(spread > SMALLEST, spread, 1.0)
    scaled = (features - middle) / spread
    found = features.new_zeros(truth.shape[1], features.shape[1] + 1, requires_grad=True)  # (K, D + 1)
    optimizer = torch.optim.LBFGS(
        [found],
        max_iter=MOST_STEPS,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        weight, bias = found[:, :-1], found[:, -1]
        total = (
            shares @ _losses(F.linear(scaled, weight, bias), truth, multi_label)
            + l2 / 2 * weight.square().sum()
        )
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight, bias = found.detach()[:, :-1] / spread, found.detach()[:, -1]
    return Linear(weight, bias - weight @ middle)


def _losses(logits: Tensor, truth: Tensor, multi_label: bool) -> Tensor:
    """Cross-entropy of each sample, (N,)."""
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(dim=1)
    return -(logits.log_softmax(dim=1) * truth).sum(dim=1)
