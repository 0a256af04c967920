"""Charts of a run's metrics.csv."""

from collections.abc import Iterator

import numpy as np

from mim3d.reporting.curves import Chart, Curve, line_chart
from mim3d.reporting.run import Run

CHARTS = {
    "loss": ("Loss", "The sum that is minimised, and its terms where they are logged."),
    "reconstruct": ("Reconstruction", "Error on hidden patches, by level; 0 is the outermost."),
    "align": ("Alignment", "Children and their place in the parent, by pair of levels."),
    "validation_dice": ("Validation Dice", "Mean over structures and validation cases."),
    "lr": ("Learning rate", "For the whole batch."),
}
"""Title and caption of a chart by the name of its columns in metrics.csv."""
LOSS_TERMS = ("loss", "dice_loss", "cross_entropy")
"""Columns that share a chart."""


def charts_of(run: Run) -> Iterator[Chart]:
    """One chart for each group of columns of metrics.csv, the learning rate last."""
    groups: dict[str, list[str]] = {}
    for column in run.metrics:
        if column != "step" and np.isfinite(run.metrics[column]).any():
            group = "loss" if column in LOSS_TERMS else column.split("/")[0]
            groups.setdefault(group, []).append(column)
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
    if group == "align" and number.isdigit():
        return f"levels {number} and {int(number) + 1}"
    return f"level {number}" if number.isdigit() else (number or column).replace("_", " ")
