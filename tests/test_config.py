"""What a configuration accepts, what follows from it, and what it says when it refuses."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mim3d.config import (
    Alignment,
    FinetuneConfig,
    Level,
    Nesting,
    PretrainConfig,
)
from mim3d.errors import ConfigError, GeometryError
from mim3d.geometry import Triple

INNER = Level(masked_ratio=0.5, children=0)


def test_the_defaults_are_the_paper() -> None:
    nesting = PretrainConfig().nesting
    assert nesting.extents() == ((192.0,) * 3, (96.0,) * 3, (16.0,) * 3)
    assert nesting.grid == (6, 6, 6)
    assert [nesting.cells(level) for level in range(3)] == [(2, 2, 2), (6, 6, 6), (6, 6, 6)]
    assert [nesting.num_crops(level) for level in range(3)] == [1, 4, 16]
    assert [nesting.num_hidden_cells(level) for level in range(3)] == [4, 130, 108]
    assert math.prod(nesting.grid) - nesting.num_hidden_cells(1) == 86


@given(
    grid=st.tuples(*[st.sampled_from([2, 4, 6])] * 3),
    patch=st.tuples(*[st.sampled_from([2, 4, 8, 16])] * 3),
    extent=st.tuples(*[st.integers(216, 400)] * 3),
    cells=st.lists(st.tuples(*[st.sampled_from([1, 2])] * 3), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_childs_extent_follows_from_its_parents(
    grid: Triple, patch: Triple, extent: Triple, cells: list[Triple], data: st.DataObject
) -> None:
    assume(grid not in cells)
    counts = [math.prod(grid) // math.prod(cell) for cell in cells]
    hidden = [data.draw(st.integers(1, count - 1)) for count in counts]
    levels = tuple(
        Level(cell=cell, masked_ratio=share / count, children=int(number < len(cells) - 1))
        for number, (cell, share, count) in enumerate(zip(cells, hidden, counts, strict=True))
    )
    crop = (grid[0] * patch[0], grid[1] * patch[1], grid[2] * patch[2])
    nesting = Nesting(extent=extent, crop=crop, patch=patch, levels=levels)
    expected = [float(side) for side in extent]
    for number, (found, cell) in enumerate(zip(nesting.extents(), cells, strict=True)):
        assert found == pytest.approx(expected)
        expected = [side * c / g for side, c, g in zip(expected, cell, grid, strict=True)]
        assert nesting.num_hidden_cells(number) == hidden[number]


ANISOTROPIC: list[tuple[Triple, Triple, Triple, Triple, list[Triple]]] = [
    ((192, 192, 32), (16, 16, 16), (12, 12, 2), (3, 3, 1), [(48, 48, 16), (4, 4, 8)]),
    ((192, 192, 32), (16, 16, 8), (12, 12, 4), (6, 6, 2), [(96, 96, 16), (8, 8, 4)]),
    ((192, 192, 32), (16, 16, 4), (12, 12, 8), (3, 3, 2), [(48, 48, 8), (4, 4, 1)]),
    ((224, 224, 128), (16, 16, 16), (14, 14, 8), (7, 7, 4), [(112, 112, 64), (8, 8, 8)]),
]


@pytest.mark.parametrize(("size", "patch", "grid", "cell", "extents"), ANISOTROPIC)
def test_anisotropic_regions_are_taken(
    size: Triple, patch: Triple, grid: Triple, cell: Triple, extents: list[Triple]
) -> None:
    levels = (Level(cell=cell, masked_ratio=0.5), Level(), INNER)
    nesting = Nesting(extent=size, crop=size, patch=patch, levels=levels)
    assert nesting.grid == grid
    assert nesting.extents() == (size, *extents)
    assert FinetuneConfig(crop=size, patch=patch).crop == size


def test_levels_that_are_never_enlarged_can_be_said() -> None:
    levels = (Level(cell=(3, 3, 3), masked_ratio=0.5), Level(cell=(3, 3, 3), masked_ratio=0.5), INNER)
    nesting = Nesting(levels=levels)
    assert nesting.extents() == ((192.0,) * 3, (96.0,) * 3, (48.0,) * 3)
    assert [nesting.num_crops(level) for level in range(3)] == [1, 4, 16]
    fewer = replace(nesting, levels=(levels[0], replace(levels[1], children=1), INNER))
    assert [fewer.num_crops(level) for level in range(3)] == [1, 4, 4]


def test_a_crop_of_120_is_refused_naming_128() -> None:
    message = r"crop \(224, 224, 120\) must be a positive .* \(16, 16, 16\); the nearest is \(224, 224, 128\)"
    message += r", or \(224, 224, 112\)$"
    with pytest.raises(GeometryError, match=message):
        Nesting(crop=(224, 224, 120))
    with pytest.raises(GeometryError, match=message):
        FinetuneConfig(crop=(224, 224, 120))


def test_one_level_and_four_are_taken() -> None:
    assert Nesting(levels=(INNER,)).extents() == ((192.0, 192.0, 192.0),)
    deep = Nesting(
        extent=(432, 432, 432), levels=(Level(cell=(3, 3, 3)), *[Level(cell=(2, 2, 2))] * 2, INNER)
    )
    assert deep.extents()[-1] == (24.0, 24.0, 24.0)
    assert deep.num_crops(3) == 64


def test_a_parent_needs_several_children_to_tell_apart() -> None:
    nesting = Nesting(levels=(Level(cell=(3, 3, 3), masked_ratio=0.5), Level(children=1), INNER))
    PretrainConfig(nesting=nesting)
    alone = Alignment(predicts="parent")
    message = (
        r"^level 1: children is 1, but a parent that predicts by info_nce has to tell its children apart"
    )
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(nesting=nesting, alignment=alone)
    for mended in (
        replace(alone, negatives="batch"),
        replace(alone, loss="cosine"),
        replace(alone, weight=0),
    ):
        PretrainConfig(nesting=nesting, alignment=mended)


def test_configurations_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        PretrainConfig().seed = 1  # type: ignore[misc]
