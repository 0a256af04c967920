"""What a configuration accepts, what follows from it, and what it says when it refuses."""

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mim3d.config import (
    Alignment,
    Architecture,
    FinetuneConfig,
    Level,
    Nesting,
    Optimisation,
    PretrainConfig,
    Runtime,
    Window,
)
from mim3d.errors import ConfigError, GeometryError, MimError
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


@settings(deadline=None)
@given(
    grid=st.tuples(*[st.sampled_from([2, 4, 6])] * 3),
    patch=st.tuples(*[st.sampled_from([1, 2, 4, 8, 16])] * 3),
    extent=st.tuples(*[st.integers(8, 400)] * 3),
    cells=st.lists(st.tuples(*[st.sampled_from([1, 2])] * 3), min_size=1, max_size=4),
    ratio=st.floats(0.01, 0.99),
)
def test_a_childs_extent_follows_from_its_parents(
    grid: Triple, patch: Triple, extent: Triple, cells: list[Triple], ratio: float
) -> None:
    assume(grid not in cells)
    levels = [Level(cell=cell, masked_ratio=ratio, children=1) for cell in cells[:-1]]
    levels.append(Level(cell=cells[-1], masked_ratio=ratio, children=0))
    crop = (grid[0] * patch[0], grid[1] * patch[1], grid[2] * patch[2])
    nesting = Nesting(extent=extent, crop=crop, patch=patch, levels=tuple(levels))
    expected = [float(side) for side in extent]
    for number, (found, cell) in enumerate(zip(nesting.extents(), cells, strict=True)):
        assert found == pytest.approx(expected)
        expected = [side * c / g for side, c, g in zip(expected, cell, grid, strict=True)]
        assert 0 < nesting.num_hidden_cells(number) < math.prod(nesting.cells(number))


@pytest.mark.parametrize(
    ("crop", "patch", "grid"),
    [
        ((192, 192, 32), (16, 16, 16), (12, 12, 2)),
        ((192, 192, 32), (16, 16, 8), (12, 12, 4)),
        ((224, 224, 128), (16, 16, 16), (14, 14, 8)),
    ],
)
def test_anisotropic_crops_are_taken(crop: Triple, patch: Triple, grid: Triple) -> None:
    levels = (Level(cell=(2, 2, 2), masked_ratio=0.5), INNER)
    nesting = Nesting(extent=(384, 384, 192), crop=crop, patch=patch, levels=levels)
    assert nesting.grid == grid
    assert nesting.extents()[1] == pytest.approx(
        [e * 2 / g for e, g in zip((384, 384, 192), grid, strict=True)]
    )
    assert FinetuneConfig(crop=crop, patch=patch).crop == crop


def test_a_crop_of_120_is_refused_naming_128() -> None:
    message = r"crop \(224, 224, 120\) must be a positive .* \(16, 16, 16\); the nearest is \(224, 224, 128\)"
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


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: Window(low=5, high=5), "window needs low < high, got 5 and 5 HU"),
    (lambda: Window(low=math.nan), "window needs low < high, got nan and 1000.0 HU"),
    (lambda: Level(masked_ratio=1.0), "masked_ratio must lie in (0, 1), got 1.0"),
    (lambda: Level(masked_ratio=0.0), "masked_ratio must lie in (0, 1), got 0.0"),
    (
        lambda: Level(cell=(1, 0, 1)),
        "a level needs cells of at least 1 token and no negative children, got Level(",
    ),
    (
        lambda: Level(children=-1),
        "a level needs cells of at least 1 token and no negative children, got Level(",
    ),
    (lambda: Nesting(levels=()), "nesting needs at least one level, got none"),
    (lambda: Nesting(extent=(0, 9, 9)), "extent must be positive on every axis, got (0, 9, 9) voxels"),
    (
        lambda: Nesting(patch=(16, 12, 16)),
        "patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got (16, 12, 16)",
    ),
    (
        lambda: Nesting(patch=(0, 16, 16)),
        "patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got (0, 16, 16)",
    ),
    (
        lambda: Nesting(crop=(0, 96, 96)),
        "crop (0, 96, 96) must be a positive multiple of (16, 16, 16); the nearest",
    ),
    (
        lambda: Nesting(levels=(Level(cell=(4, 3, 3)), INNER)),
        "level 0: the grid of tokens (6, 6, 6) must be a positive multiple of (4, 3, 3); the nearest is (8,",
    ),
    (
        lambda: Nesting(levels=(Level(), Level(cell=(6, 6, 6), children=0))),
        "level 1: one cell is the whole crop; lower its cell (6, 6, 6)",
    ),
    (
        lambda: Nesting(levels=(Level(), Level())),
        "level 1: children is 4, must be 0, as nothing lies further in",
    ),
    (lambda: Nesting(levels=(INNER, INNER)), "level 0: children is 0, must be at least 1"),
    (
        lambda: Nesting(levels=(Level(cell=(3, 3, 3), masked_ratio=0.5, children=5), INNER)),
        "level 0: 5 children, but only 4 of 8 cells are hidden; raise masked_ratio 0.5 or lower children",
    ),
    (
        lambda: Architecture(channels=0),
        "channels and heads must be at least 1, depths and embedded_levels at least",
    ),
    (
        lambda: Architecture(num_heads=0),
        "channels and heads must be at least 1, depths and embedded_levels at least",
    ),
    (
        lambda: Architecture(depths=(2, -1, 2, 3)),
        "channels and heads must be at least 1, depths and embedded_levels at least",
    ),
    (
        lambda: Architecture(dims=(6, 12, 24, 50), num_heads=5),
        "dims[3] must divide by its 5 heads and by 6 (position codes), got 50; take a multiple of 30",
    ),
    (
        lambda: Architecture(decoder_dim=96, decoder_heads=5),
        "decoder_dim must divide by its 5 heads and by 6 (position codes), got 96; take a multiple of 30",
    ),
    (lambda: Alignment(weight=-1), "alignment needs weight >= 0, temperature > 0 and momentum in [0, 1)"),
    (lambda: Alignment(temperature=0), "alignment needs weight >= 0, temperature > 0 and momentum in [0, 1)"),
    (
        lambda: Optimisation(steps=0),
        "steps must be at least 1, got 0",
    ),
    (
        lambda: Optimisation(lr=float("nan")),
        "warmup_steps must not be negative and lr positive, got Optimisation(",
    ),
    (
        lambda: Optimisation(betas=(0.9, 1)),
        "weight_decay must be at least 0, max_norm positive and betas in [0, 1)",
    ),
    (
        lambda: Optimisation(max_norm=0),
        "weight_decay must be at least 0, max_norm positive and betas in [0, 1)",
    ),
    (
        lambda: Runtime(memory_gb=0),
        "devices and checkpoint_every must be at least 1, num_workers at",
    ),
    (
        lambda: Runtime(num_workers=-1),
        "devices and checkpoint_every must be at least 1, num_workers at",
    ),
    (lambda: FinetuneConfig(overlap=1.0), "overlap must lie in [0, 1), got 1.0"),
    (
        lambda: FinetuneConfig(patch=(3, 16, 16)),
        "patch must be made of 1, 2, 4, 8 or 16 voxels an axis, got (3, 16",
    ),
    (
        lambda: FinetuneConfig(validate_every=0),
        "feature_size (channels) and validate_every (steps) must be at least 1, got 48 and 0",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(MimError) as refused:
        make()
    assert str(refused.value).startswith(message)
    assert isinstance(refused.value, ConfigError | GeometryError)


def test_configurations_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        PretrainConfig().seed = 1  # type: ignore[misc]
