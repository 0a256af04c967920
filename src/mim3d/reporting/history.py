"""Charts of a run's metrics.csv."""

from collections.abc import Iterator

import numpy as np

from mim3d.reporting.curves import Chart, Curve, line_chart
from mim3d.reporting.run import Run

CHARTS = {
    "loss": ("Loss", "The sum that is minimised, and its terms where they are logged."),
    "reconstruct": ("Reconstruction", "Error on hidden patches, by level; 0 is the outermost."),
    "align": ("Alignment", "Children and their place in the parent, by pair of levels."),
    "found": ("Alignment: found", "Share whose true match is the most similar; blind: from places alone."),
    "collapse": ("Alignment: collapse", "Cosine near 1 or spread near 0: what is to be found is all alike."),
    "r2": ("Reconstruction: R²", "Share of the error that each level takes away; above 0 beats the obvious."),
    "validation_dice": ("Validation Dice", "Mean over structures and validation cases."),
    "accuracy": ("Accuracy while training", "Share of the decisions on each step's volumes that are right."),
    "validation": ("Validation", "By which the best step is chosen; on the validation cases."),
    "lr": (
        "Learning rate",
        "For the whole batch; of an encoder that learns at rates of its own, the lowest.",
    ),
}
"""Title and caption of a chart by the name of its columns in metrics.csv."""
SHARED = {
    "dice_loss": "loss",
    "focal_loss": "loss",
    "cross_entropy": "loss",
    "found_blind": "found",
    "align_cosine": "collapse",
    "align_spread": "collapse",
    "r2_mean": "r2",
    "r2_interpolation": "r2",
    "validation_auroc": "validation",
    "validation_accuracy": "validation",
    "validation_balanced_accuracy": "validation",
    "validation_f1": "validation",
}
"""Chart of columns that have none of their own, by the column's name up to the slash."""
OF_PAIRS = ("align", "found", "found_blind", "align_cosine", "align_spread")
"""Columns whose number is that of a pair of adjacent levels."""
KINDS = {
    "found_blind": "blind",
    "align_cosine": "cosine",
    "align_spread": "spread",
    "r2_mean": "over its mean",
    "r2_interpolation": "over interpolation",
}
"""What tells columns of one chart and level apart."""


def charts_of(run: Run) -> Iterator[Chart]:
    """One chart for each group of columns of metrics.csv, the learning rate last."""
    groups: dict[str, list[str]] = {}
    for column in run.metrics:
        if column != "step" and np.isfinite(run.metrics[column]).any():
            kind = column.split("/")[0]
            groups.setdefault(SHARED.get(kind, kind), []).append(column)
    for group, columns in sorted(groups.items(), key=lambda item: item[0] == "lr"):
        title, caption = CHARTS.get(group, (group.replace("_", " "), ""))
        curves = (
            Curve(
                label=curve_label(column),
                steps=run.metrics["step"],
                values=run.metrics[column],
                noisy=group != "lr",
            )
            for column in columns
        )
        yield line_chart(title, caption, curves)


def curve_label(column: str) -> str:
    """A column of metrics.csv in words."""
    group, _, number = column.partition("/")
    if not number.isdigit():
        return (number or column).replace("_", " ")
    where = f"levels {number} and {int(number) + 1}" if group in OF_PAIRS else f"level {number}"
    return f"{where}, {KINDS[group]}" if group in KINDS else where
