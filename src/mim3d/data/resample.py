"""Grids and interpolation: everything that turns voxels of one spacing into voxels of another.

Arrays are (X, Y, Z). Voxel i of an axis fills the interval [i, i + 1) in units of that axis' voxels and its
centre lies at i + 0.5; lower outer edges of all grids of one volume coincide. Sampling is element-wise only
(gathers and weights, no reductions), so that its result is bit for bit the same in every process.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mim3d.data.grids import working_shape
from mim3d.data.volume import Volume
from mim3d.geometry import Box, Triple, Vector

Float = NDArray[np.float32]
EDGE = 1e-6
"""Centres this close to a voxel's lower face, in voxels, count as lying inside it."""


def rescaled_affine(affine: NDArray[np.float64], factor: Vector) -> NDArray[np.float64]:
    """Affine (4, 4) of the grid whose voxels are `factor` times as large, lower outer edges coinciding."""
    change = np.eye(4)
    change[:3, :3] = np.diag(factor)
    change[:3, 3] = [0.5 * f - 0.5 for f in factor]
    return affine @ change


def to_spacing(volume: Volume, target: Vector) -> Volume:
    """A canonical volume on a grid of `target` mm: linear, without aliases where it gets coarser.

    A voxel f times as large as before is the mean, over f - 1 old voxels, of what linear interpolation gives:
    that alone for f = 1, the mean of two for f = 2 (as `halve`); straight ramps stay straight.

    Returns:
        Array (X, Y, Z) of the volume's own type, integers rounded; the volume itself where nothing changes.
    """
    spacing = volume.spacing
    shape = working_shape(volume.shape, spacing, target)
    factor = _ratio(target, spacing)
    if shape == volume.shape and np.allclose(factor, 1.0, atol=1e-4):
        return volume
    array = _resize(volume.array, shape, factor)
    return Volume(array, rescaled_affine(volume.affine, factor), volume.modality)


def labels_to_grid(labels: NDArray[Any], spacing: Vector, target: Vector) -> NDArray[Any]:
    """A label map (X, Y, Z) of `spacing` mm on the grid of `target` mm, each voxel from its nearest."""
    shape = working_shape(_shape(labels), spacing, target)
    factor = _ratio(target, spacing)
    index = [
        np.clip(np.floor((np.arange(out) + 0.5) * f + EDGE).astype(np.intp), 0, n - 1)
        for n, out, f in zip(labels.shape, shape, factor, strict=True)
    ]
    return labels[np.ix_(*index)]


