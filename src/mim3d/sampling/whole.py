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

from mim3d.config import ClassifyConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple, Vector
from mim3d.sampling.affine import draw_matrix, enlarged, look_up
from mim3d.sampling.augment import augment, happens, symmetry_of
from mim3d.sampling.classified import truth_of
from mim3d.sampling.intensities import windowed, windows_of
from mim3d.sampling.turns import OnDamage, Turn, read_turn, unheard


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
    return _read(store, case, _box(store, case, config), config.crop, config)


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


def _augmented(store: Store, config: ClassifyConfig, number: int, case: Case) -> ClassifiedCrop:
    random = np.random.default_rng([config.seed, number])
    box = _box(store, case, config)
    x, y, z = (n * mm / c for n, mm, c in zip(box.size, case.spacing, config.crop, strict=True))
    if happens(random, config.augmentation.affine):
        seen = _turned(store, case, box, (x, y, z), config, random)
    else:
        seen = _read(store, case, box, config.crop, config)
    symmetry = symmetry_of((), config.crop, (x, y, z))
    crop, _ = augment(seen, np.zeros(seen.shape[1:], np.uint8), random, config.augmentation, symmetry)
    return ClassifiedCrop(crop, truth_of([case], config)[0], case.case)


def _turned(
    store: Store, case: Case, box: Box, side: Vector, config: ClassifyConfig, random: np.random.Generator
) -> NDArray[np.float32]:
    """Intensities (C, X, Y, Z) about the centre of a box, turned and zoomed; `side` of its cells, mm."""
    matrix = draw_matrix(random, config.augmentation, side)
    x, y, z = map(float, config.crop)
    larger = enlarged(Box((0.0, 0.0, 0.0), (x, y, z)), matrix)  # in voxels of the crop
    u, v, w = (n / c for n, c in zip(box.size, config.crop, strict=True))
    start = [a + b * step for a, b, step in zip(box.start, larger.start, (u, v, w), strict=True)]
    cells = (round(larger.size[0]), round(larger.size[1]), round(larger.size[2]))
    outer = Box((start[0], start[1], start[2]), (cells[0] * u, cells[1] * v, cells[2] * w))
    seen = _read(store, case, outer, cells, config)
    return np.stack([look_up(channel, matrix, config.crop, linear=True) for channel in seen])


def _box(store: Store, case: Case, config: ClassifyConfig) -> Box:
    body = None if config.extent is None else store.foreground(case.case, None)[0]
    return seen_box(case.shape, case.spacing, config.extent, body)


def _read(store: Store, case: Case, box: Box, shape: Triple, config: ClassifyConfig) -> NDArray[np.float32]:
    return windowed(store.read(case.case, box, shape, finer=False), windows_of(case, config))
