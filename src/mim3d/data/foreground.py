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
    flat = np.ascontiguousarray(labels).ravel()
    places = np.flatnonzero(flat)
    if labels.dtype != np.bool_:
        places = places[np.argsort(flat[places], kind="stable")]
    parts = np.split(places, np.flatnonzero(np.diff(flat[places])) + 1)
    chosen = np.concatenate([rng.choice(part, min(limit, len(part)), replace=False) for part in parts])
    values = flat[chosen].astype(np.int32) - (labels.dtype == np.bool_)
    voxels = np.unravel_index(chosen, labels.shape)
    return np.stack([np.full(len(chosen), number), values, *voxels], axis=1).astype(np.int32)
