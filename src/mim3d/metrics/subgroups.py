"""Scores by what a store says of the cases: scanner, slice thickness, phase, disease and the like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mim3d.errors import ConfigError
from mim3d.metrics.comparison import Side, by_unit, case_values, overall, units_of
from mim3d.metrics.statistics import Interval, bootstrap_interval, mean_of

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
    facts: Mapping[str, Mapping[str, Any]],
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
    known = dict.fromkeys((*COLUMNS, *(name for one in facts.values() for name in one)))
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise ConfigError(f"cases cannot be grouped by {unknown[0]}; there are {', '.join(known)}")
    tables = [case_values(side.evaluation, measure, structures) for side in sides]
    values = overall(tables, structures, list(facts))
    units = units_of(sides)
    found = []
    for column in columns:
        members: dict[str, list[str]] = {}
        for case in values:
            members.setdefault(group_of(column, facts[case].get(column)), []).append(case)
        groups = [
            _subgroup(column, name, {case: values[case] for case in cases}, units, seed)
            for name, cases in members.items()
        ]
        found += sorted(groups, key=lambda group: (-group.patients, group.value))
    return tuple(found)


def group_of(column: str, value: Any) -> str:
    """The group that a value of a column belongs to."""
    if value in (None, ""):
        return UNKNOWN
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
