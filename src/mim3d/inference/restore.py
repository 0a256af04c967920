"""Logits on the working grid to a label map on the scan's own grid, one slice at a time.

Both grids are canonical and share their lower outer edges, as in data/resample.py. Shapes: O outputs (see
`decide`); U V the two axes across the sweep, in ascending order.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False, slots=True)
class _Places:
    """Where the voxel centres of one axis of the scan lie on the working grid: between which two."""

    lower: Tensor
    """(N,), index."""
    upper: Tensor
    """(N,), index; the same as `lower` where no interpolation is needed."""
    weight: Tensor
    """(N,), share of `upper`, 0 to 1."""


def restore(
    planes: Iterable[Plane], axis: int, working: Grid, scan: Grid, *, overlapping: bool = False
) -> NDArray[Any]:
    """The structure at each voxel of the scan, as `decide` says, of logits interpolated linearly.

    Args:
        planes: Logits (O, U, V) of every plane of the working grid along `axis`, in order.
        axis: Axis of the sweep.
        working: Grid of the logits.
        scan: Grid of the label map.
        overlapping: Whether structures may share voxels.

    Returns:
        (X, Y, Z) on the scan's canonical grid, 0 is background; uint8, or uint16 above 255 structures.
    """
    places = [_places(working, scan, each) for each in range(3)]
    along, (u, v) = places[axis], (places[other] for other in range(3) if other != axis)
    ends = along.upper.tolist()
    slices: list[NDArray[Any]] = []
    previous = torch.empty(0)
    for number, plane in planes:
        while len(slices) < len(ends) and ends[len(slices)] == number:
            below = plane if along.lower[len(slices)] == number else previous
            between = torch.lerp(below, plane, along.weight[len(slices)])  # (O, U, V)
            slices.append(decide(_interpolate(_interpolate(between, u, 1), v, 2), overlapping))  # (U', V')
        previous = plane
    assert len(slices) == len(ends), "the planes must cover the working grid, in order"
    return np.stack(slices, axis)


def _places(working: Grid, scan: Grid, axis: int) -> _Places:
    size, last = scan.shape[axis], working.shape[axis] - 1
    ratio = scan.spacing[axis] / working.spacing[axis]
    if size == last + 1 and math.isclose(ratio, 1.0, abs_tol=1e-4):
        ratio = 1.0  # one grid, but for rounding in the header
    places = ((torch.arange(size, dtype=torch.float64) + 0.5) * ratio - 0.5).clamp(0, last)
    return _Places(places.floor().long(), places.ceil().long(), places.frac().float())


def _interpolate(plane: Tensor, places: _Places, dim: int) -> Tensor:
    """Linear along one of the last two dimensions of (O, U, V)."""
    if torch.equal(places.lower, places.upper):
        return plane.index_select(dim, places.lower)
    weight = places.weight.reshape([-1 if each == dim else 1 for each in range(3)])
    if dim == 1:  # indexing copies whole rows, several times as fast as index_select
        return torch.lerp(plane[:, places.lower], plane[:, places.upper], weight)
    return torch.lerp(plane[:, :, places.lower], plane[:, :, places.upper], weight)
