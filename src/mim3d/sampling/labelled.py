"""Samples of fine-tuning: labelled crops read from a store.

A sample is a pure function of (seed, global sample number, catalog, configuration).
Shapes: C channels, P parts, S structures, X Y Z space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.geometry import Box
from mim3d.sampling.affine import draw_matrix, enlarged, look_up
from mim3d.sampling.annotated import annotated_structures, part_table, part_values
from mim3d.sampling.augment import augment, happens, symmetry_of
from mim3d.sampling.intensities import read_scaled
from mim3d.sampling.masks import draw_region
from mim3d.sampling.turns import OnDamage, Turn, read_turn, unheard

IGNORED = 255
"""Label of voxels that are neither learnt from nor scored."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCrop:
    """One crop and its label map."""

    crop: NDArray[np.float32]
    """(C, X, Y, Z), intensities in [0, 1]."""
    labels: NDArray[np.uint8]
    """(X, Y, Z), ids of the parts of structures (`config.structures`): 0 background, 255 ignored."""
    annotated: NDArray[np.bool_]
    """(S,), which structures were annotated in the case."""
    case: str = ""


def read_labelled(
    store: Store,
    cases: Sequence[Case],
    config: FinetuneConfig,
    number: int,
    on_damage: OnDamage = unheard,
) -> LabelledCrop:
    """Training crop of global sample `number`: now about a structure, now anywhere in the body, augmented.

    Samples take cases in turn, `crops_per_case` of one after the other.

    Raises:
        DamageError: See `turns.read_turn`.
    """
    read = partial(_labelled, store, config, number)
    turn = Turn(config.seed, number // config.crops_per_case, store.members)
    return read_turn(read, cases, config.runtime, turn, on_damage)


def _labelled(store: Store, config: FinetuneConfig, number: int, case: Case) -> LabelledCrop:
    random = np.random.default_rng([config.seed, number])
    present = _places_of_structures(store, case, config)
    aimed = present and happens(random, config.aimed)
    voxels = present[random.integers(len(present))] if aimed else store.foreground(case.case, None)[0]
    box = draw_region(config.crop, case.shape, voxels, random)
    if happens(random, config.augmentation.affine):
        crop, labels = _turned(store, case, box, config, random)
    else:
        crop, labels = (
            read_scaled(store, case, box, config.crop, config),
            read_label_ids(store, case, box, config),
        )
    symmetry = symmetry_of(config.structures, config.crop, case.spacing)
    crop, labels = augment(crop, labels, random, config.augmentation, symmetry)
    return LabelledCrop(crop, labels, annotated_structures(store, case, config), case.case)


def _turned(
    store: Store, case: Case, box: Box, config: FinetuneConfig, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Intensities (C, X, Y, Z) and ids (X, Y, Z) about the centre of a box, turned and zoomed."""
    matrix = draw_matrix(random, config.augmentation, case.spacing)
    larger = enlarged(box, matrix)
    x, y, z = map(round, larger.size)
    seen = read_scaled(store, case, larger, (x, y, z), config)
    crop = np.stack([look_up(channel, matrix, config.crop, linear=True) for channel in seen])
    return crop, look_up(read_label_ids(store, case, larger, config), matrix, config.crop, linear=False)


def _places_of_structures(store: Store, case: Case, config: FinetuneConfig) -> list[NDArray[np.int32]]:
    """Voxels (N, 3) in each of the annotated structures that the case holds."""
    places, values = store.foreground(case.case, config.labels), part_values(store, config)
    found = []
    annotated = annotated_structures(store, case, config)
    for row in part_table(config)[annotated]:
        held = [places[value] for value, own in zip(values, row, strict=True) if own and value in places]
        if sum(map(len, held)):
            found.append(np.concatenate(held))
    return found


def read_label_ids(store: Store, case: Case, box: Box, config: FinetuneConfig) -> NDArray[np.uint8]:
    """Labels in `box` as ids 1, 2, ... of the parts of structures, (X, Y, Z).

    Parts that are of none of the structures annotated in the case are ignored, if seen all the same.
    """
    shape = tuple(round(side) for side in box.size)
    stored = store.read_labels(case.case, config.labels, box, (shape[0], shape[1], shape[2]))
    label_set = store.label_sets[config.labels]
    sure = np.any(part_table(config)[annotated_structures(store, case, config)], axis=0).tolist()  # (P,)
    ids = np.zeros(65536, dtype=np.uint8)
    for number, value in enumerate(part_values(store, config)):
        ids[value] = number + 1 if sure[number] else IGNORED
    if label_set.ignore is not None:
        ids[label_set.ignore] = IGNORED
    return ids[stored]
