"""Lesions found and invented, counted one by one.

A lesion is a connected component of a structure: voxels that share a face, an edge or a corner. A predicted
one and a true one can be the same if their intersection is at least a tenth of their union. Each is paired
with at most one, so that there are as many pairs as there can be.
Source: Saha et al. 2024, Lancet Oncology 25(7), the PI-CAI challenge (its hit criterion and neighbourhood);
Baumgartner et al. 2021, arXiv:2106.00817, whose average precision rests on the same 0.1. Where we differ:
true lesions below a size can be left out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from mim3d.geometry import Vector

OVERLAP = 0.1
"""Intersection over union from which a predicted lesion can be a true one."""

_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesions:
    """Lesions of one structure in one case."""

    truth: int
    """Lesions in the truth, of the size that counts."""
    found: int
    """Those among them that are paired with a predicted one."""
    false_positives: int
    """Predicted lesions of the size that counts that cannot be any true lesion."""
    smallest_mm3: float = 0.0
    """Volume of the smallest lesion that counts, mm^3."""


def count_lesions(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Vector, smallest_mm3: float = 0.0
) -> Lesions:
    """Compare the lesions of two maps of one structure.

    A true lesion below the smallest size is neither to be found nor to be missed, and what was predicted
    where it lies is no false positive; nor is any predicted lesion below that size.

    Args:
        predicted: (X, Y, Z), True inside the structure.
        truth: (X, Y, Z), the same for the truth.
        spacing: mm.
        smallest_mm3: Volume of the smallest lesion that counts, mm^3.
    """
    ours, theirs = _components(predicted), _components(truth)
    least = (
        smallest_mm3 / math.prod(spacing) * (1 - 1e-9)
    )  # rounding must not lose a lesion of that very size
    counted = theirs.sizes >= least
    pairs = _overlaps(ours, theirs)
    can_be = pairs.iou >= OVERLAP
    wanted = can_be & counted[pairs.theirs]
    excused = np.zeros(len(ours.sizes), dtype=bool)
    excused[pairs.ours[can_be | ~counted[pairs.theirs]]] = True
    return Lesions(
        truth=int(counted.sum()),
        found=_matched(pairs.ours[wanted], pairs.theirs[wanted]),
        false_positives=int(((ours.sizes >= least) & ~excused).sum()),
        smallest_mm3=smallest_mm3,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Components:
    numbers: NDArray[np.int32]
    """(X, Y, Z), 0 outside, else the component's number from 1."""
    sizes: NDArray[np.int64]
    """(N,), voxels of each component."""


@dataclass(frozen=True, eq=False, slots=True)
class _Pairs:
    """Components of both maps that share voxels."""

    ours: NDArray[np.int64]
    """(M,), number of the predicted component, from 0."""
    theirs: NDArray[np.int64]
    """(M,), number of the true one."""
    iou: NDArray[np.float64]
    """(M,), intersection over union."""


def _components(structure: NDArray[np.bool_]) -> _Components:
    numbers = np.asarray(label(structure, _NEIGHBOURS)[0], np.int32)
    return _Components(numbers, np.bincount(numbers.ravel())[1:])


def _overlaps(ours: _Components, theirs: _Components) -> _Pairs:
    both = (ours.numbers > 0) & (theirs.numbers > 0)
    width = len(theirs.sizes) + 1
    codes, shared = np.unique(
        ours.numbers[both].astype(np.int64) * width + theirs.numbers[both], return_counts=True
    )
    a, b = codes // width - 1, codes % width - 1
    return _Pairs(a, b, shared / (ours.sizes[a] + theirs.sizes[b] - shared))


def _matched(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> int:
    """How many of the pairs (M,) and (M,) can hold at once, each component being in one at most."""
    if not len(ours):
        return 0
    possible = csr_array((np.ones(len(ours), dtype=np.int8), (ours, theirs)))
    return int((maximum_bipartite_matching(possible, perm_type="column") >= 0).sum())
