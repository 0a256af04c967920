"""Voxels of a labelled crop that stand for all of it: as many of each label as of the others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mim3d.sampling.labelled import IGNORED


class Drawn(NamedTuple):
    """Voxels of a crop."""

    voxels: NDArray[np.int64]
    """(V, 3)."""
    labels: NDArray[np.int64]
    """(V,), values of the label map."""
    counts: NDArray[np.float64]
    """(V,), how many voxels of the crop each stands for."""


def draw_voxels(labels: NDArray[np.uint8], count: int, random: np.random.Generator) -> Drawn:
    """At most `count` voxels of a label map (X, Y, Z), none of them ignored, shared out over its labels.

    Of a label with fewer voxels than its share all are taken. Together the voxels of a label stand for all
    that the crop has of it.
    """
    present = [value for value in np.unique(labels).tolist() if value != IGNORED]
    flat, chosen, counts = labels.ravel(), [], []
    for value in present:
        places = np.flatnonzero(flat == value)
        share = min(len(places), max(1, count // len(present)))
        chosen.append(np.sort(random.choice(places, share, replace=False)))
        counts.append(np.full(share, len(places) / share))
    places = np.concatenate(chosen) if chosen else np.empty(0, np.int64)
    return Drawn(
        np.stack(np.unravel_index(places, labels.shape), axis=1),
        flat[places].astype(np.int64),
        np.concatenate(counts) if counts else np.empty(0),
    )
