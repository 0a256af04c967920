"""Two label maps of one case into the scores of its structures; conventions are those of evaluation.py."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from mim3d.errors import GeometryError
from mim3d.geometry import Vector
from mim3d.metrics.evaluation import CaseScore, Outcome, StructureScore
from mim3d.metrics.lesions import count_lesions
from mim3d.metrics.overlap import dice, volume_ml
from mim3d.metrics.rules import Rules
from mim3d.metrics.surface import hd95, nsd, surface_distances

LabelMap = NDArray[np.integer[Any]]
Values = int | Sequence[int]
"""What a structure is in a label map: one value, or several where it covers what is painted over it."""
Structures = Mapping[str, Values]
Value = TypeVar("Value", bound=np.integer[Any])
Slices = tuple[slice, ...]


def evaluate_case(
    predicted: LabelMap,
    truth: LabelMap,
    spacing: Vector,
    structures: Structures,
    rules: Rules = Rules(),  # noqa: B008  frozen
    *,
    in_truth: Structures | None = None,
    case: str = "",
) -> CaseScore:
    """Score the structures of one case.

    Args:
        predicted: (X, Y, Z).
        truth: (X, Y, Z), on the same grid.
        spacing: mm.
        structures: Those that were annotated in this case, by name: values in the prediction. Other values
            count as background.
        rules: Tolerances, and of which structures lesions are counted.
        in_truth: The values of the same structures in the truth; None: those of the prediction.
        case: Name of the case.

    Raises:
        GeometryError: If the label maps differ in shape.
    """
    if predicted.shape != truth.shape:
        raise GeometryError(
            f"case {case}: predicted {predicted.shape} and truth {truth.shape} voxels must be the same; "
            "evaluate on the grid of the truth"
        )
    in_truth = structures if in_truth is None else in_truth
    ours = {name: values_of(structures[name]) for name in structures}
    theirs = {name: values_of(in_truth[name]) for name in structures}
    boxes = [_boxes(predicted, ours), _boxes(truth, theirs)]
    diagonal = math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    scores = []
    for name in structures:
        box = _around([found[name] for found in boxes])
        pair = (_mask(predicted[box], ours[name]), _mask(truth[box], theirs[name]))
        scores.append(_score(name, *pair, spacing, rules, diagonal))
    return CaseScore(case=case, scores=tuple(scores))


def without_ignored(predicted: NDArray[Value], truth: LabelMap, ignore: int) -> NDArray[Value]:
    """The prediction (X, Y, Z) with background wherever the truth says `ignore`: it is not scored there."""
    return np.where(truth == ignore, predicted.dtype.type(0), predicted)


def values_of(values: Values) -> tuple[int, ...]:
    """One value or several, as several."""
    return (values,) if isinstance(values, int) else tuple(values)


def _mask(labels: LabelMap, values: tuple[int, ...]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = labels == values[0] if len(values) == 1 else np.isin(labels, values)
    return inside


def _score(
    name: str,
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Vector,
    rules: Rules,
    diagonal: float,
) -> StructureScore:
    outcome = _outcome(bool(predicted.any()), bool(truth.any()))
    tolerance = max(rules.tolerance_of(name), *spacing)
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
        lesions=count_lesions(predicted, truth, spacing, rules.smallest_lesion)
        if name in rules.lesions
        else None,
    )


def _outcome(predicted: bool, truth: bool) -> Outcome:
    if predicted:
        return "both" if truth else "prediction only"
    return "truth only" if truth else "neither"


def _boxes(labels: LabelMap, structures: Mapping[str, tuple[int, ...]]) -> dict[str, Slices | None]:
    """Per structure the smallest box that holds it; None where it is not there."""
    largest = max((value for values in structures.values() for value in values), default=1)
    found = _objects(labels, largest)
    boxes = {}
    for name, values in structures.items():
        places = [place for value in values if (place := found[value - 1]) is not None]
        boxes[name] = _around(places) if places else None
    return boxes


def _objects(labels: LabelMap, largest: int) -> Sequence[Slices | None]:
    """Per value from 1 the box that holds it, voxels walked through as they lie in memory."""
    if labels.flags.c_contiguous:
        return find_objects(labels, max_label=largest)
    return [place and place[::-1] for place in find_objects(labels.T, max_label=largest)]


def _around(boxes: Sequence[Slices | None]) -> Slices:
    """The smallest box that holds some boxes, (X, Y, Z); an empty one where there are none."""
    there = [box for box in boxes if box is not None]
    if not there:
        return (slice(0, 0),) * 3
    return tuple(
        slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*there, strict=True)
    )
