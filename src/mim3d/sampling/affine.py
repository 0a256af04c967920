"""Turning and zooming of crops: drawn as a matrix, sampled from a box that is large enough.

Sampling is SciPy's, in one thread and without sums over more than the neighbours of a voxel, so that it is
bit for bit the same in every process. Shapes: C channels, X Y Z space.
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from mim3d.config import Augmentation
from mim3d.geometry import Box, Triple, Vector

Matrix = NDArray[np.float64]
"""(3, 3): from a voxel's offset to the centre of a crop to the offset of where it is looked up, voxels."""


def draw_matrix(random: np.random.Generator, settings: Augmentation, spacing: Vector) -> Matrix:
    """Turned about each axis by up to `max_angle`, and zoomed by up to `max_zoom`, in mm: shapes stay."""
    angles = np.radians(random.uniform(-settings.max_angle, settings.max_angle, 3))
    zoom = 1 + random.uniform(-settings.max_zoom, settings.max_zoom)
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        turned = turned @ _about(axis, angle)
    found: Matrix = turned * np.asarray(spacing) / np.asarray(spacing)[:, None] / zoom
    return found


def enlarged(box: Box, matrix: Matrix) -> Box:
    """About the same centre a box of whole voxels that holds all that is looked up."""
    sides = [math.ceil(side) for side in np.abs(matrix) @ (np.asarray(box.size) - 1)]
    more = [math.ceil((side + 2 - own) / 2) for side, own in zip(sides, box.size, strict=True)]
    x, y, z = (start - n for start, n in zip(box.start, more, strict=True))
    u, v, w = (own + 2 * n for own, n in zip(box.size, more, strict=True))
    return Box((x, y, z), (u, v, w))


def look_up(volume: NDArray[Any], matrix: Matrix, crop: Triple, *, linear: bool) -> NDArray[Any]:
    """A crop (X, Y, Z) of a volume about the same centre, of its type; linear or of nearest voxels."""
    centre = (np.asarray(volume.shape) - 1) / 2
    offset = centre - matrix @ ((np.asarray(crop) - 1) / 2)
    order: Literal[0, 1] = 1 if linear else 0
    found: NDArray[Any] = affine_transform(volume, matrix, offset, crop, order=order, mode="nearest")
    return found


def _about(axis: int, angle: float) -> Matrix:
    """Rotation about an axis, radians."""
    matrix = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix[one, one] = matrix[other, other] = math.cos(angle)
    matrix[one, other], matrix[other, one] = -math.sin(angle), math.sin(angle)
    return matrix
