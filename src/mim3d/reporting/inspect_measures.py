"""What is measured on the voxels of one case: in bounded memory, from the coarsest scale that suffices.

Arrays are (X, Y, Z) in RAS+. Structures are looked at through the foreground table: up to 1000 random voxels
of each, exact on what is there, and enough for a place and a median.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mim3d.data.catalog import Case
from mim3d.data.foreground import PER_VALUE
from mim3d.data.intensity import BODY
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple, Vector

COARSE_MM = 6.5
"""Voxels of at most this side are fine enough to judge a scan by, mm."""
MOST_VOXELS = 4_000_000
"""Of a scale that is looked at, where a coarser one is there."""
MOST_LABELS = 16_000_000
"""Voxels of a label map that are read at a time, where one layer of chunks has no more."""
LAYER = 32
"""Voxels of a chunk: read in whole layers, each is decompressed once."""
AT_BORDER = 0.01
"""A structure with this share of its voxels in the outermost ones is cut off by the scan's end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """One structure of a case."""

    volume: float
    """In ml."""
    centre: Vector
    """RAS+, mm."""
    voxel: Triple
    """The voxel of it that lies nearest to its centre, working grid."""
    median: float
    """Intensity, HU for CT."""
    outside: float
    """Share of it that lies outside the body."""
    cut: bool
    """Whether the end of the scan cuts it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What the voxels of one case tell."""

    darkest: float
    """Percentile 1 of all intensities, HU for CT."""
    constant: Vector
    """Share of slices across each axis in which all voxels are the same."""
    constant_inside: Triple
    """Such slices across each axis that lie between others."""
    body: Triple
    """A voxel in the middle of the body, working grid."""
    structures: dict[str, dict[str, Structure]] = field(default_factory=dict)
    """Label set -> name -> structure, those that occur."""


def measure(store: Store, case: Case, label_sets: tuple[str, ...]) -> Measures:
    """What the voxels of a case tell; of the label sets, those that it has.

    Raises:
        StoreError: If its data are damaged.
    """
    step, shape = coarse_grid(case)
    box = _box(shape, step)
    image = store.read(case.case, box, shape)[0]
    structures = {
        name: _structures(store, case, name, (image, step)) for name in label_sets if name in case.labels
    }
    slices = [_constant_slices(image, axis) for axis in range(3)]
    points = store.foreground(case.case, None)[0]
    middle = tuple(n // 2 for n in case.shape) if len(points) == 0 else _central(points)
    return Measures(
        darkest=float(np.percentile(image, 1)),
        constant=(slices[0][0], slices[1][0], slices[2][0]),
        constant_inside=(slices[0][1], slices[1][1], slices[2][1]),
        body=(middle[0], middle[1], middle[2]),
        structures=structures,
    )


def coarse_grid(case: Case) -> tuple[Triple, Triple]:
    """Voxels of the working grid that a coarse voxel spans on each axis, and the shape of the coarse grid."""
    scale = 0
    while scale + 1 < case.scales:
        fits = np.prod([-(-n // 2**scale) for n in case.shape]) <= MOST_VOXELS
        if fits and max(case.spacing) * 2 ** (scale + 1) > COARSE_MM:
            break
        scale += 1
    steps = [min(2**scale, n) for n in case.shape]
    x, y, z = (n // step for n, step in zip(case.shape, steps, strict=True))
    return (steps[0], steps[1], steps[2]), (x, y, z)


def body_mask(image: NDArray[Any], modality: str) -> NDArray[np.bool_]:
    """The body (X, Y, Z) with all it holds, lungs too, and a rim of one voxel around it."""
    solid = image > (BODY if modality == "CT" else image.mean())
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in solid.transpose(2, 0, 1)], axis=2)
    grown: NDArray[np.bool_] = ndimage.binary_dilation(filled, np.ones((3, 3, 3), bool))
    return grown


def label_counts(store: Store, case: Case, labels: str) -> dict[int, float]:
    """Volume in ml of each value of a label map, counted on the coarse grid, slab by slab."""
    step, shape = coarse_grid(case)
    layers = max(1, MOST_LABELS // (case.shape[0] * case.shape[1] * LAYER))
    depth = layers * LAYER // step[2]  # in coarse voxels
    counts = np.zeros(0, np.int64)
    for first in range(0, shape[2], depth):
        cells = (shape[0], shape[1], min(depth, shape[2] - first))
        box = Box((0.0, 0.0, float(first * step[2])), _box(cells, step).size)
        found = np.bincount(store.read_labels(case.case, labels, box, cells).ravel(), minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    ml = float(np.prod(case.spacing) * np.prod(step)) / 1000
    return {int(value): float(counts[value]) * ml for value in np.flatnonzero(counts) if value}


def _structures(
    store: Store, case: Case, labels: str, coarse: tuple[NDArray[Any], Triple]
) -> dict[str, Structure]:
    """The structures of one label set; `coarse`: image (X, Y, Z), and working voxels that its voxels span."""
    image, step = coarse
    body = body_mask(image, case.modality)
    volumes = label_counts(store, case, labels)
    affine = np.array(store.attributes(case.case)["affine"])
    points_of = store.foreground(case.case, labels)
    found = {}
    for name, value in store.label_sets[labels].structures.items():
        points = points_of.get(value)
        if points is None or not len(points):
            continue
        exact = len(points) * float(np.prod(case.spacing)) / 1000
        at = tuple(np.minimum(points[:, axis] // step[axis], image.shape[axis] - 1) for axis in range(3))
        centre = affine[:3, :3] @ points.mean(axis=0) + affine[:3, 3]
        edge = ((points == 0) | (points == np.array(case.shape) - 1)).any(axis=1).mean()
        found[name] = Structure(
            volume=exact if len(points) < PER_VALUE else max(exact, volumes.get(value, 0.0)),
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            voxel=_central(points),
            median=float(np.median(image[at])),
            outside=float(1 - body[at].mean()),
            cut=bool(edge >= AT_BORDER),
        )
    return found


def _constant_slices(image: NDArray[Any], axis: int) -> tuple[float, int]:
    """Share of slices across an axis that hold one value only, and how many of them lie between others."""
    across = tuple(other for other in range(3) if other != axis)
    constant = image.min(axis=across) == image.max(axis=across)
    varied = np.flatnonzero(~constant)
    inside = int(constant[varied[0] : varied[-1]].sum()) if len(varied) else 0
    return float(constant.mean()), inside


def _central(points: NDArray[Any]) -> Triple:
    """The one of some voxels (N, 3) that lies nearest to their mean."""
    nearest = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())
    x, y, z = points[nearest]
    return (int(x), int(y), int(z))


def _box(shape: Triple, step: Triple) -> Box:
    x, y, z = (float(n * s) for n, s in zip(shape, step, strict=True))
    return Box((0.0, 0.0, 0.0), (x, y, z))
