"""Runs that were scored on the same cases, case by case against one another.

A side is a run, or several of it that differ in their seed: their scores are averaged case by case first. A
difference is what the other side has more than the reference. Only cases whose truth holds a structure count,
so that which cases these are hangs on no prediction. Patients are what is independent: all cases of one are
resampled, and have their signs flipped, together.

Shapes: N cases that both sides have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mim3d.metrics.evaluation import Evaluation, StructureScore
from mim3d.metrics.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    mean_of,
    sign_flip_p,
    signed_rank_p,
)

ALL = "all structures"
"""Name of the row over all structures: in each case the mean over those that both sides have there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """What is compared."""

    title: str
    digits: int
    """Shown after the decimal point."""
    better: Literal["more", "less"]
    of: Callable[[StructureScore], float | None]


def _found(score: StructureScore) -> float | None:
    return score.lesions.found / score.lesions.truth if score.lesions and score.lesions.truth else None


MEASURES: dict[str, Measure] = {
    "dice": Measure(title="Dice", digits=3, better="more", of=lambda score: score.dice),
    "nsd": Measure(title="NSD", digits=3, better="more", of=lambda score: score.nsd),
    "hd95_mm": Measure(title="HD95 mm", digits=1, better="less", of=lambda score: score.hd95_mm),
    "volume_error_ml": Measure(
        title="volume error ml", digits=1, better="less", of=lambda score: abs(score.volume_difference_ml)
    ),
    "lesions_found": Measure(title="share of lesions found", digits=3, better="more", of=_found),
    "false_lesions": Measure(
        title="false lesions",
        digits=2,
        better="less",
        of=lambda score: float(score.lesions.false_positives) if score.lesions else None,
    ),
}
LESION_MEASURES = ("lesions_found", "false_lesions")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A run, or several of it."""

    name: str
    evaluation: Evaluation
    runs: int = 1
    """Whose scores are averaged case by case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One structure: the other side less the reference."""

    structure: str
    cases: int
    patients: int
    reference: float
    """Mean over the cases."""
    other: float
    """Mean over the same cases."""
    difference: float
    """Mean over the cases of other less reference."""
    interval: Interval | None
    """Of the difference; None for fewer than two patients."""
    p_signed_rank: float
    """Wilcoxon's test of the patients' mean differences."""
    p_sign_flip: float
    """Permutation test of the mean difference: the signs of all of a patient's cases are flipped together."""
    corrected_signed_rank: float = 1.0
    """By Holm, for all structures and other sides of one measure; the rows over all structures apart."""
    corrected_sign_flip: float = 1.0
    """Likewise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One measure of one other side against the reference."""

    measure: str
    reference: str
    other: str
    rows: tuple[Difference, ...]
    """Structures that have a value somewhere, then all of them together where there are several."""


def compare_sides(
    sides: Sequence[Side], measure: str, structures: Sequence[str], cases: Sequence[str], seed: int
) -> tuple[Compared, ...]:
    """Each other side against the first, in one measure.

    Args:
        sides: The reference and the others, comparable (`comparable.py`).
        measure: One of `MEASURES`.
        structures: To be compared.
        cases: To be compared.
        seed: Of resampling and random flips.
    """
    tables = [case_values(side.evaluation, measure, structures) for side in sides]
    unit_of = units_of(sides)
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in structures}
    if len(structures) > 1:
        groups[ALL] = tuple(structures)
    found = []
    for side, table in zip(sides[1:], tables[1:], strict=True):
        rows = tuple(
            _difference(name, pairs, unit_of, seed)
            for name, group in groups.items()
            if (pairs := overall((tables[0], table), group, cases))
        )
        found.append(Compared(measure=measure, reference=sides[0].name, other=side.name, rows=rows))
    return _corrected(found)


def units_of(sides: Sequence[Side]) -> dict[str, str]:
    """Case to patient, as far as one of the sides knows them; else the case stands for its patient."""
    found: dict[str, str] = {}
    for side in sides:
        for case in side.evaluation.cases:
            if found.get(case.case, case.case) == case.case:
                found[case.case] = case.unit
    return found


def case_values(
    evaluation: Evaluation, measure: str, structures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Structure -> case -> value, the mean over the seeds; where the truth holds the structure."""
    of = MEASURES[measure].of
    found: dict[str, dict[str, list[float]]] = {name: {} for name in structures}
    for case in evaluation.cases:
        for score in case.scores:
            counts = score.outcome in ("both", "truth only") or measure == "false_lesions"
            value = of(score) if counts and score.name in found else None
            if value is not None:
                found[score.name].setdefault(case.case, []).append(value)
    return {name: {case: fmean(some) for case, some in cases.items()} for name, cases in found.items()}


def overall(
    tables: Sequence[dict[str, dict[str, float]]], structures: Sequence[str], cases: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Case to each side's mean over the structures that all sides have there; cases without any left out."""
    found = {}
    for case in cases:
        known = [name for name in structures if all(case in table[name] for table in tables)]
        if known:
            found[case] = tuple(fmean(table[name][case] for name in known) for table in tables)
    return found


def _difference(
    name: str, pairs: dict[str, tuple[float, ...]], unit_of: dict[str, str], seed: int
) -> Difference:
    values = np.array(list(pairs.values()))  # (N, 2)
    differences = values[:, 1] - values[:, 0]
    sums, counts = by_unit(differences, [unit_of[case] for case in pairs])
    return Difference(
        structure=name,
        cases=len(pairs),
        patients=len(sums),
        reference=float(values[:, 0].mean()),
        other=float(values[:, 1].mean()),
        difference=float(differences.mean()),
        interval=bootstrap_interval(mean_of(sums, counts), len(sums), seed=seed),
        p_signed_rank=signed_rank_p(sums / counts),
        p_sign_flip=sign_flip_p(sums, seed),
    )


def by_unit(
    values: NDArray[np.float64], units: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the values (N,) of each unit, and how many there are, units in the order of their names."""
    _, places = np.unique(np.asarray(units), return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(places, values).astype(np.float64)
    return sums, np.bincount(places).astype(np.float64)


def _corrected(found: Sequence[Compared]) -> tuple[Compared, ...]:
    """With p values corrected: structures of all other sides together, rows over all structures apart."""
    rows = [list(one.rows) for one in found]
    for over_all in (False, True):
        family = [
            (n, m)
            for n, some in enumerate(rows)
            for m, row in enumerate(some)
            if (row.structure == ALL) == over_all
        ]
        ranks = holm([rows[n][m].p_signed_rank for n, m in family])
        flips = holm([rows[n][m].p_sign_flip for n, m in family])
        for (n, m), rank, flip in zip(family, ranks, flips, strict=True):
            rows[n][m] = replace(rows[n][m], corrected_signed_rank=rank, corrected_sign_flip=flip)
    return tuple(replace(one, rows=tuple(some)) for one, some in zip(found, rows, strict=True))
