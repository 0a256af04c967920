"""A plane of a volume as a radiologist expects to see it: arrays ready to show, origin top left.

Volumes are (X, Y, Z) in closest-canonical RAS+: X grows to the patient's right, Y to the front, Z to the
head. Shown in radiological convention: the patient's right is on the left of the picture, the front on top
(axial) or on the left (sagittal), the head on top (coronal, sagittal). Pictures are (R, K): rows and columns.
"""

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mim3d.errors import GeometryError
from mim3d.geometry import Box, Vector

Plane = Literal["axial", "coronal", "sagittal"]
"""Across the body, from the front, from the side."""
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
"""In the order in which they are shown."""
AXIS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
"""The axis of the volume that a plane's index counts along."""
LETTERS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("A", "P", "R", "L"),
    "coronal": ("S", "I", "R", "L"),
    "sagittal": ("S", "I", "A", "P"),
}
"""What lies at the top, bottom, left and right edge: Anterior, Posterior, Right, Left, Superior, Inferior."""

Scalar = TypeVar("Scalar", bound=np.generic)


def display_plane(volume: NDArray[Scalar], plane: Plane, index: int) -> NDArray[Scalar]:
    """The plane (R, K) of a volume (X, Y, Z) at voxel `index`, ready to show; intensities or labels alike.

    Raises:
        GeometryError: If the volume has not three axes, or `index` lies outside it.
    """
    if volume.ndim != 3:
        raise GeometryError(f"a plane needs a volume (X, Y, Z), got an array of shape {volume.shape}")
    length = volume.shape[AXIS[plane]]
    if not 0 <= index < length:
        raise GeometryError(f"{plane} plane {index} lies outside the volume; needed: 0 to {length - 1}")
    cut: NDArray[Any] = np.take(volume, index, axis=AXIS[plane])
    return cut.T[::-1, ::-1]  # (R, K)


def display_spacing(spacing: Vector, plane: Plane) -> tuple[float, float]:
    """Height and width in mm of one pixel of a plane, for voxels of `spacing` mm."""
    across = [mm for axis, mm in enumerate(spacing) if axis != AXIS[plane]]
    return (across[1], across[0])


def display_box(box: Box, shape: tuple[int, ...], plane: Plane) -> tuple[float, float, float, float]:
    """Top, left, height and width in pixels of a box, on a plane of a volume of `shape` voxels."""
    columns, rows = (axis for axis in range(3) if axis != AXIS[plane])
    top, left = shape[rows] - box.stop[rows], shape[columns] - box.stop[columns]
    return (top, left, box.size[rows], box.size[columns])
