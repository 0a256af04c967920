"""What is cut, what is hidden, and where the next level looks: drawn from numbers alone, no voxel is read.

Shapes: N crops of a level in one region (parent-major), L tokens of a crop.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mim3d.config import Nesting
from mim3d.data.layout import MOST_SCALES
from mim3d.geometry import Box, Triple, Vector

TOLERANCE = 1e-6
"""Voxels by which a token may reach out of the volume by rounding alone."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelPlan:
    """The crops of one level of one region."""

    boxes: tuple[Box, ...]
    """N boxes on the working grid."""
    masked: NDArray[np.bool_]
    """(N, L), True = hidden from the encoder."""
    parent: tuple[int, ...]
    """N numbers of the parent crop in the level above; empty at level 0."""
    cell: tuple[int, ...]
    """N raster numbers of the parent's hidden cell that the crop fills; empty at level 0."""


def draw_region(
    extent: Triple, shape: Triple, body: NDArray[np.int32], random: np.random.Generator, lattice: int = 1
) -> Box:
    """A region of `extent` voxels about a random voxel of the body, inside the volume where that is possible.

    It begins at a whole voxel, so that what is not enlarged is read as it is stored, without interpolation.

    Args:
        extent: Region of level 0, voxels.
        shape: Volume, voxels of the working grid; an axis shorter than the region is centred in it.
        body: (N, 3), voxels to choose from; the whole volume if there are none.
        random: Where the numbers come from.
        lattice: Voxels that the region's beginning is a multiple of.
    """
    corner = body[random.integers(len(body))] if len(body) else random.random(3) * shape
    centre = corner + random.random(3)
    x, y, z = (
        min(max(float(c) - e / 2, 0.0), float(s - e)) if s >= e else (s - e) / 2
        for c, e, s in zip(centre, extent, shape, strict=True)
    )
    begin = tuple(float(math.floor(place / lattice) * lattice) for place in (x, y, z))
    return Box((begin[0], begin[1], begin[2]), _floats(extent))


def lattice_of(nesting: Nesting) -> int:
    """Voxels of the working grid along one of the coarsest scale that level 0 can be read from."""
    halvings = min(math.log2(e / c) for e, c in zip(nesting.extent, nesting.crop, strict=True))
    return 1 << min(max(int(halvings), 0), MOST_SCALES - 1)


def draw_levels(
    nesting: Nesting, region: Box, body: NDArray[np.int32], random: np.random.Generator
) -> tuple[LevelPlan, ...]:
    """Hide cells at every level, and send each level into hidden cells of the level above.

    Cells are hidden at random; of the hidden ones, those that hold voxels of the body have children first.
    With masks `as_released`, a hidden cell of number i hides the i-th run of as many tokens in raster order
    instead of its own, while children are still cut from the cell: what the authors' release does.

    Args:
        nesting: Sizes, shares and numbers of children.
        region: Of level 0, on the working grid.
        body: (V, 3), voxels of the working grid that are worth looking into; if there are none, all are.
        random: Where the numbers come from.
    """
    boxes: tuple[Box, ...] = (region,)
    parent: tuple[int, ...] = ()
    cell: tuple[int, ...] = ()
    plans: list[LevelPlan] = []
    in_runs = nesting.masks == "as_released"
    for number, level in enumerate(nesting.levels):
        cells = nesting.cells(number)
        order = [random.permutation(math.prod(cells)) for _ in boxes]
        hidden = [row[: nesting.num_hidden_cells(number)] for row in order]
        masked = np.stack([_hide(row, cells, level.cell, in_runs=in_runs) for row in hidden])
        plans.append(LevelPlan(boxes, masked, parent, cell))
        bodily = [_bodily_first(row, boxes[i], cells, body) for i, row in enumerate(hidden)]
        chosen = [(i, int(c)) for i, row in enumerate(bodily) for c in row[: level.children]]
        parent = tuple(i for i, _ in chosen)
        cell = tuple(c for _, c in chosen)
        boxes = tuple(boxes[i].cell(c, cells) for i, c in chosen)
    return tuple(plans)


def padded_tokens(boxes: tuple[Box, ...], shape: Triple, grid: Triple) -> NDArray[np.bool_]:
    """Which tokens (N, L) of crops at `boxes` reach out of a volume of `shape` voxels, wholly or in part."""
    start = np.array([box.start for box in boxes])  # (N, 3)
    side = np.array([box.size for box in boxes]) / grid
    padded = np.zeros((len(boxes), *grid), dtype=np.bool_)
    for axis, count in enumerate(grid):
        lower = start[:, axis, None] + np.arange(count) * side[:, axis, None]  # (N, count)
        outside = (lower < -TOLERANCE) | (lower + side[:, axis, None] > shape[axis] + TOLERANCE)
        padded |= np.expand_dims(outside, tuple(other + 1 for other in range(3) if other != axis))
    return padded.reshape(len(boxes), -1)  # (N, L)


def _bodily_first(
    hidden: NDArray[np.int64], box: Box, cells: Triple, body: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Hidden cells in the order given, those without a voxel of the body last."""
    place = np.floor((body + 0.5 - box.start) / box.size * cells).astype(np.int64)  # (V, 3)
    inside = place[((place >= 0) & (place < cells)).all(axis=1)]
    held = np.bincount(np.ravel_multi_index(tuple(inside.T), cells), minlength=math.prod(cells))
    return hidden[np.argsort(held[hidden] == 0, kind="stable")]


def _hide(hidden: NDArray[np.int64], cells: Triple, cell: Triple, *, in_runs: bool) -> NDArray[np.bool_]:
    """Which tokens (L,) are hidden: those of the hidden cells, or as many in runs of the raster order."""
    of_cells = np.zeros(cells, dtype=np.bool_)
    of_cells.flat[hidden] = True
    if in_runs:
        return of_cells.ravel().repeat(math.prod(cell))
    for axis, count in enumerate(cell):
        of_cells = of_cells.repeat(count, axis)
    return of_cells.ravel()


def _floats(size: Triple) -> Vector:
    return (float(size[0]), float(size[1]), float(size[2]))
