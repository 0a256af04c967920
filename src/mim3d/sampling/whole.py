"""Samples of classification: whole volumes, or boxes about the body, made to fit a crop.

A sample is a pure function of (seed, global sample number, catalog, configuration). The finer original is
never read, so that a scan from a file looks as the same scan does in a store.
Shapes: C channels, K classes, X Y Z space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mim3d.config import ClassifyConfig, Window
from mim3d.data.catalog import Case
from mim3d.data.intensity import apply_window
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple, Vector
from mim3d.sampling.augment import augment
from mim3d.sampling.classified import truth_of
from mim3d.sampling.intensities import windows_of
from mim3d.sampling.turns import OnDamage, Turn, read_turn, unheard

AXES = (0, 1, 2)
"""That may be mirrored: no class is told by its side."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedCrop:
    """One volume and its classes."""

    crop: NDArray[np.float32]
    """(C, X, Y, Z), intensities in [0, 1]."""
    truth: NDArray[np.bool_]
    """(K,), the classes that it has."""
    case: str


def read_classified(
    store: Store, cases: Sequence[Case], config: ClassifyConfig, number: int, on_damage: OnDamage = unheard
) -> ClassifiedCrop:
    """Training crop of global sample `number`, augmented.

    Raises:
        DamageError: See `turns.read_turn`.
    """
    read = partial(_augmented, store, config, number)
    return read_turn(read, cases, config.runtime, Turn(config.seed, number, store.members), on_damage)


def read_whole(store: Store, case: Case, config: ClassifyConfig) -> NDArray[np.float32]:
    """What a classifier sees of a case, (C, X, Y, Z) in [0, 1]."""
    body = None if config.extent is None else store.foreground(case.case, None)[0]
    box = seen_box(case.shape, case.spacing, config.extent, body)
    return windowed(store.read(case.case, box, config.crop, finer=False), windows_of(case, config))


def seen_box(shape: Triple, spacing: Vector, extent: Vector | None, body: NDArray[np.int32] | None) -> Box:
    """The whole volume, or a box of `extent` mm about the mean of the body's voxels.

    Args:
        shape: Of the volume, voxels of the working grid.
        spacing: Of the working grid, mm.
        extent: Sides of the box, mm; None: the whole volume.
        body: (N, 3), voxels of the body, which may be a sample; the volume's middle is taken without any.
    """
    if extent is None:
        return Box((0.0, 0.0, 0.0), (float(shape[0]), float(shape[1]), float(shape[2])))
    middle = np.asarray(shape) / 2 if body is None or not len(body) else body.mean(axis=0) + 0.5
    sides = np.asarray(extent) / spacing
    x, y, z = map(float, middle - sides / 2)
    return Box((x, y, z), (float(sides[0]), float(sides[1]), float(sides[2])))


def windowed(intensities: NDArray[np.float32], windows: Sequence[Window]) -> NDArray[np.float32]:
    """Intensities (C, X, Y, Z) scaled to [0, 1] in place, channel by channel."""
    for channel, window in zip(intensities, windows, strict=True):
        apply_window(channel, window, out=channel)
    return intensities


def _augmented(store: Store, config: ClassifyConfig, number: int, case: Case) -> ClassifiedCrop:
    random = np.random.default_rng([config.seed, number])
    whole = read_whole(store, case, config)
    crop, _ = augment(whole, np.zeros(whole.shape[1:], np.uint8), random, AXES)
    return ClassifiedCrop(crop, truth_of([case], config)[0], case.case)
