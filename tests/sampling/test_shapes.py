"""Regions of other shapes than cubes, of other numbers of levels than three, and of finer voxels."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from mim3d.config import Level, Nesting, PretrainConfig, Window
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.splits import Shares
from mim3d.data.store import Store, open_store
from mim3d.geometry import Box, Triple, Vector
from mim3d.sampling.crops import LevelCrops, read_region, select_cases

INNER = Level(masked_ratio=0.5, children=0)
HALF = Level(cell=(2, 2, 2), masked_ratio=0.5, children=2)
NESTINGS: dict[str, tuple[Nesting, list[int], list[Vector]]] = {
    "one level": (Nesting(extent=(24, 24, 24), crop=(16, 16, 16), levels=(INNER,), patch=(4, 4, 4)), [1], []),
    "thick slices": (
        Nesting(
            extent=(24, 24, 4),
            crop=(24, 24, 4),
            patch=(4, 4, 2),
            levels=(Level(cell=(3, 3, 1), masked_ratio=0.5, children=3), Level(children=2), INNER),
        ),
        [1, 3, 6],
        [(12, 12, 2), (2, 2, 1)],
    ),
    "two levels, unlike on every axis": (
        Nesting(
            extent=(30, 20, 10),
            crop=(24, 16, 8),
            patch=(4, 8, 4),
            levels=(Level(cell=(2, 1, 1), masked_ratio=0.4, children=4), INNER),
        ),
        [1, 4],
        [(10, 10, 5)],
    ),
    "four levels": (
        Nesting(extent=(32, 32, 32), crop=(16, 16, 16), patch=(4, 4, 4), levels=(HALF, HALF, HALF, INNER)),
        [1, 2, 4, 8],
        [(16, 16, 16), (8, 8, 8), (4, 4, 4)],
    ),
}


@pytest.mark.parametrize("masks", ["cells", "as_released"])
@pytest.mark.parametrize("name", NESTINGS)
def test_any_shape_is_read_from_a_store(
    store: Store, pretraining: PretrainConfig, name: str, masks: Literal["cells", "as_released"]
) -> None:
    nesting, counts, extents = NESTINGS[name]
    config = replace(pretraining, nesting=replace(nesting, masks=masks))
    case, levels = read_region(store, select_cases(store, "train"), config, number=1)
    assert [len(level.crops) for level in levels] == counts
    for number, level in enumerate(levels):
        assert level.crops.shape[1:] == (1, *nesting.crop)
        assert level.masked.shape == level.padded.shape == (counts[number], np.prod(nesting.grid))
        assert {box.size for box in level.boxes} == {(nesting.extent, *extents)[number]}
        for crop, box in zip(level.crops, level.boxes, strict=True):
            hu = store.read(case.case, box, nesting.crop)
            np.testing.assert_allclose(crop, np.clip((hu + 1000) / 2000, 0, 1), atol=1e-6)
        if number:
            above = [levels[number - 1].boxes[parent] for parent in level.parent]
            cells = nesting.cells(number - 1)
            assert [p.cell(int(c), cells) for p, c in zip(above, level.cell, strict=True)] == [*level.boxes]


@pytest.fixture(scope="module")
def finer(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One phantom of 48^3 voxels of 5 mm on a working grid of 10 mm, with its own voxels kept."""
    folder = tmp_path_factory.mktemp("finer")
    make_phantoms(folder / "raw", PhantomOptions(shape=(48, 48, 48), spacing=5.0), cases=1)
    none = Shares(0.0, 0.0)
    prepare_store(
        folder / "raw", folder / "store", spacing=(10.0,) * 3, keep_native=True, shares=none, workers=1
    )
    return open_store(folder / "store")


NEVER_ENLARGED = Nesting(extent=(16, 16, 16), crop=(16, 16, 16), patch=(4, 4, 4), levels=(HALF, HALF, INNER))
"""Level 1 has twice the working grid's resolution, which is that of the kept voxels."""


def native_voxels(store: Store, case: str) -> NDArray[np.float32]:
    """The voxels as they came, HU: at their own centres the store interpolates nothing."""
    read: NDArray[np.float32] = store.read(case, Box((0.0, 0.0, 0.0), (24.0, 24.0, 24.0)), (48, 48, 48))[0]
    return read


def interpolated(voxels: NDArray[np.float32], box: Box, shape: Triple) -> NDArray[np.float32]:
    """Voxels of half the working grid's size, at the centres of the cells of a box on that grid."""
    axes = [
        (start + (np.arange(count) + 0.5) * side / count) * 2 - 0.5
        for start, side, count in zip(box.start, box.size, shape, strict=True)
    ]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    found: NDArray[np.float32] = map_coordinates(voxels, places, order=1, mode="nearest")
    return found


def region_of(store: Store, config: PretrainConfig) -> tuple[str, tuple[LevelCrops, ...]]:
    case, levels = read_region(store, select_cases(store, "train"), config, number=0)
    return case.case, levels


def test_levels_finer_than_the_working_grid_are_read_from_the_voxels_as_they_came(
    finer: Store, pretraining: PretrainConfig
) -> None:
    config = replace(pretraining, nesting=NEVER_ENLARGED, window=Window(low=-1024, high=3071))
    name, levels = region_of(finer, config)
    voxels = native_voxels(finer, name)
    without = replace(
        finer, catalog=type(finer.catalog)(tuple(replace(c, native=None) for c in finer.catalog.cases))
    )
    _, blurred = region_of(without, config)
    for level, coarse in zip(levels[1:], blurred[1:], strict=True):
        for crop, other, box, padded in zip(
            level.crops, coarse.crops, level.boxes, level.padded, strict=True
        ):
            expected = (interpolated(voxels, box, (16, 16, 16)) + 1024) / 4095
            inside = ~padded.reshape(4, 4, 4).repeat(4, 0).repeat(4, 1).repeat(4, 2)
            assert inside.any()
            np.testing.assert_allclose(crop[0][inside], expected[inside], atol=1e-5)
            assert np.abs(other[0] - crop[0]).max() > 0.01
    assert np.array_equal(levels[0].crops, blurred[0].crops)
