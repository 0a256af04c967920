"""Boxes, cells and grids: the arithmetic of what lies in what.

One order everywhere: axes (X, Y, Z); cells and tokens of a grid are counted in raster order, Z fastest.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from mim3d.errors import GeometryError

Triple = tuple[int, int, int]
"""Three whole numbers, one per axis: voxels, tokens or cells."""
Vector = tuple[float, float, float]
"""Three numbers, one per axis: spacing in mm, or a place in voxels of the working grid."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box on the working grid, in voxels; voxel i fills the interval from i to i + 1."""

    start: Vector
    """Lower corner; may lie outside the volume (what is outside is padding)."""
    size: Vector
    """Extent along each axis, positive, not necessarily whole."""

    def __post_init__(self) -> None:
        if min(self.size) <= 0:
            raise GeometryError(f"a box needs a positive size on every axis, got {self.size} voxels")

    @property
    def stop(self) -> Vector:
        """Upper corner, not included."""
        x, y, z = (a + b for a, b in zip(self.start, self.size, strict=True))
        return (x, y, z)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Slices of an array that cut out a box with whole corners."""
        x, y, z = (slice(round(a), round(b)) for a, b in zip(self.start, self.stop, strict=True))
        return (x, y, z)

    def split(self, counts: Triple) -> list["Box"]:
        """Cut into `counts` equal cells per axis, in raster order."""
        return [self.cell(index, counts) for index in range(math.prod(counts))]

    def cell(self, index: int, counts: Triple) -> "Box":
        """The cell of raster number `index` when the box is cut into `counts` cells per axis."""
        side = divide(self.size, counts)
        place = unravel(index, counts)
        x, y, z = (a + i * s for a, i, s in zip(self.start, place, side, strict=True))
        return Box((x, y, z), side)

    def contains(self, other: "Box", tolerance: float = 1e-6) -> bool:
        """Whether `other` lies inside, give or take `tolerance` voxels."""
        lower = all(a <= b + tolerance for a, b in zip(self.start, other.start, strict=True))
        upper = all(a >= b - tolerance for a, b in zip(self.stop, other.stop, strict=True))
        return lower and upper


def divide(size: Vector, counts: Triple) -> Vector:
    """Each axis of `size` over the same axis of `counts`."""
    x, y, z = (a / b for a, b in zip(size, counts, strict=True))
    return (x, y, z)


def divide_exactly(size: Triple, by: Triple, what: str) -> Triple:
    """Each axis of `size` over the same axis of `by`, whole and positive.

    Raises:
        GeometryError: If an axis leaves a rest or is not positive; the message names `what`, the nearest
            size that fits (of two equally near the larger), and those below and above on all axes.
    """
    if any(a < 1 or a % b for a, b in zip(size, by, strict=True)):
        nearest = tuple(max(1, (2 * a + b) // (2 * b)) * b for a, b in zip(size, by, strict=True))
        lower = tuple(max(1, a // b) * b for a, b in zip(size, by, strict=True))
        upper = tuple(max(1, -(-a // b)) * b for a, b in zip(size, by, strict=True))
        others = "".join(f", or {other}" for other in dict.fromkeys((lower, upper)) if other != nearest)
        raise GeometryError(
            f"{what} {size} must be a positive multiple of {by}; the nearest is {nearest}{others}"
        )
    x, y, z = (a // b for a, b in zip(size, by, strict=True))
    return (x, y, z)


def unravel(index: int, counts: Triple) -> Triple:
    """Raster number to place on the grid, Z fastest."""
    plane, z = divmod(index, counts[2])
    x, y = divmod(plane, counts[1])
    return (x, y, z)


def ravel(place: Triple, counts: Triple) -> int:
    """Place on the grid to raster number, Z fastest."""
    return (place[0] * counts[1] + place[1]) * counts[2] + place[2]


def tokens_of_cell(index: int, cells: Triple, cell: Triple) -> Iterator[int]:
    """Raster numbers of the tokens in one cell of `cell` tokens, on the grid of all cells' tokens."""
    gx, gy, gz = (n * c for n, c in zip(cells, cell, strict=True))
    corner = [i * c for i, c in zip(unravel(index, cells), cell, strict=True)]
    for dx, dy, dz in product(*(range(c) for c in cell)):
        yield ravel((corner[0] + dx, corner[1] + dy, corner[2] + dz), (gx, gy, gz))


def triple(values: int | float | tuple[float, ...]) -> Vector:
    """One number for all axes, or three numbers, as three numbers.

    Raises:
        GeometryError: If there are neither one nor three.
    """
    if isinstance(values, int | float):
        return (float(values),) * 3
    if len(values) == 1:
        return (float(values[0]),) * 3
    if len(values) == 3:
        return (float(values[0]), float(values[1]), float(values[2]))
    raise GeometryError(f"one number or three are needed (X, Y, Z), got {len(values)}: {values}")
