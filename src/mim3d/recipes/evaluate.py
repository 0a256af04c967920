"""`mim3d evaluate`: predicted label maps against the truth, as a table and as JSON."""

import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mim3d.data.pairs import Pair, find_pairs, read_label_map, read_truth, require_same_grid
from mim3d.data.search import find_scans
from mim3d.data.volume import Volume
from mim3d.errors import ConfigError, DataError
from mim3d.metrics.evaluation import (
    DEFAULT_TOLERANCE,
    CaseScore,
    Evaluation,
    evaluate_case,
    summarise,
    without_ignored,
)
from mim3d.recipes.messages import say
from mim3d.train.run_folder import write_json

COUNTED = ("missed", "invented", "absent", "not_annotated")
"""Counts of cases that are shown where they are not 0."""


def evaluate(
    predicted: Path,
    truth: Path,
    /,
    *,
    out: Path | None = None,
    structures: str | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    truth_labels: Path | None = None,
) -> Evaluation:
    """Score label maps against the truth: Dice, HD95 and NSD per structure, by docs/metrics.md.

    Args:
        predicted: Label map, or a folder of them; names come from the .json beside each (see `predict`).
        truth: Label map on the same grid, or a folder of them, matched by file name.
        out: JSON to write, e.g. RUN/evaluation.json, which `mim3d report RUN` shows.
        structures: Names to score, joined by commas; by default all that both sides name.
        tolerance: Of NSD, mm; raised to the largest spacing of a scan where that is larger.
        truth_labels: What the truth's values mean: label_sets.json, dataset.json, cases.csv or a folder with
            one; `:SET` at its end names the label set. By default they mean what the prediction's do.

    Returns:
        The rows of every case and their means.

    Raises:
        MimError: If files are missing, do not match, or lie on different grids.
    """
    if not 0 <= tolerance < math.inf:
        raise ConfigError(f"tolerance must be 0 mm or more, and finite, got {tolerance}")
    pairs = find_pairs(predicted, truth, None if truth_labels is None else read_truth(truth_labels))
    names = _names(pairs, structures)
    _say_left_out(predicted, truth, pairs)
    cases = [_score(pair, names, tolerance, described=truth_labels is not None) for pair in pairs]
    splits = {pair.split for pair in pairs}
    evaluation = summarise(cases, names, splits.pop() or "" if len(splits) == 1 else "")
    Console().print(table(evaluation))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, evaluation.to_json())
    return evaluation


def table(evaluation: Evaluation) -> Table:
    """One row a structure, the mean Dice below."""
    number = len(evaluation.cases)
    shown = Table(title=f"{number} case{'' if number == 1 else 's'}", title_justify="left", show_footer=True)
    shown.add_column("structure", footer="mean")
    counted = [name for name in COUNTED if any(getattr(row, name) for row in evaluation.structures)]
    for heading in (
        "Dice",
        "HD95 mm",
        "NSD",
        "tolerance mm",
        "cases",
        *(name.replace("_", " ") for name in counted),
    ):
        shown.add_column(heading, footer=_text(evaluation.dice) if heading == "Dice" else "", justify="right")
    for row in evaluation.structures:
        scores = (_text(row.dice), _text(row.hd95_mm, 1), _text(row.nsd), _text(row.tolerance_mm, 1))
        shown.add_row(row.name, *scores, str(row.cases), *(str(getattr(row, name)) for name in counted))
    return shown


def _text(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _names(pairs: list[Pair], structures: str | None) -> list[str]:
    """Structures to score: those asked for, or all that a prediction and its truth both name."""
    known = list(dict.fromkeys(name for pair in pairs for name in pair.shared))
    if structures is not None:
        wanted = [name.strip() for name in structures.split(",") if name.strip()]
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            raise DataError(
                f"structures: {', '.join(unknown) or 'none'}; prediction and truth both name: "
                f"{', '.join(known) or 'none'}"
            )
        return wanted
    if not known:
        ours, theirs = (
            ", ".join(names) or "none" for names in (pairs[0].predicted_values, pairs[0].truth_values)
        )
        raise DataError(
            f"no structure is named by both sides: the prediction names {ours}; the truth names {theirs}; "
            "rename them in one of the two, or give another --truth-labels"
        )
    return known


def _say_left_out(predicted: Path, truth: Path, pairs: list[Pair]) -> None:
    """Label maps without a partner, and predicted structures that the truth does not name."""
    for folder in (predicted, truth):
        alone = len(find_scans(folder)) - len(pairs) if folder.is_dir() else 0
        if alone:
            say(f"{folder}: {alone} label maps have no partner of the same name and are left out")
    unnamed = dict.fromkeys(
        name for pair in pairs for name in pair.predicted_values if name not in pair.shared
    )
    if unnamed:
        say(f"not named by the truth, so not scored: {', '.join(unnamed)}")


def _score(pair: Pair, names: list[str], tolerance: float, *, described: bool) -> CaseScore:
    """One case; the truth's values are turned into the prediction's first."""
    predicted, truth = read_label_map(pair.predicted), read_label_map(pair.truth)
    require_same_grid(pair, predicted, truth)
    if not described:
        _require_same_values(pair, truth)
    values = {name: pair.predicted_values[name] for name in names if name in pair.shared}
    turned = np.zeros(1 + max(int(truth.array.max()), *pair.truth_values.values(), 0), np.int32)
    for name, value in values.items():
        turned[pair.truth_values[name]] = value
    scored = predicted.array
    if pair.ignore is not None:
        scored = without_ignored(scored, truth.array, pair.ignore)
    annotated = [name for name in values if pair.annotated is None or name in pair.annotated]
    return evaluate_case(scored, turned[truth.array], truth.spacing, values, tolerance, annotated, pair.case)


def _require_same_values(pair: Pair, truth: Volume) -> None:
    """Refuse a truth that holds more than the prediction names: its values then mean something else."""
    more = sorted(set(np.unique(truth.array).tolist()) - {0, *pair.truth_values.values()})
    if more:
        raise DataError(
            f"{pair.truth.name}: holds values {more[:5]} that the prediction does not name, so its values "
            "may mean other structures; say what they mean with --truth-labels"
        )
