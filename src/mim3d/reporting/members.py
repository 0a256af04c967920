"""Runs of a cross-validation on one page: how each went, and how much they differ."""

from dataclasses import replace
from typing import Any

from mim3d.metrics.classification import TITLES
from mim3d.reporting.curves import Chart, Curve, line_chart
from mim3d.reporting.run import Run, number
from mim3d.reporting.snapshots import Segmentation
from mim3d.reporting.text_table import TextTable, number_text

MOST_CURVES = 12
"""Runs whose curves are drawn."""


def with_members(run: Run) -> Run:
    """A cross-validation with the pictures of its runs; other runs as they are."""
    shown = [one.segmentation for one in run.members if one.segmentation is not None]
    if run.segmentation is not None or not shown:
        return run
    cases = [
        replace(case, case=f"{case.case} in {one.name}")
        for one in run.members
        for case in (one.segmentation.cases if one.segmentation else ())
    ]
    worst = sorted(cases, key=lambda case: -1.0 if case.dice is None else case.dice)
    first = shown[0]
    pictures = Segmentation(structures=first.structures, colours=first.colours, cases=tuple(worst))
    return replace(run, segmentation=pictures)


def member_charts(run: Run) -> tuple[Chart, ...]:
    """Validation and loss of all runs against the step."""
    members = run.members[:MOST_CURVES]
    columns = [name for one in members for name in one.metrics if name.startswith("validation_")]
    charts = []
    for column in dict.fromkeys([*columns, "loss"]):
        curves = [
            Curve(label=one.name, steps=one.metrics["step"], values=one.metrics[column])
            for one in members
            if column in one.metrics
        ]
        if curves:
            charts.append(line_chart(_title(column), "One line a run.", curves))
    return tuple(charts)


def member_tables(run: Run) -> tuple[TextTable, ...]:
    """Each run's score, and means with their spread over folds and seeds."""
    if not run.summary:
        return ()
    runs = run.summary.get("runs", [])
    measure = next((name for name in ("dice", "auroc") if any(name in row for row in runs)), "dice")
    title = {"dice": "mean Dice", "auroc": "AUROC"}[measure]
    table = TextTable(
        title="Runs",
        headings=("run", "fold", "seed", title),
        rows=tuple(
            (str(row.get("run")), str(row.get("fold")), str(row.get("seed")), _text(row.get(measure)))
            for row in runs
        ),
    )
    return (_spread_table(run.summary), table)


def _spread_table(summary: dict[str, Any]) -> TextTable:
    if "structures" in summary:
        rows = {name: one.get("dice") for name, one in summary["structures"].items()}
        title, heading = "Dice: mean over runs, and standard deviation over folds and over seeds", "structure"
    else:
        rows = {TITLES.get(name, name): one for name, one in summary.get("measures", {}).items()}
        title, heading = "Mean over runs, and standard deviation over folds and over seeds", "measure"
    return TextTable(
        title=title,
        headings=(heading, "mean", "folds", "seeds"),
        rows=tuple(
            (name, *(_text((row or {}).get(part)) for part in ("mean", "folds", "seeds")))
            for name, row in rows.items()
        ),
        notes=("The spread over folds is no standard error: folds share training cases.",),
    )


def _title(column: str) -> str:
    """A column of metrics.csv in words."""
    first, _, measure = column.partition("_")
    named = {"dice": "Dice", **TITLES}.get(measure, measure)
    return f"{first.capitalize()} {named}".strip()


def _text(value: Any) -> str:
    return number_text(number(value))
