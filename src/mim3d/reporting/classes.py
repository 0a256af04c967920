"""Pictures and tables of a classifier: ROC curves, calibration, confusion.

Shapes: N cases, K classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.metrics.classification import BINS, TITLES, auroc, decide
from mim3d.reporting.class_sides import ClassSide, class_side
from mim3d.reporting.curves import Chart, Curve, square_chart
from mim3d.reporting.run import Classified, number
from mim3d.reporting.summary import SPLITS
from mim3d.reporting.text_table import NOTHING, TextTable, counted, number_text

MOST_CURVES = 6
"""Classes whose ROC is drawn; those with the most cases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassesSection:
    """What a page shows of one evaluation of a classifier."""

    title: str
    tables: tuple[TextTable, ...]
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    classes: tuple[str, ...]
    truth: NDArray[np.bool_]
    """(N, K)."""
    probabilities: NDArray[np.float64]
    """(N, K)."""
    multi_label: bool


def classes_section(found: Classified) -> ClassesSection:
    """Measures, curves and confusion of one evaluation."""
    content = found.content
    split = SPLITS.get(found.split, found.split)
    side = class_side("", [content], found.file)
    known = _known(side)
    count = len(side.rows)
    tables = [_measures(content)]
    if content.get("classes"):
        tables.append(_by_class(content))
    charts: tuple[Chart, ...] = ()
    if count:
        if not known.multi_label:
            tables.append(_confusion(known))
        charts = tuple(chart for chart in (_roc(known), _calibration(known)) if chart is not None)
    title = f"{split.capitalize()}, {counted(count, 'case')}"
    return ClassesSection(title=title, tables=tuple(tables), charts=charts)


def _known(side: ClassSide) -> _Known:
    """All rows; of a case with several, one each."""
    rows = [row for some in side.rows.values() for row in some]
    classes = tuple(rows[0]["probabilities"]) if rows else ()
    shape = (len(rows), len(classes))
    truth = np.array([[name in row["truth"] for name in classes] for row in rows], np.bool_)
    probabilities = np.array([[row["probabilities"][name] for name in classes] for row in rows], np.float64)
    return _Known(classes, truth.reshape(shape), probabilities.reshape(shape), side.multi_label)


def _measures(content: dict[str, Any]) -> TextTable:
    return TextTable(
        title=f"Target {content.get('target', '')}".strip()
        + ("" if "classes" in content else ", means over runs"),
        headings=("measure", "value"),
        rows=tuple(
            (title, number_text(number(content[name]))) for name, title in TITLES.items() if name in content
        ),
    )


def _by_class(content: dict[str, Any]) -> TextTable:
    names = ("cases", "auroc", "sensitivity", "specificity", "f1")
    rows = []
    for row in content["classes"]:
        texts = (number_text(number(row.get(name))) for name in names[1:])
        rows.append((str(row.get("name")), str(row.get("cases", NOTHING)), *texts))
    return TextTable(
        title="By class", headings=("class", *(TITLES.get(name, name) for name in names)), rows=tuple(rows)
    )


def _confusion(known: _Known) -> TextTable:
    """Cases by true class (rows) and decided class (columns)."""
    decided = decide(known.probabilities, multi_label=False)
    counts = known.truth.astype(int).T @ decided.astype(int)  # (K, K)
    return TextTable(
        title="Confusion: true class down, decided class across",
        headings=("", *known.classes),
        rows=tuple((name, *map(str, row)) for name, row in zip(known.classes, counts, strict=True)),
    )


def _roc(known: _Known) -> Chart | None:
    curves = []
    order = np.argsort(-known.truth.sum(axis=0), kind="stable")
    binary = len(known.classes) == 2 and not known.multi_label
    for k in sorted(order[:1] if binary else order[:MOST_CURVES]):
        area = auroc(known.probabilities[:, k], known.truth[:, k])
        if area is not None:
            steps, values = roc_points(known.probabilities[:, k], known.truth[:, k])
            label = f"{known.classes[k]} ({area:.2f})"
            curves.append(Curve(label=label, steps=steps, values=values, noisy=False))
    if not curves:
        return None
    caption = "Sensitivity against the share of false alarms; in brackets the area below (AUROC)."
    return square_chart("ROC", caption, curves, across="1 - specificity", up="sensitivity")


def roc_points(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of false alarms and of cases found, both (M,), at every threshold from above to below all."""
    thresholds = np.unique(scores)[::-1]
    found = np.array([0.0, *((scores[positive] >= one).mean() for one in thresholds)])
    alarms = np.array([0.0, *((scores[~positive] >= one).mean() for one in thresholds)])
    return alarms, found


def _calibration(known: _Known) -> Chart | None:
    """How often what is said with a confidence is so."""
    if known.multi_label:
        confidence, right = known.probabilities.ravel(), known.truth.ravel()
    else:
        confidence = known.probabilities.max(axis=1)
        right = known.truth[np.arange(len(known.truth)), known.probabilities.argmax(axis=1)]
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    held = counts > 0
    said, so = (np.bincount(bins, one, minlength=BINS)[held] / counts[held] for one in (confidence, right))
    curve = Curve(label="", steps=said, values=so, noisy=False)
    caption = f"Share that is right, in {BINS} bins of confidence; on the line where confidence is true."
    return square_chart("Calibration", caption, [curve], across="confidence", up="share right")
