"""Classifiers that were judged by the same cases, against one another.

A side is a classifier, or several of it that differ in their seed: what is measured of each is averaged.
Patients are what is independent: all cases of one are resampled, and change sides, together.

Shapes: N cases, K classes, U patients, R samples, M classifiers of a side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mim3d.metrics.classification import decide
from mim3d.metrics.statistics import Interval, Statistic, bootstrap_interval, holm, sign_flip_p

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Measured = Callable[[Floats], Floats]
"""How much each case counts (R, N) to what is measured of each such sample (R,); NaN if it cannot be."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judged:
    """Cases that all sides have classified."""

    truth: Bools
    """(N, K)."""
    unit: NDArray[np.int64]
    """(N,), number of each case's patient."""
    multi_label: bool

    @property
    def units(self) -> int:
        """Patients."""
        return int(self.unit.max(initial=-1)) + 1

    def some(self, places: NDArray[np.int64]) -> "Judged":
        """The cases at these places (N,) alone."""
        unit = np.unique(self.unit[places], return_inverse=True)[1]
        return Judged(truth=self.truth[places], unit=unit, multi_label=self.multi_label)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDifference:
    """One measure: the other side less the reference."""

    measure: str
    cases: int
    patients: int
    reference: float
    other: float
    difference: float
    interval: Interval | None
    p_swap: float | None
    """Permutation test: patients change sides."""
    corrected_swap: float | None = None
    """By Holm, for all other sides of one measure."""


def compare_classifiers(
    judged: Judged, reference: Sequence[Floats], other: Sequence[Floats], seed: int
) -> tuple[ClassDifference, ...]:
    """AUROC, accuracy and balanced accuracy of two sides; those that are defined.

    Args:
        judged: The cases.
        reference: Probabilities (N, K) of each classifier of the side.
        other: Likewise.
        seed: Of resampling and random swaps.
    """
    right = [_averaged([_right(one, judged) for one in side]) for side in (reference, other)]  # (N,) each
    gained = {"auroc": _auroc_gained(judged, reference, other), "accuracy": right[1] - right[0]}  # (N,) each
    rows = []
    for name in MEASURES:
        sides = [measured(judged, side, name) for side in (reference, other)]
        means = [whole(judged, side) for side in sides]
        if np.isfinite(means).all():
            rows.append(
                ClassDifference(
                    measure=name,
                    cases=len(judged.unit),
                    patients=judged.units,
                    reference=means[0],
                    other=means[1],
                    difference=means[1] - means[0],
                    interval=bootstrap_interval(less(*sides), judged.units, seed=seed),
                    p_swap=_swap_p(judged, gained[name], seed) if name in gained else None,
                )
            )
    return tuple(rows)


def corrected(found: Mapping[str, Sequence[ClassDifference]]) -> dict[str, tuple[ClassDifference, ...]]:
    """The differences of each other side, p of one measure corrected (Holm) for the number of sides."""
    rows = {(name, row.measure): row for name, some in found.items() for row in some}
    for measure in MEASURES:
        tested = {
            key: row.p_swap for key, row in rows.items() if key[1] == measure and row.p_swap is not None
        }
        for key, p in zip(tested, holm(list(tested.values())), strict=True):
            rows[key] = replace(rows[key], corrected_swap=p)
    return {name: tuple(row for (side, _), row in rows.items() if side == name) for name in found}


def _swap_p(judged: Judged, gained: Floats, seed: int) -> float:
    """Two-sided p of the sum of what cases (N,) add to a difference, among those with patients swapped."""
    return sign_flip_p(np.bincount(judged.unit, gained).astype(np.float64), seed)


def measured(judged: Judged, side: Sequence[Floats], measure: str) -> Statistic:
    """One of `MEASURES` of samples of patients, the mean over the classifiers of a side, (N, K) each."""
    classifiers = [MEASURES[measure](one, judged) for one in side]
    return lambda weights: _averaged([one(weights[:, judged.unit]) for one in classifiers])


def whole(judged: Judged, statistic: Statistic) -> float:
    """A statistic of all patients, each taken once; NaN if it is not defined."""
    return float(statistic(np.ones((1, judged.units)))[0])


def less(reference: Statistic, other: Statistic) -> Statistic:
    """The difference of two, of the same samples."""
    return lambda weights: other(weights) - reference(weights)


