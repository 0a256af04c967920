"""Distances between two surfaces, weighted by area: HD95 and NSD.

A surface is made of surfels (surfels.py), one wherever eight neighbouring voxels are neither all inside nor
all outside; the distance of a surfel is the one to the nearest surfel of the other surface.
Source: Nikolov et al. 2018, arXiv:1809.04430, supplement "surface DSC".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from mim3d.errors import DataError, GeometryError
from mim3d.geometry import Vector
from mim3d.metrics.surfels import CORNERS, surfel_areas


@dataclass(frozen=True, eq=False, slots=True)
class Directed:
    """Every surfel of one surface, and how far the other surface is from it."""

    distances: NDArray[np.float64]
    """(N,), mm, rising."""
    areas: NDArray[np.float64]
    """(N,), mm^2, in the order of the distances."""

    def percentile(self, share: float) -> float:
        """The smallest distance in mm within which at least `share` (0 to 1) of the area lies."""
        covered = np.cumsum(self.areas) / self.areas.sum()
        return float(self.distances[min(int(np.searchsorted(covered, share)), len(covered) - 1)])

    def area_within(self, tolerance: float) -> float:
        """Area in mm^2 that is no farther than `tolerance` mm."""
        return float(self.areas[self.distances <= tolerance].sum())


@dataclass(frozen=True, eq=False, slots=True)
class SurfaceDistances:
    """Distances between two surfaces, both ways."""

    from_predicted: Directed
    """From the predicted surface to the true one."""
    from_truth: Directed
    """From the true surface to the predicted one."""


def surface_distances(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Vector
) -> SurfaceDistances:
    """Distances between the surfaces of two structures.

    Args:
        predicted: (X, Y, Z), True inside the structure, which has at least one voxel and ends with the array.
        truth: (X, Y, Z), the same for the truth.
        spacing: mm.

    Raises:
        GeometryError: If the shapes differ.
        DataError: If one of the structures is empty.
    """
    if predicted.shape != truth.shape:
        raise GeometryError(
            f"predicted {predicted.shape} and truth {truth.shape} must have the same shape, in voxels"
        )
    if not predicted.any() or not truth.any():
        raise DataError("surface distances need at least one voxel in both structures, one has none")
    areas = surfel_areas(spacing)
    ours, theirs = _surfels(predicted), _surfels(truth)
    return SurfaceDistances(_directed(ours, theirs, areas, spacing), _directed(theirs, ours, areas, spacing))


def hd95(distances: SurfaceDistances) -> float:
    """The larger of the two directed 95th percentiles of the area-weighted distances, mm."""
    return max(distances.from_predicted.percentile(0.95), distances.from_truth.percentile(0.95))


def nsd(distances: SurfaceDistances, tolerance: float) -> float:
    """Normalised surface Dice: the share (0 to 1) of both surfaces within `tolerance` mm of the other."""
    both = (distances.from_predicted, distances.from_truth)
    within = sum(side.area_within(tolerance) for side in both)
    return within / float(sum(side.areas.sum() for side in both))


@dataclass(frozen=True, eq=False, slots=True)
class _Surfels:
    places: NDArray[np.int64]
    """(N, 3), numbers of the voxel corners, from the lower edge of the array."""
    codes: NDArray[np.uint8]
    """(N,), which of the eight voxels around lie inside."""


def _surfels(structure: NDArray[np.bool_]) -> _Surfels:
    corner, cropped = _crop(structure)
    codes = np.zeros([n + 1 for n in cropped.shape], np.uint8)
    nx, ny, nz = cropped.shape
    for bit, (x, y, z) in enumerate(CORNERS):  # voxel at offset (x, y, z) from the corner's lower neighbour
        codes[1 - x : nx + 1 - x, 1 - y : ny + 1 - y, 1 - z : nz + 1 - z] |= cropped.view(np.uint8) << bit
    places = np.argwhere((codes != 0) & (codes != 255))
    return _Surfels(places + corner, codes[tuple(places.T)])


def _crop(structure: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Lower corner (3,) of the box around the structure, in voxels, and what lies inside the box."""
    lines = [np.flatnonzero(structure.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(line[0], line[-1] + 1) for line in lines)
    return np.array([line[0] for line in lines], np.int64), structure[box]


def _directed(source: _Surfels, target: _Surfels, areas: NDArray[np.float64], spacing: Vector) -> Directed:
    _, nearest = KDTree(target.places * spacing, leafsize=32, balanced_tree=False).query(
        source.places * spacing
    )
    steps = (
        source.places - target.places[nearest]
    ) * spacing  # whole voxels first: equal steps, equal distances
    distances = np.sqrt((steps**2).sum(axis=1))
    order = np.argsort(distances, kind="stable")
    return Directed(distances[order], areas[source.codes[order]])