def halve(array: NDArray[np.int16]) -> NDArray[np.int16]:
    """Mean of each 2x2x2 block of (X, Y, Z), rounded; the last voxel of an odd axis counts twice.

    Returns:
        (ceil(X / 2), ceil(Y / 2), ceil(Z / 2)), nothing below the smallest or above the largest voxel.
    """
    planes = array.T  # (Z, Y, X): plane by plane, as they lie in memory
    z, y, x = (-(-side // 2) for side in planes.shape)
    out = np.empty((z, y, x), array.dtype)
    for number, target in enumerate(out):
        pair = planes[2 * number : 2 * number + 2].astype(np.int32)  # (1 or 2, Y, X)
        sums = _pairs(_pairs(pair[0] + pair[-1], 0), 1)  # (ceil(Y / 2), ceil(X / 2))
        target[...] = (sums + 4) >> 3
    return out.T


def sample_linear(
    array: NDArray[Any],
    box: Box,
    out_shape: Triple,
    pad: float,
    extent: Vector | None = None,
    out: Float | None = None,
) -> Float:
    """Values at the centres of `out_shape` equal cells of `box`, interpolated linearly.

    Args:
        array: (X, Y, Z) numbers.
        box: Where to look, in the array's voxels.
        out_shape: Cells per axis, (X', Y', Z').
        pad: Value of cells whose centre lies outside the volume; no centre inside mixes with it.
        extent: Where the volume ends, in the array's voxels, when that is not the end of the array.
        out: Where to put the result, (X', Y', Z'); None: a new array, in memory as `array` is.

    Returns:
        (X', Y', Z') float32.
    """
    part: NDArray[Any] = array
    outside: list[NDArray[np.bool_]] = [np.empty(0, bool)] * 3
    for axis in (2, 1, 0):
        centres = _centres(box, out_shape, axis)
        end = array.shape[axis] if extent is None else extent[axis]
        outside[axis] = (centres < 0) | (centres >= end)
        part = _interpolate(part, centres - 0.5, axis)
    out = np.empty_like(part, np.float32) if out is None else out
    out[...] = part
    for axis, lost in enumerate(outside):
        if lost.any():
            out[_along(axis, lost)] = pad
    return out


def sample_nearest(array: NDArray[Any], box: Box, out_shape: Triple, pad: int = 0) -> NDArray[Any]:
    """Values at the centres of `out_shape` equal cells of `box`, each from the voxel that holds the centre.

    Args:
        array: (X, Y, Z) label values.
        box: Where to look, in the array's voxels.
        out_shape: Cells per axis, (X', Y', Z').
        pad: Value of cells whose centre lies outside the array.

    Returns:
        (X', Y', Z') of the array's type.
    """
    index = [np.floor(_centres(box, out_shape, axis) + EDGE).astype(np.intp) for axis in range(3)]
    out = array[np.ix_(*(np.clip(i, 0, n - 1) for i, n in zip(index, array.shape, strict=True)))]
    for axis, (places, n) in enumerate(zip(index, array.shape, strict=True)):
        lost = (places < 0) | (places >= n)
        if lost.any():
            out[_along(axis, lost)] = pad
    return out


def mean_of_blocks(array: Float, block: Triple) -> Float:
    """Mean of each `block` of voxels of (X, Y, Z), whose axes are multiples of it; element-wise sums."""
    for axis, side in enumerate(block):
        if side > 1:
            total = array[_along(axis, slice(0, None, side))].copy()
            for offset in range(1, side):
                total += array[_along(axis, slice(offset, None, side))]
            array = total / np.float32(side)
    return array


def needed_range(box: Box, out_shape: Triple, shape: Triple) -> Iterator[tuple[int, int]]:
    """Per axis the first and the end of the voxels of `shape` that `sample_linear` looks at, never empty."""
    for axis, n in enumerate(shape):
        centres = _centres(box, out_shape, axis)
        first = min(max(math.floor(centres[0] - 0.5), 0), n - 1)
        yield first, max(min(math.floor(centres[-1] - 0.5) + 2, n), first + 1)


def _centres(box: Box, out_shape: Triple, axis: int) -> NDArray[np.float64]:
    """Centres of the cells of one axis, in the array's voxels."""
    step = box.size[axis] / out_shape[axis]
    return np.asarray(box.start[axis] + (np.arange(out_shape[axis]) + 0.5) * step, np.float64)


def _interpolate(array: NDArray[Any], places: NDArray[np.float64], axis: int) -> NDArray[Any]:
    """Linear along one axis at `places` (index units), clamped; a view if `places` are whole, in a row."""
    places = np.clip(places, 0.0, array.shape[axis] - 1)
    lower = np.minimum(np.floor(places).astype(np.intp), max(array.shape[axis] - 2, 0))
    upper = np.minimum(lower + 1, array.shape[axis] - 1)
    weight = (places - lower).astype(np.float32)
    whole = np.rint(weight)
    if (weight == whole).all():
        return _take(array, lower + whole.astype(np.intp), axis)
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = weight.reshape(shape)
    out: Float = _take(array, upper, axis) * weight
    out += _take(array, lower, axis) * (np.float32(1) - weight)
    return out


def _take(array: NDArray[Any], index: NDArray[np.intp], axis: int) -> NDArray[Any]:
    """Slices of one axis: a view where they follow each other, else a copy."""
    if not bool((np.diff(index) == 1).all()):
        copy: NDArray[Any] = array.take(index, axis=axis)
        return copy
    view: NDArray[Any] = array[_along(axis, slice(int(index[0]), int(index[-1]) + 1))]
    return view


def _along(axis: int, index: Any) -> tuple[Any, ...]:
    """An index that applies to one axis and leaves the others whole."""
    return (slice(None),) * axis + (index,)


def _resize(array: NDArray[Any], shape: Triple, factor: Vector) -> NDArray[Any]:
    """(X, Y, Z) to `shape`: first within the planes of the axis that is slowest in memory, then along it."""
    if abs(array.strides[0]) > abs(array.strides[2]):
        reverse = (shape[2], shape[1], shape[0]), (factor[2], factor[1], factor[0])
        turned: NDArray[Any] = _resize(array.T, *reverse).T
        return turned
    along_x, along_y, along_z = map(_matrix, array.shape, shape, factor)
    out = np.empty(shape[::-1], array.dtype)  # (Z', Y', X')
    held: dict[int, Float] = {}
    for number, target in enumerate(out):
        taps = slice(along_z.indptr[number], along_z.indptr[number + 1])
        places = along_z.indices[taps].tolist()
        held = {
            place: held[place] if place in held else _within(array.T[place], along_y, along_x)
            for place in places
        }
        found = sum(held[place] * weight for place, weight in zip(places, along_z.data[taps], strict=True))
        target[...] = np.rint(found) if np.issubdtype(array.dtype, np.integer) else found
    return out.T


def _within(plane: NDArray[Any], along_y: csr_array, along_x: csr_array) -> Float:
    """A plane (Y, X) to (Y', X'); a product goes faster through the axis that is slower in memory."""
    half = along_y @ plane.astype(np.float32)  # (Y', X)
    found: Float = (along_x @ np.ascontiguousarray(half.T)).T  # (Y', X')
    return found


def _matrix(side: int, out: int, factor: float) -> csr_array:
    """Weights (out, side), nearly all 0, that take an axis to voxels `factor` of the old ones long."""
    matrix = np.zeros((out, side), np.float32)
    for number, row in enumerate(matrix):
        places, weights = _weights((number + 0.5) * factor - 0.5, max(factor - 1.0, 0.0))
        np.add.at(row, np.clip(places, 0, side - 1), weights)
    return csr_array(matrix)


def _pairs(plane: NDArray[np.int32], axis: int) -> NDArray[np.int32]:
    """Sums of neighbours along an axis of a plane; a last one alone is counted twice."""
    even, odd = plane[_along(axis, slice(0, None, 2))], plane[_along(axis, slice(1, None, 2))]
    if even.shape[axis] > odd.shape[axis]:
        odd = np.concatenate([odd, plane[_along(axis, slice(-1, None))]], axis=axis)
    sums: NDArray[np.int32] = even + odd
    return sums


def _weights(centre: float, width: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Places (N,) and weights (N,) of the mean of the linear interpolant over `width` around `centre`."""
    lower, upper = centre - width / 2, centre + width / 2
    places = np.arange(math.floor(lower + EDGE), math.ceil(upper - EDGE) + 1)
    if width < EDGE:
        weights = 1.0 - np.abs(places - centre)
    else:
        weights = (_tent_below(upper - places) - _tent_below(lower - places)) / width
    return places, (weights / weights.sum()).astype(np.float32)


def _tent_below(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Integral of 1 - |t| from -1 to x, for x clipped to [-1, 1]."""
    inside = np.clip(x, -1.0, 1.0)
    return np.asarray(0.5 + inside - 0.5 * inside * np.abs(inside), np.float64)


def _ratio(target: Vector, spacing: Vector) -> Vector:
    x, y, z = (t / s for t, s in zip(target, spacing, strict=True))
    return (x, y, z)


def _shape(array: NDArray[Any]) -> Triple:
    x, y, z = array.shape
    return (x, y, z)