def weighted_auroc(scores: Floats, positive: Bools) -> Measured:
    """AUROC of samples of cases: the chance that a positive case scores above a negative one.

    Args:
        scores: (N,).
        positive: (N,).
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of cases with equal scores

    def auroc(weights: Floats) -> Floats:
        ordered = weights[:, order]
        above, below = (
            np.add.reduceat(ordered * side[order], starts, axis=1) for side in (positive, ~positive)
        )
        won = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
        pairs = above.sum(axis=1) * below.sum(axis=1)
        found: Floats = np.full(len(weights), np.nan)
        np.divide(won, pairs, out=found, where=pairs > 0)
        return found

    return auroc


def _auroc(probabilities: Floats, judged: Judged) -> Measured:
    each = [
        weighted_auroc(probabilities[:, k], judged.truth[:, k])
        for k in range(judged.truth.shape[1])
        if 0 < judged.truth[:, k].sum() < len(judged.truth)
    ]
    return lambda weights: _averaged([one(weights) for one in each] or [np.full(len(weights), np.nan)])


def _accuracy(probabilities: Floats, judged: Judged) -> Measured:
    right = _right(probabilities, judged)
    return lambda weights: weights @ right / weights.sum(axis=1)


def _balanced(probabilities: Floats, judged: Judged) -> Measured:
    """Mean sensitivity of the classes; with several labels of sensitivity and specificity."""
    decided, truth = decide(probabilities, multi_label=judged.multi_label), judged.truth
    groups = [truth, ~truth] if judged.multi_label else [truth]

    def balanced(weights: Floats) -> Floats:
        shares = []
        for group in groups:
            held = weights @ group.astype(np.float64)  # (R, K)
            hits = weights @ (group & (decided == truth)).astype(np.float64)
            shares.append(np.divide(hits, held, out=np.full(held.shape, np.nan), where=held > 0))
        return _averaged(list(np.mean(shares, axis=0).T))  # NaN where a class lacks one of its groups

    return balanced


MEASURES: dict[str, Callable[[Floats, Judged], Measured]] = {
    "auroc": _auroc,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced,
}


def _right(probabilities: Floats, judged: Judged) -> Floats:
    """Whether each case (N,) is decided right; with several labels, the share of its decisions."""
    right = decide(probabilities, multi_label=judged.multi_label) == judged.truth
    found: Floats = right.mean(axis=1) if judged.multi_label else right.all(axis=1).astype(np.float64)
    return found


def _averaged(values: Sequence[Floats]) -> Floats:
    """The mean of some (R,), of those that are known."""
    table = np.stack(values)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    total = np.where(known, table, 0.0).sum(axis=0)
    mean: Floats = np.full(len(total), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _auroc_gained(judged: Judged, reference: Sequence[Floats], other: Sequence[Floats]) -> Floats:
    """What each case (N,) adds to the difference in AUROC; its sign turns where the case changes sides.

    A case is worth its place among those of the other kind, as ranked by both classifiers, by the one less by
    the other. So all swaps of cases are all flips of these signs, without approximation. Of sides of several
    classifiers it is the mean over all pairs of one of each: the sum is the difference of their mean areas.
    Source: Venkatraman and Begg 1996, Biometrika 83(4): ranks within each classifier are exchanged. Where we
    differ: what is compared is the area under the curves, not the curves.
    """
    sides = ([rankdata(one, axis=0) for one in side] for side in (reference, other))
    pairs = [np.stack(pair) for pair in product(*sides)]  # (2, N, K) each
    defined = [k for k, has in enumerate(judged.truth.T) if 0 < has.sum() < len(has)]
    gained: Floats = np.zeros(len(judged.truth))
    for ranks, k in product(pairs, defined):
        positive = judged.truth[:, k]
        for group, sign in ((positive, 1), (~positive, -1)):
            ours, theirs = _shares_below(ranks[:, group, k], ranks[:, ~group, k])
            gained[group] += sign * (theirs - ours) / group.sum()
    return gained / max(len(pairs) * len(defined), 1)


def _shares_below(values: Floats, others: Floats) -> Floats:
    """Share of all the others below each value, equals counting half."""
    pool = np.sort(others, axis=None)
    below = np.searchsorted(pool, values, "left") + np.searchsorted(pool, values, "right")
    shares: Floats = below / (2 * len(pool))
    return shares
