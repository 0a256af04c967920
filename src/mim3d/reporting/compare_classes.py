"""Classifiers side by side: curves, measures, and what can be said of their differences."""

from mim3d.errors import MimError
from mim3d.metrics.classification import TITLES
from mim3d.reporting.certainty import SEED, Statistics
from mim3d.reporting.class_sides import class_side, classified_alike, compare_class_sides
from mim3d.reporting.comparison_tables import class_table
from mim3d.reporting.curves import Chart, Curve, line_chart
from mim3d.reporting.run import Classified, Run, number
from mim3d.reporting.summary import decisive_classes, of_split
from mim3d.reporting.tables import show


def class_outcome(scores: dict[str, Classified]) -> str:
    """AUROC of each classifier."""
    each = (f"{name} {show(number(one.content.get('auroc')), 'auroc')}" for name, one in scores.items())
    return f"AUROC{of_split(one.split for one in scores.values())}: {', '.join(each)}."


def class_scores(runs: dict[str, Run]) -> dict[str, Classified]:
    """The evaluation that counts of each classifier that has one."""
    return {name: one for name, run in runs.items() if (one := decisive_classes(run)) is not None}


def class_charts(runs: dict[str, Run]) -> tuple[Chart, ...]:
    """Validation against the step, where all chose by one measure."""
    columns = {name for run in runs.values() for name in run.metrics if name.startswith("validation_")}
    if len(columns) != 1:
        return ()
    (column,) = columns
    curves = [
        Curve(label=name, steps=run.metrics["step"], values=run.metrics[column])
        for name, run in runs.items()
        if column in run.metrics
    ]
    measure = column.removeprefix("validation_")
    return (
        line_chart(f"Validation {TITLES.get(measure, measure)}", "By which the best step is chosen.", curves),
    )


def class_statistics(scores: dict[str, Classified]) -> Statistics | None:
    """Differences of some classifiers from the first; None for fewer than two."""
    if len(scores) < 2:
        return None
    try:
        sides = [class_side(name, [one.content], one.file) for name, one in scores.items()]
        alike = classified_alike(sides, shared=True)
    except MimError as error:
        return Statistics(tables=(), notes=(f"No paired comparison: {error}.",))
    found = compare_class_sides(sides, alike, SEED)
    tables = (class_table(sides[0].name, name, rows) for name, rows in found.items())
    return Statistics(tables=tuple(tables), notes=alike.notes)
