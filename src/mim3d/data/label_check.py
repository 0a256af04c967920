"""Label maps before they are kept: on the grid of their scan, whole numbers, of values that have a name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.grids import SAME_PLACE, corner_distance, in_mm
from mim3d.data.labels import LARGEST_VALUE, LabelSet
from mim3d.data.volume import Volume
from mim3d.errors import DataError

ROUNDING = 1e-3
"""Values this near to a whole number are that number: a slope in the header multiplies inexactly."""


def require_same_grid(scan: Volume, labels: Volume, what: str = "label map") -> None:
    """Raise unless a label map (or a channel) lies voxel by voxel on its scan, both canonical.

    Raises:
        DataError: If their shapes or places differ.
    """
    if scan.shape != labels.shape:
        raise DataError(
            f"the {what} has {labels.shape} voxels, its scan {scan.shape}; both must lie on one grid: "
            f"resample the {what} to the scan{' (nearest neighbour)' if what == 'label map' else ''}"
        )
    distance = corner_distance(scan.affine, labels.affine, scan.shape)
    if distance > max(1e-3, SAME_PLACE * min(scan.spacing)):
        raise DataError(
            f"the {what} lies up to {distance:.2f} mm off its scan ({in_mm(labels.spacing)} against "
            f"{in_mm(scan.spacing)} mm voxels); both must lie on one grid: give the scan that was annotated"
        )


def checked_labels(labels: NDArray[Any], label_set: LabelSet) -> NDArray[Any]:
    """Label values (X, Y, Z) as uint8 or uint16, whichever holds all of the set.

    Raises:
        DataError: If a value is not a whole number, or has no name in the set.
    """
    known = {0, *label_set.structures.values()} | (
        {label_set.ignore} if label_set.ignore is not None else set()
    )
    found = _values(labels)
    whole = np.rint(found)
    named = np.isclose(found, whole, rtol=0, atol=ROUNDING) & np.isin(whole, sorted(known))
    unknown = found[~named].tolist()
    if unknown:
        shown = ", ".join(f"{value:g}" for value in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(
            f"the label map holds the values {shown}{more}, which label set {label_set.name} does not name; "
            "name them in the data set's description, or correct the map"
        )
    rounded: NDArray[Any] = np.rint(labels) if labels.dtype.kind == "f" else labels
    return rounded.astype(np.uint8 if max(known) < 256 else np.uint16)


def labels_note(labels: NDArray[Any], label_set: LabelSet, annotated: tuple[int, ...]) -> str:
    """What the catalog says of a label map (X, Y, Z): that it is empty, or shows what was not annotated."""
    found = set(_values(labels).tolist()) - {0, label_set.ignore}
    if not found:
        return f"no structure of {label_set.name} occurs"
    stray = sorted(name for name, value in label_set.structures.items() if value in found - set(annotated))
    return f"shows {', '.join(stray)}, said not to be annotated" if stray else ""


def _values(labels: NDArray[Any]) -> NDArray[Any]:
    """The values that occur, in order; small whole numbers are counted plane by plane, which is quicker."""
    if labels.dtype.kind == "f" or labels.min() < 0 or labels.max() > LARGEST_VALUE:
        return np.unique(labels)
    counts = np.zeros(int(labels.max()) + 1, np.int64)
    for plane in np.moveaxis(labels, int(np.argmax(labels.strides)), 0):
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return np.flatnonzero(counts)
