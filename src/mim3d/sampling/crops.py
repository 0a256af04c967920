"""Samples read from a store: a nested region for pre-training, a labelled crop for fine-tuning.

A sample is a pure function of (seed, global sample number, catalog, configuration).
Shapes: N crops of a level, C channels, L tokens of a crop, X Y Z space.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.data.catalog import Case
from mim3d.data.sources import Split
from mim3d.data.store import Store
from mim3d.errors import StoreError
from mim3d.geometry import Box
from mim3d.sampling.augment import augment, mirror_axes
from mim3d.sampling.intensities import read_scaled
from mim3d.sampling.masks import draw_levels, draw_region, lattice_of, padded_tokens

IGNORED = 255
"""Label of voxels that are neither learnt from nor scored."""

NO_VOXELS = np.empty((0, 3), dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class LevelCrops:
    """The crops of one level of one region, parent-major."""

    crops: NDArray[np.float32]
    """(N, C, X, Y, Z), intensities in [0, 1]."""
    masked: NDArray[np.bool_]
    """(N, L), True = hidden from the encoder."""
    padded: NDArray[np.bool_]
    """(N, L), True = not wholly inside the volume: some of its voxels are padding."""
    parent: NDArray[np.int64]
    """(N,), number of the parent crop in the level above; empty at level 0."""
    cell: NDArray[np.int64]
    """(N,), raster number of the parent's cell; empty at level 0."""
    boxes: tuple[Box, ...]
    """N boxes on the working grid."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCrop:
    """One crop and its label map."""

    crop: NDArray[np.float32]
    """(C, X, Y, Z), intensities in [0, 1]."""
    labels: NDArray[np.uint8]
    """(X, Y, Z), 0 background, 1.. the structures asked for, 255 ignored."""


def read_region(
    store: Store, cases: tuple[Case, ...], config: PretrainConfig, number: int
) -> tuple[Case, tuple[LevelCrops, ...]]:
    """The crops of every level of global sample `number`, outermost first, and the case they are from."""
    case = cases[_turn(config.seed, number, len(cases))]
    random = np.random.default_rng([config.seed, number])
    body = store.foreground(case.case, None)[0] if config.nesting.body_aware else NO_VOXELS
    region = draw_region(config.nesting.extent, case.shape, body, random, lattice_of(config.nesting))
    levels = tuple(
        LevelCrops(
            np.stack([_read(store, case, box, config) for box in plan.boxes]),
            plan.masked,
            padded_tokens(plan.boxes, case.shape, config.nesting.grid),
            np.array(plan.parent, dtype=np.int64),
            np.array(plan.cell, dtype=np.int64),
            plan.boxes,
        )
        for plan in draw_levels(config.nesting, region, body, random)
    )
    return case, levels


def read_labelled(store: Store, cases: tuple[Case, ...], config: FinetuneConfig, number: int) -> LabelledCrop:
    """Training crop of global sample `number`: about a structure two times in three, augmented."""
    case = cases[_turn(config.seed, number, len(cases))]
    random = np.random.default_rng([config.seed, number])
    values = structure_values(store, config)
    places = store.foreground(case.case, config.labels)
    present = [places[value] for value in values if len(places.get(value, ()))]
    aimed = present and random.random() < 2 / 3
    voxels = present[random.integers(len(present))] if aimed else store.foreground(case.case, None)[0]
    box = draw_region(config.crop, case.shape, voxels, random)
    crop = read_scaled(store, case, box, config.crop, config)
    labels = read_label_ids(store, case, box, config)
    return LabelledCrop(*augment(crop, labels, random, mirror_axes(config.structures)))


def read_label_ids(store: Store, case: Case, box: Box, config: FinetuneConfig) -> NDArray[np.uint8]:
    """Labels in `box` as contiguous ids 1, 2, ... of the structures asked for, (X, Y, Z)."""
    shape = tuple(round(side) for side in box.size)
    stored = store.read_labels(case.case, config.labels, box, (shape[0], shape[1], shape[2]))
    label_set = store.label_sets[config.labels]
    ids = np.zeros(65536, dtype=np.uint8)
    for index, value in enumerate(structure_values(store, config), start=1):
        ids[value] = index
    if label_set.ignore is not None:
        ids[label_set.ignore] = IGNORED
    return ids[stored]


def structure_values(store: Store, config: FinetuneConfig) -> tuple[int, ...]:
    """Values in the label set of the structures asked for, in their order."""
    return store.label_sets[config.labels].values(config.structures)


def select_cases(store: Store, split: Split) -> tuple[Case, ...]:
    """All cases of a split, in the order of their names."""
    return tuple(sorted(store.catalog.select(split=split).cases, key=lambda case: case.case))


def annotated_cases(store: Store, config: FinetuneConfig, split: Split) -> tuple[Case, ...]:
    """The cases of a split in which all structures asked for were annotated: others would teach gaps.

    Raises:
        StoreError: If the store has no such label set, or no such case.
        DataError: If the label set has no such structure.
    """
    if config.labels not in store.label_sets:
        known = ", ".join(store.label_sets) or "none"
        raise StoreError(f"{store.path}: no label set {config.labels!r}; it has: {known}")
    values = set(structure_values(store, config))
    cases = select_cases(store, split)
    cases = tuple(case for case in cases if values <= set(case.labels.get(config.labels, ())))
    if not cases:
        raise StoreError(
            f"{store.path}: no case of the split `{split}` has all of {', '.join(config.structures)} "
            "annotated; prepare more labelled cases, state splits in a CSV, or ask for fewer structures"
        )
    return cases


def _read(store: Store, case: Case, box: Box, config: PretrainConfig) -> NDArray[np.float32]:
    return read_scaled(store, case, box, config.nesting.crop, config)


def _turn(seed: int, number: int, count: int) -> int:
    """Which case sample `number` takes: every case once, in a new random order, before any comes again."""
    lap, place = divmod(number, count)
    return int(_order(seed, lap, count)[place])


@lru_cache(maxsize=4)
def _order(seed: int, lap: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, lap, count]).permutation(count)
