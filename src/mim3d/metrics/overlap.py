"""Overlap of two structures, and their volumes."""

import math

import numpy as np
from numpy.typing import NDArray

from mim3d.geometry import Vector


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice coefficient, 0 (nothing shared) to 1 (the same voxels); NaN where both are empty.

    Source: Dice 1945, Ecology 26(3); twice the shared voxels over the sum of the two.

    Args:
        predicted: (X, Y, Z), True inside the structure.
        truth: (X, Y, Z), True inside the structure.
    """
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(predicted & truth)) / total if total else math.nan


def volume_ml(structure: NDArray[np.bool_], spacing: Vector) -> float:
    """Volume of a structure (X, Y, Z) in ml, for a spacing in mm."""
    return int(np.count_nonzero(structure)) * math.prod(spacing) / 1000
