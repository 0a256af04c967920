"""Samples of pre-training: nested regions read from a store.

A sample is a pure function of (seed, global sample number, catalog, configuration).
Shapes: N crops of a level, C channels, L tokens of a crop, X Y Z space.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from mim3d.config import PretrainConfig
from mim3d.data.arrays import turned
from mim3d.data.catalog import Case, chosen, column_of
from mim3d.data.sources import Split
from mim3d.data.store import Store
from mim3d.geometry import Box
from mim3d.sampling.intensities import read_scaled, windows_of
from mim3d.sampling.masks import LevelPlan, draw_levels, draw_region, lattice_of, padded_tokens
from mim3d.sampling.turns import OnDamage, Turn, read_turn, unheard

READERS = 4
"""Boxes that are read at once, at most."""

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


def read_region(
    store: Store,
    cases: Sequence[Case],
    config: PretrainConfig,
    number: int,
    on_damage: OnDamage = unheard,
) -> tuple[Case, tuple[LevelCrops, ...]]:
    """The crops of every level of global sample `number`, outermost first, and the case they are from.

    Raises:
        DamageError: See `turns.read_turn`.
    """
    read = partial(_region, store, config, number)
    return read_turn(read, cases, config.runtime, Turn(config.seed, number, store.members), on_damage)


def _region(
    store: Store, config: PretrainConfig, number: int, case: Case
) -> tuple[Case, tuple[LevelCrops, ...]]:
    random = np.random.default_rng([config.seed, number])
    body = store.foreground(case.case, None)[0] if config.nesting.body_aware else NO_VOXELS
    region = draw_region(config.nesting.extent, case.shape, body, random, lattice_of(config.nesting))
    plans = draw_levels(config.nesting, region, body, random)
    levels = tuple(
        LevelCrops(
            crops,
            plan.masked,
            padded_tokens(plan.boxes, case.shape, config.nesting.grid),
            np.array(plan.parent, dtype=np.int64),
            np.array(plan.cell, dtype=np.int64),
            plan.boxes,
        )
        for plan, crops in zip(plans, _read_crops(store, case, config, plans), strict=True)
    )
    return case, levels


def select_cases(store: Store, split: Split) -> Sequence[Case]:
    """All cases of a split, in the order of their names."""
    cases = store.catalog.select(split=split).cases
    names = column_of(cases, "case")
    return chosen(cases, sorted(range(len(names)), key=names.__getitem__))


def _read_crops(
    store: Store, case: Case, config: PretrainConfig, plans: Sequence[LevelPlan]
) -> list[NDArray[np.float32]]:
    """The crops (N, C, X, Y, Z) of every level, in memory as in the files: Z, Y, X; boxes side by side."""
    x, y, z = config.nesting.crop
    one = (len(windows_of(case, config)), z, y, x)
    found = [turned(np.empty((len(plan.boxes), *one), np.float32)) for plan in plans]
    boxes = [box for plan in plans for box in plan.boxes]
    places = [crop for crops in found for crop in crops]
    read = partial(read_scaled, store, case, shape=(x, y, z), config=config)
    for _ in _readers().map(lambda box, place: read(box, out=place), boxes, places):
        pass  # an error in any of them is raised here
    return found


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    """Threads that read the boxes of a region side by side."""
    return ThreadPoolExecutor(READERS)
