"""Augmentation of labelled crops, drawn from the sample's own random numbers.

Shapes: C channels, X Y Z space.
"""

import numpy as np
from numpy.typing import NDArray

from mim3d.config.structures import parts

FLIP_PROBABILITY = 0.1
"""Per axis, as in the release's abdominal recipes."""
SCALE = 0.1
"""Contrast is multiplied by 1 plus or minus up to this, about the middle of the window."""
MIDDLE = np.float32(0.5)
"""Of the scale of [0, 1]: 0 HU in the default window."""
SHIFT = 0.02
"""Brightness is moved by up to this, on the scale of [0, 1]: 40 HU of the default window."""
NOISE = 0.02
"""Largest standard deviation of added noise, on the scale of [0, 1]."""


def augment(
    crop: NDArray[np.float32], labels: NDArray[np.uint8], random: np.random.Generator, axes: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Mirror along some of `axes`, change contrast, brightness and noise; shapes stay.

    Takes (C, X, Y, Z) intensities and (X, Y, Z) labels. Element-wise only, so that a
    sample is bit for bit the same in every worker.
    """
    for axis in axes:
        if random.random() < FLIP_PROBABILITY:
            crop, labels = np.flip(crop, axis + 1), np.flip(labels, axis)
    scale, shift = 1 + random.uniform(-SCALE, SCALE), random.uniform(-SHIFT, SHIFT)
    crop = (crop - MIDDLE) * np.float32(scale) + (MIDDLE + np.float32(shift))
    if random.random() < 0.5:
        noise = random.standard_normal(crop.shape, dtype=np.float32)
        crop = crop + noise * np.float32(random.uniform(0, NOISE))
    return np.ascontiguousarray(crop, dtype=np.float32), np.ascontiguousarray(labels)


def mirror_axes(structures: tuple[str, ...]) -> tuple[int, ...]:
    """Axes to mirror along: not left and right where a structure is of one side, as its parts' names say."""
    return (1, 2) if any(map(_one_sided, structures)) else (0, 1, 2)


def _one_sided(structure: str) -> bool:
    return sum(any(side in part.lower() for part in parts([structure])) for side in ("left", "right")) == 1
