"""A perceptual hash of a scan: the same scan under another name, spacing or storage has nearly the same.

Mean intensities of the 4 x 4 x 4 cells of a box about the body, less their mean, over their standard
deviation, and the size of the body: 64 + 3 numbers. Centre and size of the box come from moments of the body,
which a cropped border moves little.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mim3d.geometry import Vector

SIDE = 4
"""Cells per axis."""
REACH = 1.5
"""Half of the box, in standard deviations of the body's voxels along each axis."""
LARGEST = 1000
"""Intensities of a CT are clipped to this and its negative first, HU."""
TISSUE = (-800, 0)
"""Between these HU a voxel of a CT counts in part as body."""
CELL_STEP, SIZE_STEP = 1 / 30, 1 / 1000
"""One step of what is kept: of a cell in standard deviations, of a size in natural logarithms of mm."""
LIKELY = 0.15
"""Scans this close are reported as likely the same; docs/trust.md says what was measured."""
LENGTH = 2 * (SIDE**3 + 2 * 3)
"""Hexadecimal digits of a hash."""
AT_ONCE = 2**22
"""Pairs compared together: 16 MB."""

Pair = tuple[int, int, float]
"""Number of a hash of either side, and their distance."""


def perceptual_hash(array: NDArray[np.int16], spacing: Vector, modality: str = "CT") -> str:
    """The hash of a scan, in hexadecimal digits.

    Args:
        array: (X, Y, Z), canonical axes.
        spacing: Of the voxels, mm.
        modality: As DICOM names it.
    """
    weights, sizes = [], []
    for side, masses in zip(spacing, _masses(array, modality), strict=True):
        share = masses / masses.sum()
        centres = np.asarray((np.arange(len(share)) + 0.5) * side, np.float64)  # mm
        middle = float((share * centres).sum())
        size = math.sqrt(float((share * (centres - middle) ** 2).sum()) + side**2 / 12)
        weights.append(_weights(middle, size, centres, side))
        sizes.append(size)
    cells = _cells(array, weights, LARGEST if modality == "CT" else np.iinfo(np.int16).max)
    deviation = float(cells.std())
    standard = (cells - cells.mean()) / (deviation if deviation > 0 else 1.0)
    steps = np.clip(np.rint(standard.ravel() / CELL_STEP) + 128, 0, 255).astype(np.uint8)
    logs = np.rint(np.log(np.maximum(sizes, 1.0)) / SIZE_STEP).astype(">u2")
    kept: bytes = steps.tobytes() + logs.tobytes()
    return kept.hex()


def vectors(hashes: Sequence[str]) -> NDArray[np.float32]:
    """Hashes as rows (N, 67); the distance of two scans is that of their rows, no unit."""
    raw = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), LENGTH // 2)
    cells = (raw[:, : SIDE**3].astype(np.float32) - 128) * np.float32(CELL_STEP / math.sqrt(SIDE**3))
    sizes = raw[:, SIDE**3 :].copy().view(">u2").astype(np.float32) * np.float32(SIZE_STEP / math.sqrt(3))
    return np.concatenate([cells, sizes], axis=1)


def close_pairs(ours: Sequence[str], theirs: Sequence[str], within: float = LIKELY) -> Iterator[Pair]:
    """Pairs of hashes that are closer than `within`, in order of the first."""
    if not ours or not theirs:
        return
    rows, others = vectors(ours), vectors(theirs)
    squares = (others**2).sum(axis=1) - (within + 0.01) ** 2
    at_once = max(1, AT_ONCE // len(others))
    for first in range(0, len(rows), at_once):
        block = rows[first : first + at_once]
        products = (2 * block) @ others.T  # (at_once, N)
        products -= (block**2).sum(axis=1)[:, None]
        for one, other in np.argwhere(products > squares):
            distance = float(np.linalg.norm(block[one] - others[other]))  # exact, unlike the products
            if distance < within:
                yield first + int(one), int(other), distance


def _masses(array: NDArray[np.int16], modality: str) -> list[NDArray[np.float64]]:
    """How much body there is in each plane of each axis: whole numbers, in proportion to intensity.

    In proportion, as a threshold would move with the spacing where voxels hold air and body.
    """
    if _turned(array):
        return _masses(array.T, modality)[::-1]
    low, high = TISSUE if modality == "CT" else (int(array.mean(dtype=np.float64)), np.iinfo(np.int16).max)
    masses = [np.zeros(side, np.int64) for side in array.shape]
    for number, plane in enumerate(array):
        mass = np.clip(plane, low, high).astype(np.int64) - low  # (Y, Z)
        masses[0][number] = mass.sum()
        masses[1] += mass.sum(axis=1)
        masses[2] += mass.sum(axis=0)
    return [np.asarray(some if some.any() else np.ones_like(some), np.float64) for some in masses]


def _weights(middle: float, size: float, centres: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Share (4, N) of each voxel of an axis in each cell; a cell without any takes the nearest voxel."""
    edges = np.linspace(middle - REACH * size, middle + REACH * size, SIDE + 1)  # mm
    lower = np.maximum(edges[:-1, None], centres - spacing / 2)
    upper = np.minimum(edges[1:, None], centres + spacing / 2)
    covered = np.maximum(upper - lower, 0.0)
    for number in np.flatnonzero(covered.sum(axis=1) <= 0):
        covered[number, np.abs(centres - (edges[number] + edges[number + 1]) / 2).argmin()] = 1.0
    share: NDArray[np.float64] = covered / covered.sum(axis=1, keepdims=True)
    return share


def _cells(array: NDArray[np.int16], weights: list[NDArray[np.float64]], largest: int) -> NDArray[np.float64]:
    """Mean intensity (4, 4, 4) of the cells; element by element, so that it is the same in any process."""
    if _turned(array):
        return _cells(array.T, weights[::-1], largest).T
    cells = np.zeros((SIDE,) * 3)
    for number, plane in enumerate(array):
        share = weights[0][:, number]
        if share.any():
            shown = np.clip(plane, -largest, largest).astype(np.float64)  # (Y, Z)
            rows = np.einsum("ky,yz->kz", weights[1], shown)
            cells += share[:, None, None] * np.einsum("kz,lz->kl", rows, weights[2])
    return cells


def _turned(array: NDArray[np.int16]) -> bool:
    """Whether planes of the last axis, rather than of the first, lie in one piece in memory."""
    return abs(array.strides[0]) < abs(array.strides[2])
