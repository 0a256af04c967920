"""Scores of runs on several folds and of several seeds: pooled over their cases, and how much they vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from mim3d.metrics.evaluation import Evaluation, summarise

FoldSeed = tuple[int, int]
"""Fold and seed of a run."""
MEASURES = ("dice", "nsd", "hd95_mm", "volume_difference_ml")
"""Of a structure, that a summary has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A value of several runs."""

    mean: float
    folds: float | None
    """Standard deviation over the folds, of each the mean over its seeds; None for a single fold."""
    seeds: float | None
    """Standard deviation over the seeds, of each the mean over its folds; None for a single seed."""


def pooled(evaluations: Mapping[FoldSeed, Evaluation]) -> Evaluation:
    """All cases of all folds, a row for each seed; the means are over all of them."""
    return joined(
        [
            replace(one, cases=tuple(replace(case, seed=seed) for case in one.cases))
            for (_, seed), one in evaluations.items()
        ]
    )


def joined(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The rows of all evaluations, and their means; what else is said is that of the first."""
    first = evaluations[0]
    cases = [case for one in evaluations for case in one.cases]
    names = [row.name for row in first.structures]
    return summarise(cases, names, first.split, grid=first.grid, labels=first.labels)


def spread(values: Mapping[FoldSeed, float | None]) -> Spread | None:
    """How a value varies over folds and seeds; runs that have none are left out; None if none has any."""
    known = {place: value for place, value in values.items() if value is not None}
    if not known:
        return None
    folds, seeds = [_means(known, axis) for axis in (0, 1)]
    return Spread(
        mean=fmean(known.values()),
        folds=stdev(folds) if len(folds) > 1 else None,
        seeds=stdev(seeds) if len(seeds) > 1 else None,
    )


def spreads(evaluations: Mapping[FoldSeed, Evaluation]) -> dict[str, dict[str, Spread | None]]:
    """Structure to measure to how it varies; under `mean` the mean over the structures, of Dice alone."""
    names = list(dict.fromkeys(row.name for one in evaluations.values() for row in one.structures))
    found = {
        name: {
            measure: spread({place: _value(one, name, measure) for place, one in evaluations.items()})
            for measure in MEASURES
        }
        for name in names
    }
    return {**found, "mean": {"dice": spread({place: one.dice for place, one in evaluations.items()})}}


def _means(values: Mapping[FoldSeed, float], axis: int) -> Sequence[float]:
    groups: dict[int, list[float]] = {}
    for place, value in values.items():
        groups.setdefault(place[axis], []).append(value)
    return [fmean(group) for group in groups.values()]


def _value(evaluation: Evaluation, name: str, measure: str) -> float | None:
    row = next((row for row in evaluation.structures if row.name == name), None)
    value: float | None = None if row is None else getattr(row, measure)
    return value
