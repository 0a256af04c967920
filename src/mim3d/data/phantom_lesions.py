"""Lesions of a phantom: where the plan says, and sometimes a small one elsewhere; benign cysts in anyone.

Shapes: X Y Z space. Lengths are mm of the standard torso (see phantom_canvas), axes RAS+.
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from mim3d.data.phantom_canvas import Array, Canvas, Tissues, crop, paint
from mim3d.data.phantom_shapes import ellipsoid
from mim3d.data.phantom_tissue import STRUCTURES
from mim3d.geometry import Vector

_HOSTS = {
    "liver": ("liver",),
    "lung": ("lungs",),
    "kidney": ("right_kidney", "left_kidney"),
}
"""The structures in which a disease's lesions grow."""
_RADII = {"liver": (11.0, 24.0), "lung": (10.0, 20.0), "kidney": (10.0, 17.0)}
"""Least and greatest radius of a disease's main lesion, mm."""


def draw_lesions(canvas: Canvas, rng: Generator, disease: str, tissues: Tissues) -> None:
    """Draw one large lesion and up to three smaller ones in the organ of `disease`, seldom one elsewhere."""
    low, high = _RADII[disease]
    radius = rng.uniform(low, high)
    _draw_one(canvas, rng, disease, radius, tissues)
    for _ in range(rng.integers(0, 4)):
        _draw_one(canvas, rng, disease, radius * rng.uniform(0.35, 0.7), tissues)
    if rng.random() < 0.25:
        other = str(rng.choice([name for name in _HOSTS if name != disease]))
        _draw_one(canvas, rng, other, 0.45 * radius, tissues)


def draw_cysts(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """Simple cysts in liver or kidney: no lesions, they keep the organ's label."""
    for disease in ("liver", "kidney"):
        if rng.random() < 0.25:
            host = STRUCTURES[str(rng.choice(_HOSTS[disease]))]
            centre = _deep_place(canvas, rng, canvas.labels == host)
            part = _surroundings(canvas, centre, 25)
            distance = _blob(part, rng, centre, rng.uniform(4, 9))
            paint(part, np.where(part.labels == host, distance, 100), tissues["cyst"], host)


def _draw_one(canvas: Canvas, rng: Generator, disease: str, radius: float, tissues: Tissues) -> None:
    """One lesion of about `radius` mm inside its host; those of the kidney may bulge into the fat."""
    host = STRUCTURES[str(rng.choice(_HOSTS[disease]))]
    centre = _deep_place(canvas, rng, canvas.labels == host)
    part = _surroundings(canvas, centre, 1.6 * radius + 10)
    allowed = (part.labels == host) | (part.labels == STRUCTURES["lesion"])
    if disease == "kidney":
        allowed |= (part.labels == 0) & (part.hu < 0) & (part.cavity < -2)
    tissue = tissues[f"{disease} lesion"]
    tissue = replace(tissue, hu=tissue.hu + rng.uniform(-8, 8))
    distance = np.where(allowed, _blob(part, rng, centre, radius), 100)
    paint(part, distance, tissue, STRUCTURES["lesion"])
    if rng.random() < 0.4:
        core = replace(tissue, hu=tissue.hu - rng.uniform(10, 35))
        paint(part, distance + 0.45 * radius, core, STRUCTURES["lesion"])


def _surroundings(canvas: Canvas, centre: Vector, reach: float) -> Canvas:
    """The part of the canvas within `reach` mm along each axis."""
    x, y, z = centre
    return crop(canvas, (x - reach, y - reach, z - reach), (x + reach, y + reach, z + reach))


def _blob(canvas: Canvas, rng: Generator, centre: Vector, radius: float) -> Array:
    """Distance to a lumpy ellipsoid."""
    a, b, c = (radius * rng.uniform(0.8, 1.25) for _ in range(3))
    x, y, z = canvas.x - centre[0], canvas.y - centre[1], canvas.z - centre[2]
    return ellipsoid(x, y, z, (a, b, c)) + 0.09 * radius * canvas.coarse


def _deep_place(canvas: Canvas, rng: Generator, where: NDArray[np.bool_]) -> Vector:
    """A random place in the inner half of a structure."""
    box = ndimage.find_objects(where.astype(np.uint8))[0]
    depth = ndimage.distance_transform_cdt(np.pad(where[box], 1))[1:-1, 1:-1, 1:-1]
    candidates = np.argwhere(depth >= 0.4 * depth.max())
    index = candidates[rng.integers(len(candidates))]
    voxel = tuple(int(i + part.start) for i, part in zip(index, box, strict=True))
    return (float(canvas.x[voxel]), float(canvas.y[voxel]), float(canvas.z[voxel]))
