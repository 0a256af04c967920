"""How sure scores are, and which cases are the worst: what the rows of an evaluation tell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mim3d.errors import DataError
from mim3d.metrics.comparable import shared_by
from mim3d.metrics.comparison import Side, by_unit, compare_sides
from mim3d.metrics.evaluation import CaseScore, Evaluation, StructureScore
from mim3d.metrics.statistics import Interval, bootstrap_interval, mean_of
from mim3d.reporting.comparison_tables import comparison_table, interval_text
from mim3d.reporting.text_table import NOTHING, TextTable, number_text

Intervals = dict[str, Interval]
"""By structure."""
MOST_WORST = 10
"""Cases listed."""
SEED = 0
"""Of resampling: a page is the same each time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """What can be said of the differences between runs."""

    tables: tuple[TextTable, ...]
    notes: tuple[str, ...]


def intervals_of(evaluation: Evaluation, value_of: Callable[[StructureScore], float | None]) -> Intervals:
    """95 % interval of each structure's mean value, by patient; those of fewer than two patients left out.

    Args:
        evaluation: With the rows of every case.
        value_of: What is averaged; None where it is not defined.
    """
    found = {}
    for structure in evaluation.structures:
        values, units = [], []
        for case in evaluation.cases:
            for score in case.scores:
                value = value_of(score) if score.name == structure.name else None
                if value is not None:
                    values.append(value)
                    units.append(case.unit)
        if values:
            sums, counts = by_unit(np.array(values), units)
            interval = bootstrap_interval(mean_of(sums, counts), len(sums), seed=SEED)
            if interval is not None:
                found[structure.name] = interval
    return found


def details_of(evaluation: Evaluation) -> Iterator[TextTable]:
    """What the rows of an evaluation tell beside its means."""
    yield volumes_table(evaluation)
    worst = worst_cases(evaluation)
    if worst is not None:
        yield worst


def volumes_table(evaluation: Evaluation) -> TextTable:
    """Volumes, and lesions where they were counted."""
    lesions = any(row.lesions is not None for row in evaluation.structures)
    headings = ("structure", "volume off by ml", "95 % interval", "invented ml")
    sure = intervals_of(evaluation, _volume_off)
    rows = []
    for row in evaluation.structures:
        off = NOTHING if row.volume_difference_ml is None else f"{row.volume_difference_ml:+.1f}"
        between = interval_text(sure.get(row.name), 1)
        cells = [row.name, off, between, f"{row.false_positive_ml:.1f}" if row.invented else NOTHING]
        if lesions:
            found = row.lesions
            cells.append(NOTHING if found is None else f"{found.found} of {found.truth}")
            cells.append(number_text(None if found is None else found.false_positives_per_case, 2))
        rows.append(tuple(cells))
    return TextTable(
        title="Volumes" + (" and lesions" if lesions else ""),
        headings=(*headings, *(("lesions found", "false lesions a case") if lesions else ())),
        rows=tuple(rows),
    )


def worst_cases(evaluation: Evaluation) -> TextTable | None:
    """The cases with the lowest mean Dice; None where there are no more than one."""
    rows = [(mean, case) for case in evaluation.cases if (mean := _mean_dice(case)) is not None]
    if len(rows) < 2:
        return None
    rows.sort(key=lambda row: (row[0], row[1].case))
    left = len(rows) - MOST_WORST
    return TextTable(
        title="Cases, worst first",
        headings=("case", "mean Dice", "lowest structure", "its Dice", "HD95 mm", "missed", "invented"),
        rows=tuple(_worst_row(mean, case) for mean, case in rows[:MOST_WORST]),
        notes=(f"{left} better ones are left out.",) if left > 0 else (),
    )


def statistics_of(evaluations: Mapping[str, Evaluation]) -> Statistics | None:
    """Paired differences in Dice of some runs against the first; None for fewer than two."""
    if len(evaluations) < 2:
        return None
    sides = [Side(name=name, evaluation=one) for name, one in evaluations.items()]
    try:
        common = shared_by(sides, shared=True)
    except DataError as error:
        return Statistics(tables=(), notes=(f"No paired comparison: {error}.",))
    found = compare_sides(sides, "dice", common.structures, common.cases, SEED)
    more = "NSD, HD95 and more, and groups of cases: mim3d compare."
    return Statistics(
        tables=tuple(comparison_table(one) for one in found if one.rows), notes=(*common.notes, more)
    )


def _volume_off(score: StructureScore) -> float | None:
    return None if score.outcome == "neither" else score.volume_difference_ml


def _mean_dice(case: CaseScore) -> float | None:
    dices = [score.dice for score in case.scores if score.dice is not None]
    return fmean(dices) if dices else None


def _worst_row(mean: float, case: CaseScore) -> tuple[str, ...]:
    known = [score for score in case.scores if score.dice is not None]
    lowest = min(known, key=lambda score: score.dice or 0.0)
    outcomes = [score.outcome for score in case.scores]
    name = case.case if case.seed is None else f"{case.case} (seed {case.seed})"
    return (
        name,
        f"{mean:.3f}",
        lowest.name,
        f"{lowest.dice:.3f}",
        number_text(lowest.hd95_mm, 1),
        _count(outcomes, "truth only"),
        _count(outcomes, "prediction only"),
    )


def _count(outcomes: Sequence[str], outcome: str) -> str:
    return str(outcomes.count(outcome) or NOTHING)
