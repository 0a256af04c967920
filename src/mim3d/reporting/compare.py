"""Fine-tuned runs side by side: curves, scores, and the same cases beside one another."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mim3d.metrics.evaluation import Evaluation
from mim3d.reporting.certainty import Statistics, statistics_of
from mim3d.reporting.compare_classes import class_charts, class_outcome, class_scores, class_statistics
from mim3d.reporting.curves import Chart, Curve, dot_chart, line_chart
from mim3d.reporting.pictures import Block, affordable, case_block
from mim3d.reporting.run import Run
from mim3d.reporting.snapshots import CasePicture
from mim3d.reporting.summary import decisive, of_split, table_title
from mim3d.reporting.tables import ScoreTable, alike, mean_score, score_table, show, structure_colours

MOST_SHARED = 6
"""Cases shown side by side."""
MOST_CHARACTERS = 2_500_000
"""Their pictures take at most this much of the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Fine-tuned runs side by side."""

    outcome: str
    charts: tuple[Chart, ...]
    table: ScoreTable | None
    statistics: Statistics | None
    """Paired differences against the first run."""
    cases: tuple[Block, ...]
    legend: tuple[tuple[str, str], ...]


def compare(runs: tuple[Run, ...], names: tuple[str, ...]) -> Comparison | None:
    """Fine-tuned runs side by side, or classifiers; None if there are fewer than two of either."""
    named = dict(zip(names, runs, strict=True))
    tuned = {name: run for name, run in named.items() if run.kind == "finetune"}
    classifiers = {name: run for name, run in named.items() if run.kind == "classify"}
    if len(tuned) < 2:
        return _of_classifiers(classifiers) if len(classifiers) > 1 else None
    scores = {name: one for name, run in tuned.items() if (one := decisive(run)) is not None}
    colours = _shared_colours(tuned.values())
    comparable = len(scores) > 1
    table = score_table(comparison_title(scores), scores, colours) if comparable else None
    return Comparison(
        outcome=comparison_outcome(scores) if comparable else "Fewer than two of these runs are evaluated.",
        charts=tuple(comparison_charts(tuned, scores if comparable else {})),
        table=table,
        statistics=statistics_of(scores),
        cases=tuple(affordable(comparison_cases(tuned), MOST_CHARACTERS)),
        legend=tuple(colours.items()),
    )


def _shared_colours(runs: Iterable[Run]) -> dict[str, str]:
    """Structure name -> #rrggbb, of those that have the same colour in the pictures of all runs."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, colour in structure_colours(run).items():
            found.setdefault(name, set()).add(colour)
    return {name: min(colours) for name, colours in found.items() if len(colours) == 1}


def _of_classifiers(runs: dict[str, Run]) -> Comparison:
    scores = class_scores(runs)
    return Comparison(
        outcome=class_outcome(scores) if scores else "None of these runs is evaluated.",
        charts=class_charts(runs),
        table=None,
        statistics=class_statistics(scores),
        cases=(),
        legend=(),
    )


def comparison_title(scores: dict[str, Evaluation]) -> str:
    """What the scores are over; run by run where that differs."""
    titles = {name: table_title(one) for name, one in scores.items()}
    if alike(scores.values()):
        return next(iter(titles.values()))
    return "Careful, not the same cases: " + "; ".join(f"{name}: {title}" for name, title in titles.items())


def comparison_outcome(scores: dict[str, Evaluation]) -> str:
    """Mean Dice of each run, and of two their difference."""
    means = {name: mean_score(one, "dice") for name, one in scores.items()}
    line = f"Mean Dice{of_split(one.split for one in scores.values())}: " + ", ".join(
        f"{name} {show(value, 'dice')}" for name, value in means.items()
    )
    (reference, first), *others = means.items()
    for name, second in others if len(others) == 1 and alike(scores.values()) else ():
        if first is not None and second is not None:
            line += f" ({name} less {reference}: {second - first:+.3f})"
    return line + ("." if alike(scores.values()) else ", not of the same cases.")


def comparison_charts(tuned: dict[str, Run], scores: dict[str, Evaluation]) -> Iterator[Chart]:
    """Validation Dice and loss against the step, and Dice by structure."""
    curves = [
        Curve(label=name, steps=run.metrics["step"], values=run.metrics["validation_dice"])
        for name, run in tuned.items()
        if "validation_dice" in run.metrics
    ]
    if curves:
        yield line_chart("Validation Dice", "Mean over structures and validation cases.", curves)
    losses = [
        Curve(label=name, steps=run.metrics["step"], values=run.metrics["loss"])
        for name, run in tuned.items()
        if "loss" in run.metrics
    ]
    if losses:
        yield line_chart("Loss", "The sum that is minimised: lower is no better where losses differ.", losses)
    names = tuple(dict.fromkeys(score.name for one in scores.values() for score in one.structures))
    if names:
        dots = {run: [dice_of(one, name) for name in names] for run, one in scores.items()}
        yield dot_chart("Dice by structure", "Right is better; the line joins the runs.", names, dots)


def dice_of(evaluation: Evaluation, name: str) -> float:
    """Dice of the structure `name`; NaN where there is none."""
    known = (score.dice for score in evaluation.structures if score.name == name and score.dice is not None)
    return next(known, float("nan"))


def comparison_cases(tuned: dict[str, Run]) -> Iterator[Block]:
    """Cases of which every run has the same planes, with each run's prediction beside the truth."""
    pictures = {name: run.segmentation for name, run in tuned.items() if run.segmentation is not None}
    if len(pictures) < len(tuned) or len({one.structures for one in pictures.values()}) > 1:
        return
    first = next(iter(pictures.values()))
    by_run = {name: {case.case: case for case in one.cases} for name, one in pictures.items()}
    shared = (c.case for c in first.cases if same_planes([cases.get(c.case) for cases in by_run.values()]))
    for number, case in enumerate(islice(shared, MOST_SHARED)):
        columns = {name: cases[case] for name, cases in by_run.items()}
        yield case_block(columns, first.structures, first.colours, f"c{number}")


def same_planes(cases: list[CasePicture | None]) -> bool:
    """Whether the pictures exist and show the same planes of the same truth."""
    first = cases[0]
    return first is not None and all(
        case is not None and np.array_equal(parts["truth"], case.planes[plane]["truth"])
        for case in cases
        for plane, parts in first.planes.items()
    )
