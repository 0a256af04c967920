"""Area of the surface that passes through 2x2x2 voxels, for each of the 256 ways to fill them.

A surfel sits where eight voxels meet, some inside the structure, some outside. Its surface cuts each edge
between an inside and an outside voxel centre half-way. The rules that settle the rest, so that a structure
and its complement have the same surface:

1. on a face whose diagonals disagree, the fewer of the eight voxels (inside or outside) are kept apart;
2. a loop of cuts that is not flat is triangulated so that its area between cubic voxels is the largest;
3. the triangles are found once for cubic voxels and stretched by the spacing.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mim3d.geometry import Triple, Vector, unravel

Edge = tuple[Triple, Triple]
Triangle = tuple[int, int, int]

CORNERS: tuple[Triple, ...] = tuple(unravel(index, (2, 2, 2)) for index in range(8))
"""Where the eight voxels of a surfel lie; voxel k inside the structure sets bit k of the code."""
EDGES: tuple[Edge, ...] = tuple(
    (a, b)
    for a, b in product(CORNERS, CORNERS)
    if a < b and sum(x != y for x, y in zip(a, b, strict=True)) == 1
)
"""Pairs of voxels that share a face."""


def surfel_areas(spacing: Vector) -> NDArray[np.float64]:
    """Area in mm^2 of each code, (256,), for voxels of a spacing in mm."""
    x, y, z = spacing
    stretch = np.array([y * z, z * x, x * y])
    areas = np.zeros(256)
    for code, normals in enumerate(surfel_normals()):
        areas[code] = np.linalg.norm(normals * stretch, axis=1).sum()
    return areas


@cache
def surfel_normals() -> tuple[NDArray[np.float64], ...]:
    """Per code the normals (T, 3) of its triangles, as long as their areas, for cubic voxels of side 1."""
    return tuple(np.array(list(_normals(code))).reshape(-1, 3) for code in range(256))


def _normals(code: int) -> Iterator[NDArray[np.float64]]:
    inside = frozenset(corner for bit, corner in enumerate(CORNERS) if code >> bit & 1)
    fewer = inside if len(inside) <= 4 else frozenset(CORNERS) - inside
    for loop in _loops(fewer):
        points = [np.add(*edge) / 2 for edge in loop]
        triangulations = (
            [np.cross(points[b] - points[a], points[c] - points[a]) / 2 for a, b, c in triangles]
            for triangles in _triangulations(tuple(range(len(points))))
        )
        yield from max(triangulations, key=lambda normals: sum(np.linalg.norm(n) for n in normals))


def _loops(fewer: frozenset[Triple]) -> Iterator[list[Edge]]:
    """Closed walks over the cut edges, from face to face of the cube, around the corners in `fewer`."""
    neighbours: dict[Edge, list[Edge]] = {
        edge: [] for edge in EDGES if (edge[0] in fewer) != (edge[1] in fewer)
    }
    for axis, side in product(range(3), (0, 1)):
        cut = [edge for edge in neighbours if edge[0][axis] == edge[1][axis] == side]
        for a, b in _paired(cut, fewer):
            neighbours[a].append(b)
            neighbours[b].append(a)
    left = list(neighbours)
    while left:
        loop = [left[0]]
        while unseen := [edge for edge in neighbours[loop[-1]] if edge not in loop]:
            loop.append(unseen[0])
        left = [edge for edge in left if edge not in loop]
        yield loop


def _paired(cut: list[Edge], fewer: frozenset[Triple]) -> list[tuple[Edge, Edge]]:
    """The cuts of one face that the surface joins: the only two, or of four those beside each of `fewer`."""
    if len(cut) == 2:
        return [(cut[0], cut[1])]
    beside = [[edge for edge in cut if corner in edge] for corner in fewer]
    return [(pair[0], pair[1]) for pair in beside if len(pair) == 2]


def _triangulations(polygon: tuple[int, ...]) -> Iterator[tuple[Triangle, ...]]:
    """Every way to cut a polygon into triangles between its own corners."""
    if len(polygon) < 3:
        yield ()
        return
    first, last = polygon[0], polygon[-1]
    for k in range(1, len(polygon) - 1):
        rest = product(_triangulations(polygon[: k + 1]), _triangulations(polygon[k:]))
        yield from (((first, polygon[k], last), *before, *after) for before, after in rest)
