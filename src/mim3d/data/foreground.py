"""The foreground index: where in a case a crop can be centred so that it shows a structure, or the body.

One table per case, rows (set, value, x, y, z) on the working grid: set 0 is the body (value 0), set n the
n-th label set of the case by name. Which voxels are kept depends on what is stored and the name of the case.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PER_VALUE = 1000
"""Voxels kept of each label value."""
OF_BODY = 4096
"""Voxels kept of the body."""


def foreground_table(
    case: str, body: NDArray[np.bool_], label_maps: Sequence[NDArray[Any]]
) -> NDArray[np.int32]:
    """Rows (set, value, x, y, z) of a case.

    Args:
        case: Its name: what the choice is drawn from.
        body: (X, Y, Z), whether a voxel is body.
        label_maps: (X, Y, Z) each, values of the label sets in their order.

    Returns:
        (N, 5), sorted by set and value; within a value in random order.
    """
    seed = int.from_bytes(hashlib.sha256(case.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    rows = [_rows(0, body, rng, OF_BODY)]
    rows += [_rows(number, labels, rng, PER_VALUE) for number, labels in enumerate(label_maps, start=1)]
    return np.concatenate(rows)


def voxels_of(table: NDArray[np.int32], number: int) -> dict[int, NDArray[np.int32]]:
    """Voxels (N, 3) of each value of label set `number` (0: the body), from a table of rows."""
    rows = table[table[:, 0] == number]
    values, first = np.unique(rows[:, 1], return_index=True)
    parts = np.split(rows[:, 2:], first[1:]) if len(values) else []
    return {int(value): np.ascontiguousarray(part) for value, part in zip(values, parts, strict=True)}


def _rows(number: int, labels: NDArray[Any], rng: np.random.Generator, limit: int) -> NDArray[np.int32]:
    """Up to `limit` random rows of each value that is not 0; a bool array is one value, written as 0."""
    planes = labels.T  # (Z, Y, X)
    counts = _counts(planes)
    rows = [np.empty((0, 5), np.int32)]
    values = np.flatnonzero(counts.sum(axis=0))
    for value in values[values > 0]:
        voxels = _chosen(planes, int(value), counts[:, value], rng, limit)
        head = np.full((len(voxels), 2), (number, value - (labels.dtype == np.bool_)), np.int32)
        rows.append(np.hstack([head, voxels]))
    return np.concatenate(rows)


def _counts(planes: NDArray[Any]) -> NDArray[np.intp]:
    """How often each value from 0 on occurs in each plane, (Z, values)."""
    if planes.dtype == np.bool_:
        held = np.array([np.count_nonzero(plane) for plane in planes])
        return np.stack([planes[0].size - held, held], axis=1)
    most = int(planes.max(initial=0))
    return np.stack([np.bincount(plane.ravel("K"), minlength=most + 1) for plane in planes])


def _chosen(
    planes: NDArray[Any], value: int, counts: NDArray[np.intp], rng: np.random.Generator, limit: int
) -> NDArray[np.int32]:
    """Up to `limit` random voxels (N, 3), X Y Z, of a value in planes (Z, Y, X) that have `counts` of it."""
    ends = np.cumsum(counts)
    ranks = rng.choice(int(ends[-1]), min(limit, int(ends[-1])), replace=False)
    plane_of = np.searchsorted(ends, ranks, "right")
    voxels = np.empty((len(ranks), 3), np.int32)
    for number in np.unique(plane_of):
        here = plane_of == number
        places = np.flatnonzero(planes[number] == value)[ranks[here] - ends[number] + counts[number]]
        y, x = np.unravel_index(places, planes.shape[1:])
        voxels[here] = np.stack([x, y, np.full(len(places), number)], axis=1)
    return voxels
