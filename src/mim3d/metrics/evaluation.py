"""The table of an evaluation: every structure of every case scored by one set of conventions, and the means.

Conventions (docs/metrics.md): a structure in neither map is left out and counted; one in the truth only has
Dice 0, NSD 0 and the diagonal of the image as HD95; one in the prediction only has Dice 0 and its volume as
false positive; one that was not annotated in a case is not scored there.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from mim3d.errors import GeometryError
from mim3d.geometry import Vector
from mim3d.metrics.overlap import dice, volume_ml
from mim3d.metrics.surface import hd95, nsd, surface_distances

DEFAULT_TOLERANCE = 2.0
"""mm, of NSD; raised to the largest spacing of a scan where that is larger."""

Outcome = Literal["both", "truth only", "prediction only", "neither"]
LabelMap = NDArray[np.integer[Any]]
Value = TypeVar("Value", bound=np.integer[Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureScore:
    """One structure of one case."""

    name: str
    """Of the structure."""
    outcome: Outcome
    """Which of the two label maps hold the structure."""
    dice: float | None
    """0 to 1; None where neither holds it."""
    hd95_mm: float | None
    """mm; None where the truth does not hold it."""
    nsd: float | None
    """0 to 1; None where the truth does not hold it."""
    tolerance_mm: float
    """Of NSD, mm."""
    truth_ml: float
    """Volume in the truth, ml."""
    predicted_ml: float
    """Volume in the prediction, ml; false positive where the outcome is `prediction only`."""

    @property
    def volume_difference_ml(self) -> float:
        """Predicted minus true volume, ml."""
        return self.predicted_ml - self.truth_ml


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseScore:
    """One case: a row for each annotated structure."""

    case: str
    """Name."""
    scores: tuple[StructureScore, ...]
    """In the order of the structures asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureSummary:
    """One structure over all cases; each mean is over the cases it is defined for."""

    name: str
    """Of the structure."""
    dice: float | None
    """Mean over `cases`; None if there are none."""
    hd95_mm: float | None
    """Mean over `truth_cases`, mm."""
    nsd: float | None
    """Mean over `truth_cases`."""
    tolerance_mm: float | None
    """Largest tolerance of NSD among the cases, mm."""
    cases: int
    """Cases whose truth or prediction holds the structure."""
    truth_cases: int
    """Cases whose truth holds it."""
    missed: int
    """Cases whose truth holds it and whose prediction does not."""
    invented: int
    """Cases whose prediction holds it and whose truth does not."""
    absent: int
    """Annotated cases where neither holds it: left out of every mean."""
    not_annotated: int
    """Cases where it was not annotated: not scored."""
    false_positive_ml: float
    """Volume predicted in the `invented` cases, ml, all together."""
    volume_difference_ml: float | None
    """Mean of predicted minus true volume over `cases`, ml."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What is written as JSON, shown as a table, and read by the report."""

    split: str
    """Of the store, e.g. `val`; empty where files were compared."""
    structures: tuple[StructureSummary, ...]
    """One row a structure."""
    cases: tuple[CaseScore, ...]
    """What the means rest on."""

    @property
    def dice(self) -> float | None:
        """Mean of the structures' mean Dice, without those absent everywhere."""
        return _mean(row.dice for row in self.structures)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and names; what is not defined is None."""
        return asdict(self)


def evaluate_case(
    predicted: LabelMap,
    truth: LabelMap,
    spacing: Vector,
    structures: Mapping[str, int],
    tolerances: float | Mapping[str, float] = DEFAULT_TOLERANCE,
    annotated: Collection[str] | None = None,
    case: str = "",
) -> CaseScore:
    """Score every annotated structure of one case, on the scan's own grid.

    Args:
        predicted: (X, Y, Z), values of `structures`.
        truth: (X, Y, Z), the same values.
        spacing: mm.
        structures: Name to value in both label maps; other values count as background.
        tolerances: Of NSD, mm: one for all or one per structure; never below the largest spacing.
        annotated: Names of the structures that were annotated in this case; None: all.
        case: Name of the case.

    Raises:
        GeometryError: If the label maps differ in shape.
    """
    if predicted.shape != truth.shape:
        raise GeometryError(
            f"case {case}: predicted {predicted.shape} and truth {truth.shape} voxels must be the same; "
            "evaluate on the grid of the truth"
        )
    names = [name for name in structures if annotated is None or name in annotated]
    boxes = _boxes(predicted, truth, [structures[name] for name in names])
    diagonal = math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    scores = []
    for name in names:
        value = structures[name]
        box, tolerance = boxes.get(value, _NOTHING), max(_of(tolerances, name), *spacing)
        pair = (predicted[box] == value, truth[box] == value)
        scores.append(_score(name, *pair, spacing, tolerance, diagonal))
    return CaseScore(case=case, scores=tuple(scores))


def summarise(cases: Iterable[CaseScore], structures: Iterable[str], split: str = "") -> Evaluation:
    """Means over cases for each structure, and how many cases they rest on."""
    cases = tuple(cases)
    rows = (_summary(name, [_row(case, name) for case in cases]) for name in structures)
    return Evaluation(split=split, structures=tuple(rows), cases=cases)


def without_ignored(predicted: NDArray[Value], truth: LabelMap, ignore: int) -> NDArray[Value]:
    """The prediction (X, Y, Z) with background wherever the truth says `ignore`: it is not scored there."""
    return np.where(truth == ignore, predicted.dtype.type(0), predicted)


_NOTHING = (slice(0, 0),) * 3


def _score(
    name: str,
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Vector,
    tolerance: float,
    diagonal: float,
) -> StructureScore:
    outcome = _outcome(bool(predicted.any()), bool(truth.any()))
    surface: tuple[float | None, float | None] = (None, None)
    if outcome == "both":
        distances = surface_distances(predicted, truth, spacing)
        surface = (hd95(distances), nsd(distances, tolerance))
    elif outcome == "truth only":
        surface = (diagonal, 0.0)
    return StructureScore(
        name=name,
        outcome=outcome,
        dice=None if outcome == "neither" else dice(predicted, truth),
        hd95_mm=surface[0],
        nsd=surface[1],
        tolerance_mm=tolerance,
        truth_ml=volume_ml(truth, spacing),
        predicted_ml=volume_ml(predicted, spacing),
    )


def _outcome(predicted: bool, truth: bool) -> Outcome:
    if predicted:
        return "both" if truth else "prediction only"
    return "truth only" if truth else "neither"


def _boxes(predicted: LabelMap, truth: LabelMap, values: list[int]) -> dict[int, tuple[slice, ...]]:
    """Per value the smallest box that holds it in both maps; none for a value in neither."""
    found = [find_objects(labels, max_label=max(values, default=1)) for labels in (predicted, truth)]
    boxes = {}
    for value in values:
        places = [objects[value - 1] for objects in found if objects[value - 1] is not None]
        if places:
            boxes[value] = tuple(
                slice(min(s.start for s in axis), max(s.stop for s in axis))
                for axis in zip(*places, strict=True)
            )
    return boxes


def _of(tolerances: float | Mapping[str, float], name: str) -> float:
    return tolerances.get(name, DEFAULT_TOLERANCE) if isinstance(tolerances, Mapping) else tolerances


def _row(case: CaseScore, name: str) -> StructureScore | None:
    return next((score for score in case.scores if score.name == name), None)


def _summary(name: str, rows: list[StructureScore | None]) -> StructureSummary:
    annotated = [row for row in rows if row is not None]
    present = [row for row in annotated if row.outcome != "neither"]
    invented = [row for row in present if row.outcome == "prediction only"]
    return StructureSummary(
        name=name,
        dice=_mean(row.dice for row in present),
        hd95_mm=_mean(row.hd95_mm for row in present),
        nsd=_mean(row.nsd for row in present),
        tolerance_mm=max((row.tolerance_mm for row in annotated), default=None),
        cases=len(present),
        truth_cases=len(present) - len(invented),
        missed=sum(row.outcome == "truth only" for row in present),
        invented=len(invented),
        absent=len(annotated) - len(present),
        not_annotated=len(rows) - len(annotated),
        false_positive_ml=sum(row.predicted_ml for row in invented),
        volume_difference_ml=_mean(row.volume_difference_ml for row in present),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
