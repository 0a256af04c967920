"""Augmentation of labelled crops, drawn from the sample's own random numbers.

Element-wise only, so that a sample is bit for bit the same in every worker. What is switched off draws
nothing. Shapes: C channels, X Y Z space.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mim3d.config import Augmentation
from mim3d.config.structures import parts
from mim3d.geometry import Triple, Vector

MIDDLE = np.float32(0.5)
"""Of the scale of [0, 1]: 0 HU in the default window."""
ALIKE = 0.01
"""Relative: sides that differ by no more are alike."""


@dataclass(frozen=True, slots=True)
class Symmetry:
    """What may be done to a crop without telling a lie about its anatomy."""

    axes: tuple[int, ...] = (0, 1, 2)
    """To mirror along."""
    planes: tuple[tuple[int, int], ...] = ()
    """To turn in by right angles, by their axes."""


def happens(random: np.random.Generator, chance: float) -> bool:
    """Whether something happens; nothing is drawn where that is certain."""
    return chance > 0 and (chance >= 1 or random.random() < chance)


def augment(
    crop: NDArray[np.float32],
    labels: NDArray[np.uint8],
    random: np.random.Generator,
    settings: Augmentation,
    symmetry: Symmetry,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Mirror, turn by right angles, change contrast, brightness and noise; shapes stay.

    Takes (C, X, Y, Z) intensities and (X, Y, Z) labels.
    """
    for axis in symmetry.axes:
        if happens(random, settings.flip):
            crop, labels = np.flip(crop, axis + 1), np.flip(labels, axis)
    for one, other in symmetry.planes:
        if happens(random, settings.rotate):
            times = int(random.integers(1, 4))
            crop, labels = (
                np.rot90(crop, times, (one + 1, other + 1)),
                np.rot90(labels, times, (one, other)),
            )
    crop = _intensities(crop, random, settings)
    return np.ascontiguousarray(crop, dtype=np.float32), np.ascontiguousarray(labels)


def symmetry_of(structures: tuple[str, ...], crop: Triple, spacing: Vector) -> Symmetry:
    """What structures, and the sides of a crop in voxels and mm, allow.

    Left and right stay apart where a structure is of one side, as its parts' names say. A crop is turned in
    planes of which both sides are alike.
    """
    axes = (1, 2) if any(map(_one_sided, structures)) else (0, 1, 2)
    planes = [(one, other) for one in axes for other in axes if one < other]
    square = [
        (one, other)
        for one, other in planes
        if crop[one] == crop[other] and math.isclose(spacing[one], spacing[other], rel_tol=ALIKE)
    ]
    return Symmetry(axes, tuple(square))


def _one_sided(structure: str) -> bool:
    return sum(any(side in part.lower() for part in parts([structure])) for side in ("left", "right")) == 1


def _intensities(
    crop: NDArray[np.float32], random: np.random.Generator, settings: Augmentation
) -> NDArray[np.float32]:
    scale, shift = 1.0, 0.0
    if happens(random, settings.contrast):
        scale = 1 + random.uniform(-settings.max_contrast, settings.max_contrast)
    if happens(random, settings.shift):
        shift = random.uniform(-settings.max_shift, settings.max_shift)
    if (scale, shift) != (1.0, 0.0):
        crop = (crop - MIDDLE) * np.float32(scale) + (MIDDLE + np.float32(shift))
    if happens(random, settings.noise):
        noise = random.standard_normal(crop.shape, dtype=np.float32)
        crop = crop + noise * np.float32(random.uniform(0, settings.max_noise))
    return crop
