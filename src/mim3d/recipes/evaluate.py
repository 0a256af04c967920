"""`mim3d evaluate`: predicted label maps against the truth, as a table and as JSON."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from mim3d.config.structures import listed, made_of
from mim3d.data.pair_structures import as_asked, meanings
from mim3d.data.pairs import Pair, find_pairs, read_label_map, read_truth, require_same_grid, values_in
from mim3d.data.search import find_scans
from mim3d.data.volume import Volume
from mim3d.errors import DataError, worded
from mim3d.metrics.evaluation import CaseScore, Evaluation, StructureSummary, summarise
from mim3d.metrics.rules import Rules, read_rules
from mim3d.metrics.scoring import evaluate_case, without_ignored
from mim3d.recipes.messages import say
from mim3d.reporting.text_table import NOTHING, TextTable, counted, number_text, print_table
from mim3d.train.run_folder import write_json

COUNTED = ("missed", "invented", "absent", "not_annotated")
"""Counts of cases that are shown where they are not 0."""


def evaluate(  # noqa: PLR0913  one argument a flag of the command
    predicted: Path,
    truth: Path,
    /,
    *,
    out: Path | None = None,
    structures: str | None = None,
    tolerance: str | float = "2",
    lesions: str | None = None,
    smallest_lesion: float = 0.0,
    truth_labels: Path | None = None,
) -> Evaluation:
    """Score label maps against the truth: Dice, HD95 and NSD per structure, by docs/metrics.md.

    Args:
        predicted: Label map, or a folder of them; names come from the .json beside each (see `predict`).
        truth: Label map on the same grid, or a folder of them, matched by file name.
        out: JSON to write, e.g. RUN/evaluation.json, which `mim3d report RUN` shows.
        structures: Names to score, joined by commas, unions written whole=edema+core; by default all that
            both sides name.
        tolerance: Of NSD, mm: `2` for all structures, `liver=3,tumour=2`, or both, `2,liver=3`; raised to the
            largest spacing of a scan where that is larger.
        lesions: Structures whose lesions are counted one by one, joined by commas.
        smallest_lesion: Volume of the smallest lesion that counts, mm^3.
        truth_labels: What the truth's values mean: label_sets.json, dataset.json, cases.csv or a folder with
            one; `:SET` at its end names the label set. By default they mean what the prediction's do.

    Returns:
        The rows of every case and their means.

    Raises:
        MimError: If files are missing, do not match, or lie on different grids, or a rule cannot be.
    """
    rules = read_rules(tolerance, lesions, smallest_lesion)
    pairs = find_pairs(predicted, truth, None if truth_labels is None else read_truth(truth_labels))
    _say_left_out(predicted, truth, pairs)
    named = _values(pairs) if truth_labels is None else None
    names, pairs = as_asked(pairs, None if structures is None else made_of(listed((structures,))))
    rules.require_known(names)
    _say_unnamed(pairs)
    cases = [_score(pair, names, rules, named) for pair in pairs]
    splits = {pair.split for pair in pairs}
    split = splits.pop() or "" if len(splits) == 1 else ""
    evaluation = summarise(cases, names, split, grid="own", labels=meanings(pairs, names))
    print_table(table(evaluation))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, evaluation.to_json())
    return evaluation


def table(evaluation: Evaluation) -> TextTable:
    """One row a structure, the mean Dice below."""
    number = len({case.case for case in evaluation.cases})
    columns = _columns(evaluation)
    rows = [(row.name, *(cell(row) for cell in columns.values())) for row in evaluation.structures]
    mean = (number_text(evaluation.dice) if heading == "Dice" else "" for heading in columns)
    return TextTable(
        title=counted(number, "case"),
        headings=("structure", *columns),
        rows=(*rows, ("mean", *mean)),
    )


def _columns(evaluation: Evaluation) -> dict[str, Callable[[StructureSummary], str]]:
    """Headings, and what stands below them for a structure; counts where they are not 0."""
    columns: dict[str, Callable[[StructureSummary], str]] = {
        "Dice": lambda row: number_text(row.dice),
        "HD95 mm": lambda row: number_text(row.hd95_mm, 1),
        "NSD": lambda row: number_text(row.nsd),
        "tolerance mm": lambda row: number_text(row.tolerance_mm, 1),
        "volume off by ml": lambda row: number_text(row.volume_difference_ml, 1),
        "cases": lambda row: str(row.cases),
    }
    if any(row.lesions is not None for row in evaluation.structures):
        columns |= {
            "lesions found": lambda row: _of_lesions(row, "{0.found} of {0.truth}"),
            "false lesions a case": lambda row: _of_lesions(row, "{0.false_positives_per_case:.2f}"),
        }
    for name in COUNTED:
        if any(getattr(row, name) for row in evaluation.structures):
            columns[name.replace("_", " ")] = partial(_count, name)
    return columns


def _count(name: str, row: StructureSummary) -> str:
    return str(getattr(row, name))


def _of_lesions(row: StructureSummary, form: str) -> str:
    return NOTHING if row.lesions is None else form.format(row.lesions)


def _values(pairs: list[Pair]) -> set[int]:
    """All values that the truth's names stand for."""
    return {value for pair in pairs for values in pair.truth_values.values() for value in values}


def _say_left_out(predicted: Path, truth: Path, pairs: list[Pair]) -> None:
    """Label maps without a partner."""
    for folder in (predicted, truth):
        alone = len(find_scans(folder)) - len(pairs) if folder.is_dir() else 0
        if alone:
            say(f"{folder}: {alone} label maps have no partner of the same name and are left out")


def _say_unnamed(pairs: list[Pair]) -> None:
    """Predicted structures that the truth does not name."""
    unnamed = dict.fromkeys(
        name for pair in pairs for name in pair.predicted_values if name not in pair.shared
    )
    if unnamed:
        say(f"not named by the truth, so not scored: {', '.join(unnamed)}")


def _score(pair: Pair, names: list[str], rules: Rules, named: set[int] | None) -> CaseScore:
    """One case, on the scan's own grid; `named` are the values that the truth may have, None: any."""
    predicted, truth = read_label_map(pair.predicted), read_label_map(pair.truth)
    require_same_grid(pair, predicted, truth)
    if named is not None:
        _require_same_values(pair, truth, named)
    annotated = [name for name in names if name in pair.shared]
    if pair.annotated is not None:
        annotated = [name for name in annotated if name in pair.annotated]
    ours, scored = {name: pair.predicted_values[name] for name in annotated}, predicted.array
    if pair.ignore is not None:
        scored = without_ignored(scored, truth.array, pair.ignore)
    theirs = {name: pair.truth_values[name] for name in annotated}
    scores = evaluate_case(scored, truth.array, truth.spacing, ours, rules, in_truth=theirs, case=pair.case)
    return replace(scores, truth=hashlib.sha256(truth.array.T.tobytes()).hexdigest())


def _require_same_values(pair: Pair, truth: Volume, named: set[int]) -> None:
    """Refuse a truth that holds more than the prediction names: its values then mean something else."""
    more = sorted(values_in(truth.array) - named)
    if more:
        said = worded(more[:5]) + (", ..." if more[5:] else "")
        raise DataError(
            f"{pair.truth.name}: holds values {said} that the prediction does not name, so its values "
            "may mean other structures; say what they mean with --truth-labels"
        )
