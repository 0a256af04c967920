"""What frozen features of whole volumes tell about classes: logistic regression and nearest neighbours.

Everything that is chosen is chosen on the training cases, on folds of their patients.
Shapes: N training cases, M others, D features, K classes.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.downstream.logistic import fit_logistic
from mim3d.objective.classify import class_probabilities

FOLDS = 5
"""Parts of the training patients, at most."""
PENALTIES = tuple(10.0**power for power in range(-5, 3))
"""L2 penalties to choose from."""
NEIGHBOURS = (1, 3, 5, 10, 20)
"""Numbers of neighbours to choose from."""
TEMPERATURE = 0.07
"""A neighbour's vote weighs the exponential of its similarity over this."""


class Told(NamedTuple):
    """What a probe says of the cases that it did not learn from."""

    probabilities: Tensor
    """(M, K)."""
    chosen: float
    """The penalty, or the number of neighbours."""


Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Features (N, D) and truth (N, K) of known cases, and features (M, D) of others, to probabilities (M, K)."""
Setting = TypeVar("Setting", int, float)


def logistic_probe(
    train: Tensor, truth: Tensor, patients: Sequence[str], others: Tensor, *, multi_label: bool
) -> Told:
    """Logistic regression whose penalty is the one that does best on folds of the training patients.

    Args:
        train: (N, D), features.
        truth: (N, K), 1 for the classes that a case has, else 0.
        patients: N names: cases of one patient stay in one fold.
        others: (M, D), features.
        multi_label: Whether a case may have any number of classes.
    """

    def rule(l2: float) -> Rule:
        def fitted(known: Tensor, classes: Tensor, asked: Tensor) -> Tensor:
            linear = fit_logistic(known, classes, l2=l2, multi_label=multi_label)
            return class_probabilities(linear.logits(asked), multi_label=multi_label)

        return fitted

    l2 = _best({l2: rule(l2) for l2 in reversed(PENALTIES)}, train, truth, patients)
    return Told(rule(l2)(train, truth, others), l2)


def neighbour_probe(train: Tensor, truth: Tensor, patients: Sequence[str], others: Tensor) -> Told:
    """The vote of the nearest training cases, as many as do best on folds of the training patients."""

    def rule(neighbours: int) -> Rule:
        return lambda known, classes, asked: votes(known, classes, asked, neighbours)

    fitting = [count for count in NEIGHBOURS if count < len(train)] or [1]
    count = _best({count: rule(count) for count in reversed(fitting)}, train, truth, patients)
    return Told(rule(count)(train, truth, others), count)


def votes(known: Tensor, truth: Tensor, asked: Tensor, neighbours: int) -> Tensor:
    """Share of the votes for each class, (M, K), of the `neighbours` most similar known cases.

    Similar is what has a large cosine after the known cases' mean is taken off: features of whole volumes
    have most in common. Source: Wu et al. 2018, arXiv:1805.01978, sec. 3.4, for votes and temperature.

    Args:
        known: (N, D).
        truth: (N, K).
        asked: (M, D).
        neighbours: At most N are there.
    """
    middle = known.mean(dim=0)
    similar = F.normalize(asked - middle, dim=1) @ F.normalize(known - middle, dim=1).T  # (M, N)
    nearest, places = similar.topk(min(neighbours, len(known)), dim=1)
    weights = (nearest / TEMPERATURE).softmax(dim=1)  # (M, k)
    return torch.einsum("mk,mkc->mc", weights, truth.to(weights)[places])


def folds_of(patients: Sequence[str], truth: Tensor, count: int = FOLDS) -> Tensor:
    """Fold of each case, (N,): patients in turn, class by class, in the order of a hash of their names."""
    classes: dict[str, list[float]] = {}
    for patient, row in zip(patients, truth.tolist(), strict=True):
        classes.setdefault(patient, row)
    order = sorted(classes, key=lambda one: (classes[one], hashlib.sha256(one.encode()).hexdigest()))
    fold = {patient: place % count for place, patient in enumerate(order)}
    return torch.tensor([fold[patient] for patient in patients])


def _best(rules: dict[Setting, Rule], train: Tensor, truth: Tensor, patients: Sequence[str]) -> Setting:
    """The rule with the least squared error on held-out folds; of equals, or of one patient, the first."""
    count = min(FOLDS, len(set(patients)))
    if count < 2:
        return next(iter(rules))
    folds = folds_of(patients, truth, count)
    held_out = [folds == fold for fold in range(count)]
    errors: dict[Setting, float] = {}
    for setting, rule in rules.items():
        wrong = (rule(train[~out], truth[~out], train[out]) - truth[out] for out in held_out)
        errors[setting] = sum(float(one.square().sum()) for one in wrong)
    return min(errors, key=errors.__getitem__)
