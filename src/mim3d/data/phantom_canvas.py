"""What phantoms are drawn on: places in mm of a standard torso, smooth random fields, paint.

Shapes: X Y Z space; arrays broadcast. Lengths are mm of the standard torso, which is 288 mm wide and high and
is stretched to the field of view. The axes are RAS+: x grows to the patient's right, y to the front, z to the
head.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mim3d.geometry import Triple, Vector

Array = NDArray[np.floating[Any]]
"""Lengths in mm or intensities in HU, float32."""

TORSO = 288.0
"""Width and height of the field of view that the standard torso fills, mm."""
DEPTH = 240.0
"""Field of view from back to front that holds the standard torso and its table, mm."""
WARP = 4.0
"""Standard deviation of the random displacement of the whole anatomy, mm."""
REACH = 3.5 * WARP
"""Displacement that is allowed for when only a part is drawn, mm."""
_ARRAYS = ("x", "y", "z", "hu", "labels", "fine", "coarse", "cavity", "above")
_SPLINE_DEVIATION = 0.479**1.5
"""Standard deviation of a cubic B-spline field with unit normal coefficients, three axes.

151 / 315 = 0.479 is the mean sum of its squared weights on one axis: the integral of the squared B-spline.
"""


@dataclass(frozen=True, eq=False)
class Tissue:
    """What a structure is filled with."""

    hu: float
    """Mean, HU."""
    texture: float = 4.0
    """Standard deviation of the fine texture, HU."""


Tissues = Mapping[str, Tissue]
"""The tissues of one patient, by name."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """The picture and what is known at each voxel; `crop` gives a part of it that shares the same memory."""

    x: Array
    """Displaced place, (X, Y, Z), mm: what shapes are drawn with."""
    y: Array
    z: Array
    axes: tuple[Array, Array, Array]
    """Places without displacement along each axis, (X,), (Y,) and (Z,), mm."""
    hu: Array
    """(X, Y, Z), HU."""
    labels: NDArray[np.uint8]
    """(X, Y, Z), values of the structures."""
    fine: Array
    """Unit texture with a correlation of about 5 mm, (X, Y, Z)."""
    coarse: Array
    """Unit texture with a correlation of about 16 mm, (X, Y, Z)."""
    cavity: Array
    """Signed distance to the inside of the trunk's wall, negative inside, (X, Y, Z), mm."""
    above: Array
    """Height above the diaphragm, (X, Y, Z), mm."""
    voxel: float
    """Side of a voxel, mm."""


def torso_axes(shape: Triple, spacing: float) -> tuple[Array, Array, Array]:
    """Centres of the voxels along each axis, mm of the standard torso; it fills any field of view."""
    scale = min(shape[0] * spacing / TORSO, shape[1] * spacing / DEPTH)
    sides = (spacing / scale, spacing / scale, TORSO / shape[2])
    x, y, z = (
        ((np.arange(n) - (n - 1) / 2) * side).astype(np.float32) for n, side in zip(shape, sides, strict=True)
    )
    return x, y, z


def blank_canvas(rng: Generator, shape: Triple, spacing: float) -> Canvas:
    """A canvas of air with randomly displaced places."""
    axes = torso_axes(shape, spacing)
    x, y, z = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    zeros = np.zeros(shape, np.float32)
    return Canvas(
        x=x + WARP * smooth_field(rng, axes, 70.0),
        y=y + WARP * smooth_field(rng, axes, 70.0),
        z=z + WARP * smooth_field(rng, axes, 70.0),
        axes=axes,
        hu=np.full(shape, -1000, np.float32),
        labels=np.zeros(shape, np.uint8),
        fine=smooth_field(rng, axes, 5.0),
        coarse=smooth_field(rng, axes, 16.0),
        cavity=zeros,
        above=zeros,
        voxel=float(max(axis[1] - axis[0] for axis in axes)),
    )


def smooth_field(rng: Generator, axes: tuple[Array, Array, Array], length: float) -> Array:
    """Cubic B-spline with random coefficients `length` mm apart: mean 0, standard deviation 1, (X, Y, Z)."""
    knots = int(np.ceil(TORSO / length)) + 4
    field = rng.standard_normal((knots, knots, knots), dtype=np.float32) / np.float32(_SPLINE_DEVIATION)
    for axis, places in enumerate(axes):
        field = _spline_along(field, axis, places / np.float32(length) + np.float32(knots / 2))
    return field


def _spline_along(field: Array, axis: int, places: Array) -> Array:
    """Evaluate coefficients along one axis; element-wise, so that threads change nothing."""
    places = np.clip(places, 1, field.shape[axis] - 3)
    first = np.floor(places).astype(np.int64)
    t = places - np.floor(places)
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    along = [1, 1, 1]
    along[axis] = len(places)
    total: Array = np.zeros((), np.float32)
    for shift, weight in enumerate(weights):
        total = total + np.take(field, first + shift - 1, axis) * (weight / 6).reshape(along)
    return total


def nearby(canvas: Canvas, lower: Vector, upper: Vector) -> tuple[slice, slice, slice]:
    """Slices of all voxels that displacement may bring between `lower` and `upper` mm."""
    slices = []
    for places, low, high in zip(canvas.axes, lower, upper, strict=True):
        first, stop = np.searchsorted(places, (low - REACH, high + REACH))
        slices.append(slice(int(first), int(stop)))
    return (slices[0], slices[1], slices[2])


def crop(canvas: Canvas, lower: Vector, upper: Vector) -> Canvas:
    """The part of the canvas from `lower` to `upper` mm, and as much more as displacement may bring in."""
    slices = nearby(canvas, lower, upper)
    x, y, z = (places[part] for places, part in zip(canvas.axes, slices, strict=True))
    return replace(canvas, axes=(x, y, z), **{name: getattr(canvas, name)[slices] for name in _ARRAYS})


def paint(canvas: Canvas, distance: Array, tissue: Tissue, label: int = 0) -> None:
    """Fill where the signed `distance` (mm) is negative; voxels on the edge are mixed by their share."""
    touched = distance < 0.5 * canvas.voxel
    share = np.minimum(0.5 - distance[touched] / canvas.voxel, 1)
    before = canvas.hu[touched]
    canvas.hu[touched] = before + share * (tissue.hu + tissue.texture * canvas.fine[touched] - before)
    canvas.labels[distance < 0] = label


def around(rng: Generator, value: float, share: float) -> float:
    """A uniform draw within `share` of `value` on both sides."""
    return value * (1 + share * rng.uniform(-1, 1))


def jitter(rng: Generator, place: Vector, distance: float) -> Vector:
    """A place moved by up to `distance` mm along each axis."""
    x, y, z = (p + rng.uniform(-distance, distance) for p in place)
    return (x, y, z)
