"""A box of a volume at any resolution: which scale is read for it, and how its cells get their values.

Arrays are (X, Y, Z). The same for volumes of a store and for those in memory.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mim3d.data.intensity import Quantised
from mim3d.data.layout import num_scales
from mim3d.data.resample import halve, mean_of_blocks, sample_linear
from mim3d.geometry import Box, Triple, Vector

TOLERANCE = 1e-3
"""Relative: a scale this much coarser than asked still counts as not coarser."""


def steps_of(box: Box, shape: Triple) -> Vector:
    """Side of a cell when a box is cut into `shape` of them, with a tolerance."""
    x, y, z = (size / cells * (1 + TOLERANCE) for size, cells in zip(box.size, shape, strict=True))
    return (x, y, z)


def scale_of(steps: Vector, scales: int) -> int:
    """The coarsest of a number of scales that is not coarser than `steps`, voxels of the working grid."""
    scale = 0
    while scale + 1 < scales and 2 ** (scale + 1) <= min(steps):
        scale += 1
    return scale


def scaled_box(box: Box, voxel: Vector) -> Box:
    """A box in units of voxels that are `voxel` times as large."""
    return Box(_over(box.start, voxel), _over(box.size, voxel))


def sampled_at(box: Box, shape: Triple) -> Triple:
    """Places per axis at which a box is interpolated: several a cell where a cell holds several voxels."""
    x, y, z = (n * side for n, side in zip(shape, _block(box, shape), strict=True))
    return (x, y, z)


def cells_of(
    array: NDArray[np.int16],
    box: Box,
    shape: Triple,
    pad: float,
    extent: Vector,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Means of `shape` equal cells of a box, (X', Y', Z'), from linear interpolation.

    Args:
        array: (X, Y, Z), the volume or what the box needs of it.
        box: In voxels of `array`.
        shape: Cells per axis.
        pad: Value outside the volume.
        extent: Where the volume ends, in voxels of `array`.
        out: Where to put the result; None: a new array.
    """
    places = sampled_at(box, shape)
    if places == shape:
        return sample_linear(array, box, shape, pad, extent, out)
    found = mean_of_blocks(sample_linear(array, box, places, pad, extent), _block(box, shape))
    if out is None:
        return found
    out[...] = found
    return out


def look(channels: Sequence[Quantised], box: Box, shape: Triple) -> NDArray[np.float32]:
    """Intensities (C, X', Y', Z') of a box of a volume in memory, as `Store.read` gives them of a stored one.

    Args:
        channels: On the working grid, alike in shape.
        box: In voxels of the working grid.
        shape: Cells per axis.
    """
    return np.stack([_look(one, box, shape) for one in channels])


def _look(kept: Quantised, box: Box, shape: Triple) -> NDArray[np.float32]:
    x, y, z = kept.array.shape
    scale = scale_of(steps_of(box, shape), num_scales((x, y, z)))
    array, voxel = kept.array, 2.0**scale
    for _ in range(scale):
        array = halve(array)
    ours = scaled_box(box, (voxel, voxel, voxel))
    found = cells_of(array, ours, shape, kept.padding / kept.slope, (x / voxel, y / voxel, z / voxel))
    return found * np.float32(kept.slope) if kept.slope != 1.0 else found


def _block(box: Box, shape: Triple) -> Triple:
    """Voxels per cell and axis, rounded down, at least 1."""
    x, y, z = (max(1, int(step)) for step in steps_of(box, shape))
    return (x, y, z)


def _over(values: Vector, by: Vector) -> Vector:
    x, y, z = (a / b for a, b in zip(values, by, strict=True))
    return (x, y, z)
