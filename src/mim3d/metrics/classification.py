"""How well cases are classified: discrimination, decisions and calibration, by class and on the whole.

What is not defined, since a class has no case or no other, is None: it is left out of means, never invented.
Shapes: N cases, K classes. Every case has one class, or, with several labels, any number of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TITLES = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "calibration_error": "calibration error",
    "brier": "Brier score",
}
"""Measures of an evaluation, and what they are called."""
BINS = 15
"""Of equal width, over probabilities 0 to 1, in which calibration is judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """One class against all others."""

    name: str
    cases: int
    """That have it."""
    auroc: float | None
    sensitivity: float | None
    """Share of the cases with it that are found."""
    specificity: float | None
    """Share of the cases without it that are told so."""
    f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """One case."""

    case: str
    truth: tuple[str, ...]
    """Its classes: one, or with several labels any number."""
    probabilities: dict[str, float]
    right: bool
    """Whether all that is decided about it is right."""
    brier: float
    """Its own share of the Brier score."""
    patient: str = ""
    """Keyed hash of the patient's identifier; empty if not known: the case then stands for the patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassEvaluation:
    """What came of classifying some cases by one target."""

    split: str
    target: str
    multi_label: bool
    auroc: float | None
    """Mean over the classes of which some cases have it and some have not."""
    accuracy: float | None
    """Share of the cases decided right; with several labels, of all decisions."""
    balanced_accuracy: float | None
    """Mean sensitivity of the classes that occur; with several labels, of sensitivity and specificity."""
    f1: float | None
    """Mean over the classes that occur or are predicted."""
    calibration_error: float | None
    brier: float | None
    classes: tuple[ClassScore, ...]
    cases: tuple[CaseResult, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values; None where something is not defined."""
        return {"task": "classification", "bins": BINS, **asdict(self)}


def evaluate_classes(
    probabilities: Floats,
    truth: Bools,
    classes: Sequence[str],
    cases: Sequence[str],
    *,
    multi_label: bool = False,
    target: str = "",
    split: str = "",
) -> ClassEvaluation:
    """All measures of a classifier on some cases.

    Args:
        probabilities: (N, K); rows add up to 1 unless there are several labels.
        truth: (N, K), which classes each case has.
        classes: K names.
        cases: N names.
        multi_label: Whether a case may have any number of classes.
        target: What the classes are of.
        split: Of the store.
    """
    assert probabilities.shape == truth.shape == (len(cases), len(classes))
    assert np.isfinite(probabilities).all()
    assert multi_label or (truth.sum(axis=1) == 1).all()
    decided = decide(probabilities, multi_label=multi_label)
    rows = tuple(
        _class_score(name, probabilities[:, k], truth[:, k], decided[:, k]) for k, name in enumerate(classes)
    )
    occurring = [row for row in rows if row.cases]
    if multi_label:
        balanced = [_mean((row.sensitivity, row.specificity)) for row in rows if 0 < row.cases < len(cases)]
    else:
        balanced = [row.sensitivity for row in occurring]
    right = decided == truth  # (N, K)
    errors = brier(probabilities, truth, multi_label=multi_label)
    return ClassEvaluation(
        split=split,
        target=target,
        multi_label=multi_label,
        auroc=_mean(row.auroc for row in rows),
        accuracy=_mean(right.ravel() if multi_label else right.all(axis=1)),
        balanced_accuracy=_mean(balanced),
        f1=_mean(row.f1 for row in rows),
        calibration_error=calibration_error(probabilities, truth, multi_label=multi_label),
        brier=_mean(errors),
        classes=rows,
        cases=tuple(_case_results(probabilities, truth, classes, cases, right.all(axis=1), errors)),
    )


def of_patients(evaluation: ClassEvaluation, patients: Sequence[str]) -> ClassEvaluation:
    """The same, saying of each case (N,) whose it is."""
    rows = zip(evaluation.cases, patients, strict=True)
    return replace(evaluation, cases=tuple(replace(row, patient=patient) for row, patient in rows))


def auroc(scores: Floats, positive: Bools) -> float | None:
    """Chance that a positive case scores above a negative one, ties counting half; None without either.

    Source: Hanley and McNeil 1982, Radiology 143:29-36: the Mann-Whitney statistic, from midranks.

    Args:
        scores: (N,).
        positive: (N,).
    """
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    above = midranks[place][positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def decide(probabilities: Floats, *, multi_label: bool) -> Bools:
    """Classes of each case (N, K): the most probable one, of equals the first, or all from 0.5 on."""
    if multi_label:
        return probabilities >= 0.5
    decided = np.zeros(probabilities.shape, np.bool_)
    decided[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return decided


def brier(probabilities: Floats, truth: Bools, *, multi_label: bool) -> Floats:
    """Squared error of each case's probabilities (N,), summed over classes; with several labels their mean.

    Source: Brier 1950, Monthly Weather Review 78:1-3: for one label between 0 and 2, also of two classes.
    """
    squares = (probabilities - truth) ** 2
    found: Floats = squares.mean(axis=1) if multi_label else squares.sum(axis=1)
    return found


def calibration_error(probabilities: Floats, truth: Bools, *, multi_label: bool) -> float | None:
    """Expected calibration error, in `BINS` bins of equal width; None without cases.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3: of the decided class's probability and whether it is
    right. With several labels here of each class's probability and whether the case has it.

    Args:
        probabilities: (N, K).
        truth: (N, K).
        multi_label: Whether a case may have any number of classes.
    """
    if not len(probabilities):
        return None
    if multi_label:
        confidence, right = probabilities.ravel(), truth.ravel()
    else:
        confidence = probabilities.max(axis=1)
        right = truth[np.arange(len(truth)), probabilities.argmax(axis=1)]
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _class_score(name: str, scores: Floats, truth: Bools, decided: Bools) -> ClassScore:
    hits, cases = int((truth & decided).sum()), int(truth.sum())
    wrongly = int((decided & ~truth).sum())
    others = len(truth) - cases
    named = cases + hits + wrongly  # true positives twice, missed and invented ones once
    return ClassScore(
        name=name,
        cases=cases,
        auroc=auroc(scores, truth),
        sensitivity=hits / cases if cases else None,
        specificity=1 - wrongly / others if others else None,
        f1=2 * hits / named if named else None,
    )


def _case_results(
    probabilities: Floats,
    truth: Bools,
    classes: Sequence[str],
    cases: Sequence[str],
    right: Bools,
    errors: Floats,
) -> Iterator[CaseResult]:
    for number, case in enumerate(cases):
        yield CaseResult(
            case=case,
            truth=tuple(name for name, has in zip(classes, truth[number], strict=True) if has),
            probabilities=dict(zip(classes, map(float, probabilities[number]), strict=True)),
            right=bool(right[number]),
            brier=float(errors[number]),
        )


def _mean(values: Iterable[float | None] | Floats | Bools) -> float | None:
    """Of those that are known; None if none is."""
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
