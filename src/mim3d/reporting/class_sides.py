"""What runs of classification say of each case, and how they compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mim3d.errors import CheckpointError, DataError
from mim3d.metrics.class_comparison import ClassDifference, Floats, Judged, compare_classifiers, corrected
from mim3d.train.run_folder import read_json

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSide:
    """A run of classification, or several of it."""

    name: str
    rows: dict[str, list[Row]]
    """Case to what each run says of it."""
    multi_label: bool
    target: str
    split: str
    """Of the store, e.g. `val`; that of the first run."""


def is_classification(file: Path) -> bool:
    """Whether a file holds scores of classification."""
    return read_json(file).get("task") == "classification"


def read_class_side(name: str, files: Sequence[Path]) -> ClassSide:
    """What the runs of one side say of each case.

    Raises:
        CheckpointError: If a file holds something else.
        DataError: If the runs classify by different targets, or other cases.
    """
    return class_side(name, [read_json(file) for file in files], str(files[0]))


def class_side(name: str, contents: Sequence[dict[str, Any]], where: str) -> ClassSide:
    """The same, of what is already read from JSON; `where` names it.

    Raises:
        CheckpointError: If it is something else.
        DataError: If the contents are of different targets, or of other cases.
    """
    rows: dict[str, list[Row]] = {}
    try:
        for content in contents:
            for row in content["cases"]:
                probabilities = {str(one): float(p) for one, p in row["probabilities"].items()}
                truth = tuple(sorted(map(str, row["truth"])))
                kept = {"truth": truth, "probabilities": probabilities, "patient": row.get("patient", "")}
                rows.setdefault(str(row["case"]), []).append(kept)
        kinds = {(str(one["target"]), bool(one["multi_label"])) for one in contents}
        cases = {frozenset(str(row["case"]) for row in one["cases"]) for one in contents}
        target, multi_label = min(kinds)
        split = str(contents[0].get("split") or "")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{where}: no scores of classification by case ({error!r})") from error
    if len(kinds) > 1 or len(cases) > 1:
        what = "targets" if len(kinds) > 1 else "cases"
        raise DataError(f"{where}: the runs joined with it classify other {what}; join those that are alike")
    return ClassSide(name=name, rows=rows, multi_label=multi_label, target=target, split=split)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Alike:
    """Cases that all sides classified by the same target, with the same truth."""

    cases: tuple[str, ...]
    """Names (N,)."""
    judged: Judged
    sides: tuple[list[Floats], ...]
    """Of each side the probabilities (N, K) of each of its runs."""
    notes: tuple[str, ...]
    """What was left out."""


def classified_alike(sides: Sequence[ClassSide], *, shared: bool) -> Alike:
    """What can be compared.

    Raises:
        DataError: If the sides were not scored on the same cases, classes or target.
    """
    cases, notes = _shared_cases(sides, shared=shared)
    first = sides[0]
    classes = sorted(first.rows[cases[0]][0]["probabilities"])
    units = [_patient(sides, case) for case in cases]
    judged = Judged(
        truth=np.array([[name in first.rows[case][0]["truth"] for name in classes] for case in cases]),
        unit=np.unique(units, return_inverse=True)[1],
        multi_label=first.multi_label,
    )
    tables = tuple(_probabilities(side, cases, classes) for side in sides)
    return Alike(cases=tuple(cases), judged=judged, sides=tables, notes=tuple(notes))


def compare_class_sides(
    sides: Sequence[ClassSide], alike: Alike, seed: int
) -> dict[str, tuple[ClassDifference, ...]]:
    """Each other side against the first, by name."""
    first, *others = alike.sides
    return corrected(
        {
            side.name: compare_classifiers(alike.judged, first, other, seed)
            for side, other in zip(sides[1:], others, strict=True)
        }
    )


def _shared_cases(sides: Sequence[ClassSide], *, shared: bool) -> tuple[list[str], list[str]]:
    """Cases that all sides classified by the same target, with the same truth."""
    first = sides[0]
    for side in sides[1:]:
        if (side.target, side.multi_label) != (first.target, first.multi_label):
            kinds = (
                f"{one.name} by {one.target}{', several labels a case' if one.multi_label else ''}"
                for one in (first, side)
            )
            raise DataError(f"not classified alike: {'; '.join(kinds)}; compare runs of one target and kind")
    everywhere = [case for case in first.rows if all(case in side.rows for side in sides)]
    alike = [case for case in everywhere if len(set().union(*(_meanings(side, case) for side in sides))) == 1]
    notes = []
    if len(alike) < max(len(side.rows) for side in sides):
        counts = ", ".join(f"{side.name}: {len(side.rows)}" for side in sides)
        said = f"not the same cases, classes and truths ({counts}; alike: {len(alike)})"
        if not shared:
            raise DataError(f"{said}; add --shared to compare what they share, or score them on the same")
        notes.append(f"left out: {said}")
    if not alike:
        raise DataError(
            "no case was classified by all of them, with the same classes; score them on the same"
        )
    return alike, notes


def _meanings(side: ClassSide, case: str) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The truth of a case and the classes it was one of; several where the runs of a side disagree."""
    return {(row["truth"], tuple(sorted(row["probabilities"]))) for row in side.rows[case]}


def _patient(sides: Sequence[ClassSide], case: str) -> str:
    """Whose a case is, as far as one of the sides knows; else it stands for its patient."""
    return next((row["patient"] for side in sides for row in side.rows[case] if row["patient"]), case)


def _probabilities(side: ClassSide, cases: Sequence[str], classes: Sequence[str]) -> list[Floats]:
    """Of each run of a side, (N, K)."""
    runs = min(len(side.rows[case]) for case in cases)
    return [
        np.array([[side.rows[case][run]["probabilities"][name] for name in classes] for case in cases])
        for run in range(runs)
    ]
