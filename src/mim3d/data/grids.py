"""Grids in space: their spacing, corners and directions, and how far apart two of them lie."""

import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from mim3d.geometry import Triple, Vector

Affine = NDArray[np.float64]
"""(4, 4), voxel index to RAS+ mm."""
SAME_PLACE = 0.1
"""Corners of two grids this share of a voxel apart are the same: headers round differently."""


def corner_distance(one: Affine, other: Affine, shape: Triple) -> float:
    """How far apart the outer corners of two grids of one shape lie, mm."""
    places = corners(shape)  # (8, 4)
    return float(np.linalg.norm((places @ (one - other).T)[:, :3], axis=1).max())


def corners(shape: Triple) -> NDArray[np.float64]:
    """Outer corners (8, 4) of a volume, voxel index, with 1 at the end."""
    lower = np.array(list(np.ndindex(2, 2, 2))) * shape - 0.5  # (8, 3)
    return np.column_stack([lower, np.ones(8)])


def spacing_of(affine: Affine) -> Vector:
    """Distance from voxel to voxel along each axis, mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return (float(x), float(y), float(z))


def is_usable(affine: Affine) -> bool:
    """Whether an affine is finite and has three independent axes."""
    if not np.isfinite(affine).all():
        return False
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(sides.min() > 0 and abs(np.linalg.det(affine[:3, :3] / sides)) > 1e-6)


def working_shape(shape: Triple, spacing: Vector, target: Vector) -> Triple:
    """Voxels per axis of a volume of `shape` and `spacing` (mm) on a grid of `target` mm, at least 1."""
    x, y, z = (max(1, round(n * s / t)) for n, s, t in zip(shape, spacing, target, strict=True))
    return (x, y, z)


def letters(affine: Affine) -> str:
    """Which way the axes run, e.g. `LPS`."""
    return "".join(str(letter) for letter in aff2axcodes(affine))


def in_mm(spacing: Vector) -> str:
    """Spacing as text, e.g. `0.7 x 0.7 x 2.5`."""
    return " x ".join(f"{side:.4g}" for side in spacing)


def joined(*notes: str) -> str:
    """Notes in one line; what is empty, or was said, is left out."""
    return "; ".join(dict.fromkeys(note for note in notes if note))
