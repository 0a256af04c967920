"""Volumes whose axes are not at right angles, onto a grid whose axes are.

Everything after reads spacing alone: a sheared volume would be shown, cut and measured askew.
Shapes: X Y Z space.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mim3d.data.grids import SAME_PLACE, Affine, corner_distance, corners, spacing_of
from mim3d.data.volume import Volume
from mim3d.errors import DataError
from mim3d.geometry import Triple

EXACT = 1e-5
"""Largest cosine between two axes that is rounding of single precision and not mentioned."""
STEEPEST = 45.0
"""Degrees off the right angle up to which a volume is resampled."""


@dataclass(frozen=True, eq=False)
class Straight:
    """A grid with axes at right angles, and how a volume gets there."""

    affine: Affine
    shape: Triple
    note: str
    """For the catalog; empty where nothing was to be done."""
    resampled: bool
    """Whether voxels are interpolated, and not only said to lie elsewhere."""


def straight_grid(volume: Volume) -> Straight:
    """The grid that a volume is brought to: its own, its own with axes set upright, or one around it.

    Axes are set upright where no corner moves by more than a tenth of a voxel. Else the two axes nearest to a
    right angle keep their directions (of a tilted gantry: rows, columns), the third is set upright on them.

    Raises:
        DataError: If an axis lies more than 45 degrees off.
    """
    affine = np.asarray(volume.affine, np.float64)
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    angle = math.degrees(math.asin(min(_largest_cosine(unit), 1.0)))
    if _largest_cosine(unit) < EXACT:
        return Straight(affine, volume.shape, "", resampled=False)
    upright = _upright(affine, unit, volume.shape)
    moved = corner_distance(affine, upright, volume.shape)
    if moved <= SAME_PLACE * min(volume.spacing):
        note = f"its axes are {angle:.2g} degrees off right angles: set upright, corners move {moved:.2g} mm"
        return Straight(upright, volume.shape, note, resampled=False)
    if angle > STEEPEST:
        raise DataError(
            f"its axes are {angle:.0f} degrees off right angles; up to {STEEPEST:.0f} are resampled: convert "
            "the scan again from its source"
        )
    affine, shape = _around(affine, unit, volume.shape)
    note = f"its axes are {angle:.3g} degrees off right angles: resampled"
    return Straight(affine, shape, note, resampled=True)


def straightened(volume: Volume, grid: Straight, *, outside: float, order: Literal[0, 1]) -> NDArray[Any]:
    """Voxels (X, Y, Z) of a volume on the straight grid, of its own type.

    Args:
        volume: Whose `straight_grid` it is, or one on the same voxels.
        grid: Where to.
        outside: Value of voxels beyond the volume.
        order: 1 interpolates linearly, 0 takes the nearest voxel: for label maps.
    """
    if not grid.resampled:
        return volume.array
    back = np.linalg.inv(volume.affine) @ grid.affine  # new voxel index -> old
    values: NDArray[Any] = ndimage.affine_transform(
        volume.array,
        back[:3, :3],
        back[:3, 3],
        output_shape=grid.shape,
        order=order,
        mode="constant",
        cval=outside,
    )
    return values


def _largest_cosine(unit: NDArray[np.float64]) -> float:
    """Largest cosine, without its sign, of the angles between the columns of (3, 3)."""
    return float(np.abs(np.triu(unit.T @ unit, 1)).max())


def _upright(affine: Affine, unit: NDArray[np.float64], shape: Triple) -> Affine:
    """The nearest affine with axes at right angles, of the same spacing, about the same centre."""
    left, _, right = np.linalg.svd(unit)
    upright = np.eye(4)
    upright[:3, :3] = (left @ right) * spacing_of(affine)
    centre = (np.array(shape) - 1) / 2
    upright[:3, 3] = affine[:3, :3] @ centre + affine[:3, 3] - upright[:3, :3] @ centre
    return upright


def _around(affine: Affine, unit: NDArray[np.float64], shape: Triple) -> tuple[Affine, Triple]:
    """Affine and voxels of the straight grid that holds all of a volume."""
    one, two = min(
        combinations(range(3), 2), key=lambda pair: abs(float(unit[:, pair[0]] @ unit[:, pair[1]]))
    )
    third = 3 - one - two
    axes = np.zeros((3, 3))
    axes[:, one] = unit[:, one]
    axes[:, two] = _without(unit[:, two], axes[:, one])
    axes[:, third] = _without(_without(unit[:, third], axes[:, one]), axes[:, two])
    axes /= np.linalg.norm(axes, axis=0)
    spacing = np.abs(np.sum(axes * affine[:3, :3], axis=0))  # of each axis what is left along its direction
    places = (axes / spacing).T @ (affine @ corners(shape).T)[:3]  # (3, 8), in voxels of the new grid
    low, high = places.min(axis=1), places.max(axis=1)
    x, y, z = (max(1, round(float(size))) for size in high - low)
    straight = np.eye(4)
    straight[:3, :3] = axes * spacing
    straight[:3, 3] = straight[:3, :3] @ (low + 0.5)
    return straight, (x, y, z)


def _without(vector: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a vector at right angles to an axis."""
    return np.asarray(vector - (vector @ axis) / (axis @ axis) * axis)
