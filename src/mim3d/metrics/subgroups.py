"""Scores by what a store says of the cases: scanner, slice thickness, phase, disease and the like."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mim3d.errors import ConfigError
from mim3d.metrics.class_comparison import Floats, Judged, less, measured, whole
from mim3d.metrics.comparison import Side, by_unit, case_values, overall, units_of
from mim3d.metrics.statistics import Interval, bootstrap_interval, mean_of

Facts = Mapping[str, Mapping[str, Any]]
"""Case to column or target to value."""
FEW = 10
"""Patients below which a group is too small to say much."""
COLUMNS = (
    "manufacturer",
    "scanner",
    "thickness",
    "kernel",
    "contrast",
    "phase",
    "age",
    "sex",
    "modality",
    "split",
    "source_spacing",
)
"""Of the catalog, that cases can be grouped by; beside them the targets of the store."""
BANDS = (1.0, 2.0, 3.0, 5.0)
"""mm, ends of the groups of slice thickness and of the scans' own largest spacing."""
UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subgroup:
    """Cases alike in one column."""

    column: str
    value: str
    cases: int
    patients: int
    means: tuple[float, ...]
    """Of each side, the mean over the cases of the mean over the structures."""
    differences: tuple[float, ...]
    """Of each other side, less the reference."""
    intervals: tuple[Interval | None, ...]
    """Of the differences; of a single side, of its mean."""

    @property
    def few(self) -> bool:
        """Whether there are too few patients to say much."""
        return self.patients < FEW


def subgroups(
    sides: Sequence[Side],
    measure: str,
    structures: Sequence[str],
    facts: Facts,
    columns: Sequence[str],
    seed: int,
) -> tuple[Subgroup, ...]:
    """Groups of the cases that all sides have, column by column, the largest first.

    Args:
        sides: The reference and the others, comparable; or a single one.
        measure: One of `comparison.MEASURES`.
        structures: To be averaged over.
        facts: Case to column or target to value; only these cases are looked at.
        columns: To group by: of `COLUMNS`, or targets.
        seed: Of resampling.

    Raises:
        ConfigError: If there is no such column.
    """
    tables = [case_values(side.evaluation, measure, structures) for side in sides]
    values = overall(tables, structures, list(facts))
    units = units_of(sides)
    return _in_order(
        _subgroup(column, value, {case: values[case] for case in cases}, units, seed)
        for column, value, cases in grouped(values, facts, columns)
    )


def class_subgroups(
    judged: Judged,
    sides: Sequence[Sequence[Floats]],
    cases: Sequence[str],
    measure: str,
    facts: Facts,
    columns: Sequence[str],
    seed: int,
) -> tuple[Subgroup, ...]:
    """The same of classifiers; groups of which the measure is not defined are left out.

    Args:
        judged: The cases.
        sides: Probabilities (N, K) of each classifier of the reference and of the others; or of a single one.
        cases: Their names (N,).
        measure: One of `class_comparison.MEASURES`.
        facts: Case to column or target to value; only these cases are looked at.
        columns: To group by: of `COLUMNS`, or targets.
        seed: Of resampling.

    Raises:
        ConfigError: If there is no such column.
    """
    place = {case: number for number, case in enumerate(cases)}
    found = []
    for column, value, members in grouped([case for case in cases if case in facts], facts, columns):
        places = np.array([place[case] for case in members])
        group = judged.some(places)
        statistics = [measured(group, [one[places] for one in side], measure) for side in sides]
        means = [whole(group, one) for one in statistics]
        compared = [less(statistics[0], one) for one in statistics[1:]]
        if np.isfinite(means).all():
            found.append(
                Subgroup(
                    column=column,
                    value=value,
                    cases=len(members),
                    patients=group.units,
                    means=tuple(means),
                    differences=tuple(mean - means[0] for mean in means[1:]),
                    intervals=tuple(
                        bootstrap_interval(one, group.units, seed=seed) for one in compared or statistics
                    ),
                )
            )
    return _in_order(found)


def grouped(
    cases: Iterable[str], facts: Facts, columns: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    """Column, value and cases of each group, column by column.

    Raises:
        ConfigError: If there is no such column.
    """
    known = dict.fromkeys((*COLUMNS, *(name for one in facts.values() for name in one)))
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise ConfigError(f"cases cannot be grouped by {unknown[0]}; there are {', '.join(known)}")
    cases = list(cases)
    for column in columns:
        members: dict[str, list[str]] = {}
        for case in cases:
            members.setdefault(group_of(column, facts[case].get(column)), []).append(case)
        for value, group in members.items():
            yield column, value, group


def _in_order(groups: Iterable[Subgroup]) -> tuple[Subgroup, ...]:
    """Column by column as they come, within a column the largest first."""
    found = list(groups)
    columns = list(dict.fromkeys(group.column for group in found))
    return tuple(sorted(found, key=lambda group: (columns.index(group.column), -group.patients, group.value)))


def group_of(column: str, value: Any) -> str:
    """The group that a value of a column belongs to."""
    if value in (None, ""):
        return UNKNOWN
    if isinstance(value, str):
        return value
    if column == "age":
        return f"{value} and above" if value >= 90 else f"{value} to {value + 9}"
    if column == "source_spacing":
        value = max(value)
    if column in ("thickness", "source_spacing"):
        return _band(float(value))
    return str(value)


def _band(mm: float) -> str:
    for low, high in zip((0.0, *BANDS), BANDS, strict=False):
        if mm <= high:
            return f"up to {high:g} mm" if low == 0 else f"above {low:g} to {high:g} mm"
    return f"above {BANDS[-1]:g} mm"


def _subgroup(
    column: str, value: str, values: Mapping[str, tuple[float, ...]], units: Mapping[str, str], seed: int
) -> Subgroup:
    table = np.array(list(values.values()))  # (N, sides)
    named = [units[case] for case in values]
    differences = table[:, 1:] - table[:, :1]  # (N, sides - 1)
    measured = differences if differences.shape[1] else table
    intervals = []
    for column_values in measured.T:
        sums, counts = by_unit(column_values, named)
        intervals.append(bootstrap_interval(mean_of(sums, counts), len(sums), seed=seed))
    return Subgroup(
        column=column,
        value=value,
        cases=len(values),
        patients=len(set(named)),
        means=tuple(map(float, table.mean(axis=0))),
        differences=tuple(map(float, differences.mean(axis=0))),
        intervals=tuple(intervals),
    )
