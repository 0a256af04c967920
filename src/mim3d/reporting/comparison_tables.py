"""Comparisons of runs as tables of texts, and as rows of numbers for a CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mim3d.metrics.class_comparison import ClassDifference
from mim3d.metrics.classification import TITLES
from mim3d.metrics.comparison import MEASURES, Compared, Difference, Measure
from mim3d.metrics.statistics import Interval, least_p
from mim3d.metrics.subgroups import FEW, Subgroup
from mim3d.reporting.text_table import NOTHING, TextTable, counted

COLUMNS = (
    "measure",
    "reference",
    "other",
    "structure",
    "cases",
    "patients",
    "reference_mean",
    "other_mean",
    "difference",
    "low",
    "high",
    "p_signed_rank",
    "p_signed_rank_holm",
    "p_sign_flip",
    "p_sign_flip_holm",
)
"""Of the CSV."""
CLASS_COLUMNS = (
    "measure",
    "reference_name",
    "other_name",
    "cases",
    "patients",
    "reference",
    "other",
    "difference",
    "low",
    "high",
    "p_swap",
    "corrected_swap",
)
"""Of the CSV about classifiers."""


def comparison_table(compared: Compared) -> TextTable:
    """One measure of two sides, structure by structure."""
    measure = MEASURES[compared.measure]
    patients = max((row.patients for row in compared.rows), default=0)
    cases = max((row.cases for row in compared.rows), default=0)
    over = _number_of(cases, patients)
    return TextTable(
        title=f"{measure.title}: {compared.other} less {compared.reference}, {over} "
        f"({measure.better} is better)",
        headings=(
            "structure",
            compared.reference,
            compared.other,
            "difference",
            "95 % interval",
            "p Wilcoxon",
            "Holm",
            "p permutation",
            "Holm",
            "cases",
        ),
        rows=tuple(_row(row, measure) for row in compared.rows),
        notes=tuple(_limits({row.patients for row in compared.rows})),
    )


def _row(row: Difference, measure: Measure) -> tuple[str, ...]:
    return (
        row.structure,
        f"{row.reference:.{measure.digits}f}",
        f"{row.other:.{measure.digits}f}",
        f"{row.difference:+.{measure.digits}f}",
        interval_text(row.interval, measure.digits),
        p_text(row.p_signed_rank),
        p_text(row.corrected_signed_rank),
        p_text(row.p_sign_flip),
        p_text(row.corrected_sign_flip),
        str(row.cases),
    )


def _limits(patients: set[int]) -> Iterator[str]:
    """What so few patients cannot tell."""
    for number in sorted(patients):
        if least_p(number) > 0.001:
            least = f"no p can be below {least_p(number):.3g}, before correction"
            yield f"With {counted(number, 'patient')} {least}."


def subgroup_table(
    groups: Sequence[Subgroup], names: Sequence[str], title: str, digits: int, note: str = ""
) -> TextTable:
    """Groups of cases, column by column.

    Args:
        groups: In order.
        names: Of the sides.
        title: What was measured.
        digits: Shown after the decimal point.
        note: What else there is to say.
    """
    compared: list[str] = []
    for name in names[1:]:
        compared += [f"{name} less {names[0]}", "95 % interval"]
    rows = []
    for group in groups:
        cells = [f"{mean:.{digits}f}" for mean in group.means]
        for difference, interval in zip(group.differences, group.intervals, strict=False):
            cells += [f"{difference:+.{digits}f}", interval_text(interval, digits)]
        if len(names) == 1:
            cells.append(interval_text(group.intervals[0], digits))
        mark = " *" if group.few else ""
        rows.append((f"{group.column}: {group.value}{mark}", *cells, str(group.cases), str(group.patients)))
    few = f"* fewer than {FEW} patients: too few to say much." if any(g.few for g in groups) else ""
    return TextTable(
        title=f"{title} by group",
        headings=("group", *names, *(compared or ["95 % interval"]), "cases", "patients"),
        rows=tuple(rows),
        notes=tuple(filter(None, (few, "No tests: of many groups some differ by chance.", note))),
    )


def _number_of(cases: int, patients: int) -> str:
    return counted(cases, "case") + ("" if cases == patients else f" of {counted(patients, 'patient')}")


def interval_text(interval: Interval | None, digits: int) -> str:
    """Both ends of an interval."""
    return NOTHING if interval is None else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def p_text(p: float) -> str:
    """A p value as it is printed."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def as_csv(compared: Sequence[Compared]) -> str:
    """All rows with all digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in compared:
        for row in one.rows:
            ends = ("", "") if row.interval is None else (row.interval.low, row.interval.high)
            writer.writerow(
                (
                    one.measure,
                    one.reference,
                    one.other,
                    row.structure,
                    row.cases,
                    row.patients,
                    row.reference,
                    row.other,
                    row.difference,
                    *ends,
                    row.p_signed_rank,
                    row.corrected_signed_rank,
                    row.p_sign_flip,
                    row.corrected_sign_flip,
                )
            )
    return text.getvalue()


def class_table(reference: str, other: str, rows: Sequence[ClassDifference]) -> TextTable:
    """Measures of two sides."""
    over = _number_of(rows[0].cases, rows[0].patients) if rows else "no case"
    return TextTable(
        title=f"{other} less {reference}, {over} (more is better)",
        headings=("measure", reference, other, "difference", "95 % interval", "p permutation", "Holm"),
        rows=tuple(
            (
                TITLES[row.measure],
                f"{row.reference:.3f}",
                f"{row.other:.3f}",
                f"{row.difference:+.3f}",
                interval_text(row.interval, 3),
                *(NOTHING if p is None else p_text(p) for p in (row.p_swap, row.corrected_swap)),
            )
            for row in rows
        ),
        notes=tuple(_limits({row.patients for row in rows})),
    )


def class_rows(reference: str, found: Mapping[str, Sequence[ClassDifference]]) -> list[dict[str, Any]]:
    """All rows as plain values."""
    return [
        {"reference_name": reference, "other_name": name, **asdict(row)}
        for name, rows in found.items()
        for row in rows
    ]


def class_csv(rows: Sequence[dict[str, Any]]) -> str:
    """All rows with all digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CLASS_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | (row["interval"] or {}))
    return text.getvalue()
