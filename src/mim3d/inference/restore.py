"""Logits on the working grid to a label map on the scan's own grid, one slice at a time.

What lies between voxels of one value has that value: the logit that is highest (or above 0) at all of them is
so in every mean of them. Logits are interpolated at the rest alone, the borders of structures.

Both grids are canonical and share their lower outer edges, as in data/resample.py. Shapes: O outputs (see
`decide`); U V the two axes across the sweep, in ascending order.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.geometry import Triple, Vector
from mim3d.inference.decide import decide
from mim3d.inference.window import Plane


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxels of a volume: how many per axis, and how large."""

    shape: Triple
    """Voxels."""
    spacing: Vector
    """mm."""


OnSlice = Callable[[int, Tensor], None]
"""Told the number of a slice along the axis of the sweep and its logits (O, U', V') on the scan's grid."""
MOST_ROWS = 2**16
"""Voxels whose logits are interpolated at once."""


@dataclass(frozen=True, eq=False, slots=True)
class _Places:
    """Where the voxel centres of one axis of the scan lie on the working grid: between which two."""

    lower: Tensor
    """(N,), index."""
    upper: Tensor
    """(N,), index; the same as `lower` where no interpolation is needed."""
    weight: Tensor
    """(N,), share of `upper`, 0 to 1."""

    def ends(self) -> list[tuple[Tensor, Tensor]]:
        """The one or two voxels that matter, and their shares, each (N,)."""
        if torch.equal(self.lower, self.upper):
            return [(self.lower, torch.ones_like(self.weight))]
        return [(self.lower, 1 - self.weight), (self.upper, self.weight)]


@dataclass(frozen=True, eq=False, slots=True)
class _Decided:
    """A plane of the working grid."""

    logits: Tensor
    """(U, V, O)."""
    values: NDArray[Any]
    """(U, V), as `decide` says."""


def restore(
    planes: Iterable[Plane],
    axis: int,
    working: Grid,
    scan: Grid,
    *,
    overlapping: bool = False,
    on_slice: OnSlice | None = None,
) -> NDArray[Any]:
    """The structure at each voxel of the scan, as `decide` says, of logits interpolated linearly.

    Args:
        planes: Logits (O, U, V) of every plane of the working grid along `axis`, in order.
        axis: Axis of the sweep.
        working: Grid of the logits.
        scan: Grid of the label map.
        overlapping: Whether structures may share voxels.
        on_slice: Wants all logits of every slice, which takes longer.

    Returns:
        (X, Y, Z) on the scan's canonical grid, 0 is background; uint8, or uint16 above 255 structures.
    """
    along, u, v = (_places(working, scan, each) for each in (axis, *(a for a in range(3) if a != axis)))
    ends = along.upper.tolist()
    slices: list[NDArray[Any]] = []
    previous: _Decided | None = None
    for number, plane in planes:
        logits = plane.movedim(0, -1).contiguous()
        present = _Decided(logits, decide(logits.movedim(-1, 0), overlapping))
        while len(slices) < len(ends) and ends[len(slices)] == number:
            place = len(slices)
            share = float(along.weight[place])
            pair = (
                [(present, 1.0)]
                if previous is None or not share
                else [(previous, 1 - share), (present, share)]
            )
            slices.append(_slice(pair, u, v, overlapping))
            if on_slice is not None:
                on_slice(place, _all_logits(pair, u, v))
        previous = present
    assert len(slices) == len(ends), "the planes must cover the working grid, in order"
    return np.stack(slices, axis)


def _places(working: Grid, scan: Grid, axis: int) -> _Places:
    size, last = scan.shape[axis], working.shape[axis] - 1
    ratio = scan.spacing[axis] / working.spacing[axis]
    if size == last + 1 and math.isclose(ratio, 1.0, abs_tol=1e-4):
        ratio = 1.0  # one grid, but for rounding in the header
    places = ((torch.arange(size, dtype=torch.float64) + 0.5) * ratio - 0.5).clamp(0, last)
    return _Places(places.floor().long(), places.ceil().long(), places.frac().float())


def _slice(planes: list[tuple[_Decided, float]], u: _Places, v: _Places, overlapping: bool) -> NDArray[Any]:
    """Values (U', V') of a slice of the scan."""
    corners: list[NDArray[Any]] = [
        plane.values[i.numpy()][:, j.numpy()]
        for plane, _ in planes
        for (i, _), (j, _) in product(u.ends(), v.ends())
    ]
    values = corners[0]
    unsure = np.zeros(values.shape, np.bool_)
    for corner in corners[1:]:
        unsure |= corner != values
    for some in np.array_split(np.argwhere(unsure), unsure.sum() // MOST_ROWS + 1):  # (M, 2)
        logits = _logits_at(planes, u, v, torch.from_numpy(some))
        values[some[:, 0], some[:, 1]] = decide(logits.movedim(-1, 0), overlapping)
    return values


def _logits_at(planes: list[tuple[_Decided, float]], u: _Places, v: _Places, places: Tensor) -> Tensor:
    """Logits (M, O) at some voxels (M, 2) of a slice, interpolated linearly."""
    total: Tensor | None = None
    for rows, weights in _rows(planes, u, v, places):
        weighted = rows.mul_(weights[:, None])
        total = weighted if total is None else total.add_(weighted)
    assert total is not None
    return total


def _rows(
    planes: list[tuple[_Decided, float]], u: _Places, v: _Places, places: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (M, O) and weights (M,) of each of the voxels around."""
    for (plane, share), (i, own), (j, other) in product(planes, u.ends(), v.ends()):
        at, beside = places[:, 0], places[:, 1]
        yield plane.logits[i[at], j[beside]], share * own[at] * other[beside]


def _all_logits(planes: list[tuple[_Decided, float]], u: _Places, v: _Places) -> Tensor:
    """Logits (O, U', V') of a whole slice."""
    (first, _), *_ = planes
    between = (
        first.logits if len(planes) == 1 else torch.lerp(first.logits, planes[1][0].logits, planes[1][1])
    )
    return _interpolate(_interpolate(between.movedim(-1, 0), u, 1), v, 2)


def _interpolate(plane: Tensor, places: _Places, dim: int) -> Tensor:
    """Linear along one of the last two dimensions of (O, U, V)."""
    if torch.equal(places.lower, places.upper):
        return plane.index_select(dim, places.lower)
    weight = places.weight.reshape([-1 if each == dim else 1 for each in range(3)])
    if dim == 1:  # indexing copies whole rows, several times as fast as index_select
        return torch.lerp(plane[:, places.lower], plane[:, places.upper], weight)
    return torch.lerp(plane[:, :, places.lower], plane[:, :, places.upper], weight)
