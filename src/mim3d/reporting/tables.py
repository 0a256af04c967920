"""Tables of a report: scores per structure, runs side by side, configuration and provenance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import attrgetter
from statistics import fmean
from typing import Any

from mim3d.metrics.evaluation import Evaluation, StructureSummary
from mim3d.metrics.statistics import Interval
from mim3d.reporting.certainty import intervals_of
from mim3d.reporting.run import Run

MEASURES = ("dice", "hd95_mm", "nsd")
"""Fields of a score, in the order of the tables."""
TITLES = {"dice": "Dice", "hd95_mm": "HD95 mm", "nsd": "NSD"}
"""Their headings."""

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""
Settings = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Groups of settings: a name, then names and values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A number as it is shown."""

    text: str
    share: float | None = None
    """Length of the bar behind it, 0 to 1."""
    best: bool = False
    """Whether no other run did better."""
    interval: str = ""
    """Where the true mean lies, in 95 of 100 such samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """One structure, or the mean over the structures."""

    name: str
    colour: str
    """#rrggbb, or empty."""
    tolerance: str
    """Of NSD, with its unit."""
    cases: str
    cells: tuple[Cell, ...]
    """Measure by measure; within a measure run by run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTable:
    """Scores of one or several runs per structure."""

    title: str
    runs: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    measures: tuple[str, ...] = tuple(TITLES.values())


def mean_score(evaluation: Evaluation, measure: str) -> float | None:
    """Mean of a measure over the structures that have it; None if none has."""
    values = [value for score in evaluation.structures if (value := getattr(score, measure)) is not None]
    return fmean(values) if values else None


def show(value: float | None, measure: str) -> str:
    """A score as text: three decimals, distances one."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if measure == "hd95_mm" else f"{value:.3f}"


def alike(evaluations: Iterable[Evaluation]) -> bool:
    """Whether runs were scored on the same cases of one split."""
    return len({(one.split, frozenset(row.case for row in one.cases)) for one in evaluations}) == 1


def cells_of(
    values: list[float | None],
    measure: str,
    intervals: Sequence[Interval | None] = (),
    *,
    mark: bool = True,
) -> Iterator[Cell]:
    """One measure of several runs; the best is marked where there is something to compare."""
    known = [value for value in values if value is not None]
    best = min(known, default=None) if measure == "hd95_mm" else max(known, default=None)
    compared = mark and len(known) > 1 and len({show(value, measure) for value in known}) > 1
    for value, interval in zip_longest(values, intervals):
        share = None if value is None or measure == "hd95_mm" else min(max(value, 0.0), 1.0)
        won = compared and value is not None and show(value, measure) == show(best, measure)
        ends = () if interval is None else (interval.low, interval.high)
        between = " to ".join(show(end, measure) for end in ends)
        yield Cell(text=show(value, measure), share=share, best=won, interval=between)


def score_row(
    name: str,
    scores: list[StructureSummary | None],
    colour: str,
    intervals: Mapping[str, Sequence[Interval | None]],
    *,
    mark: bool,
    several: bool,
) -> ScoreRow:
    """One structure over several runs.

    Args:
        name: Of the structure.
        scores: Of each run; None for one that lacks it.
        colour: #rrggbb, or empty.
        intervals: Of each run, by measure.
        mark: Whether the best run is marked.
        several: Whether a case has several scores, one of each seed.
    """
    known = [score for score in scores if score is not None]
    missed = max((score.missed for score in known), default=0) if len(scores) == 1 else 0
    tolerances = sorted({score.tolerance_mm for score in known if score.tolerance_mm is not None})
    cases = sorted({score.cases for score in known})
    return ScoreRow(
        name=name,
        colour=colour,
        tolerance=", ".join(f"{value:g} mm" for value in tolerances) or NOTHING,
        cases=(", ".join(str(value) for value in cases) or NOTHING) + _missed_text(missed, several=several),
        cells=tuple(
            cell
            for measure in MEASURES
            for cell in cells_of(
                [None if score is None else getattr(score, measure) for score in scores],
                measure,
                intervals[measure],
                mark=mark,
            )
        ),
    )


def _missed_text(missed: int, *, several: bool) -> str:
    """How often a structure was not found; where there are several scores of a case, in how many of them."""
    if not missed:
        return ""
    return f", missed {missed} times" if several else f", {missed} missed"


def score_table(title: str, evaluations: dict[str, Evaluation], colours: dict[str, str]) -> ScoreTable:
    """Scores per structure with their mean; `evaluations` maps a run's name to its scores."""
    by_run = [{score.name: score for score in evaluation.structures} for evaluation in evaluations.values()]
    names = list(dict.fromkeys(name for scores in by_run for name in scores))
    same = alike(evaluations.values())
    several = any(len(one.cases) > len({row.case for row in one.cases}) for one in evaluations.values())
    sure = {
        measure: [intervals_of(one, attrgetter(measure)) for one in evaluations.values()]
        for measure in MEASURES
    }
    rows = [
        score_row(
            name,
            [scores.get(name) for scores in by_run],
            colours.get(name, ""),
            {measure: [one.get(name) for one in of_runs] for measure, of_runs in sure.items()},
            mark=same,
            several=several,
        )
        for name in names
    ]
    means = tuple(
        cell
        for measure in MEASURES
        for cell in cells_of(
            [mean_score(one, measure) for one in evaluations.values()],
            measure,
            mark=same and len(set(map(tuple, by_run))) == 1,
        )
    )
    rows.append(ScoreRow(name="mean", colour="", tolerance="", cases="", cells=means))
    return ScoreTable(title=title, runs=tuple(evaluations), rows=tuple(rows))


def structure_colours(run: Run) -> dict[str, str]:
    """Structure name -> #rrggbb, as far as the run's pictures tell."""
    if run.segmentation is None:
        return {}
    return dict(zip(run.segmentation.structures, run.segmentation.colours, strict=True))


def flattened(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested JSON with dotted names; lists of plain values stay together."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for number, inner in enumerate(value):
            yield from flattened(inner, f"{name}[{number}]")
    elif isinstance(value, list):
        yield name, ", ".join(str(inner) for inner in value)
    else:
        yield name, NOTHING if value is None or value == {} else str(value)


def settings_groups(settings: dict[str, Any]) -> Settings:
    """Settings by top-level name: plain ones under an empty name, then a group for each nested one."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    nested = ((key, value) for key, value in settings.items() if isinstance(value, dict) and value)
    groups = (("", plain), *nested) if plain else tuple(nested)
    return tuple((name, tuple(flattened(group))) for name, group in groups)
