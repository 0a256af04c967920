import math
from dataclasses import replace
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.config import Level, Nesting
from mim3d.geometry import Box, Triple, tokens_of_cell, triple
from mim3d.sampling.masks import LevelPlan, draw_levels, draw_region, lattice_of, padded_tokens

SEEDS = st.integers(0, 10_000)
SIZES = st.tuples(*[st.integers(1, 60)] * 3)


@st.composite
def nestings(draw: st.DrawFn) -> Nesting:
    """One to four levels of any cells, on anisotropic grids and in anisotropic regions."""
    cells = draw(st.lists(st.tuples(*[st.integers(1, 2)] * 3), min_size=1, max_size=4))
    grid = [math.lcm(*sides) * draw(st.integers(1, 2)) for sides in zip(*cells, strict=True)]
    grid[draw(st.integers(0, 2))] *= 2  # more than one cell at every level
    patch = draw(st.tuples(*[st.sampled_from([2, 4, 8])] * 3))
    levels, least = [], [1, 1, 1]
    for number, cell in enumerate(cells):
        count = math.prod(grid) // math.prod(cell)
        hidden = draw(st.integers(1, count - 1))
        innermost = number == len(cells) - 1
        children = 0 if innermost else draw(st.integers(1, min(3, hidden)))
        levels.append(Level(cell=cell, masked_ratio=hidden / count, children=children))
        if not innermost:
            least = [side * g // c for side, g, c in zip(least, grid, cell, strict=True)]
    x, y, z = (g * p for g, p in zip(grid, patch, strict=True))
    ex, ey, ez = (draw(st.integers(side, 40 + side)) for side in least)
    return Nesting(extent=(ex, ey, ez), crop=(x, y, z), patch=patch, levels=tuple(levels))


def plans_of(nesting: Nesting, seed: int) -> tuple[Box, tuple[LevelPlan, ...]]:
    random = np.random.default_rng(seed)
    region = draw_region(nesting.extent, (50, 50, 50), np.empty((0, 3), np.int32), random)
    body = random.integers(0, 50, (20, 3)).astype(np.int32)
    return region, draw_levels(nesting, region, body, random)


def hidden_tokens_inside(parent: Box, masked: NDArray[np.bool_], grid: Triple, child: Box) -> list[bool]:
    """Whether each token of the parent's grid that lies inside the child is hidden; by corners alone."""
    size = [s / g for s, g in zip(parent.size, grid, strict=True)]
    inside = []
    for token, place in enumerate(product(*(range(count) for count in grid))):
        centre = [a + (i + 0.5) * s for a, i, s in zip(parent.start, place, size, strict=True)]
        if all(a < c < b for a, c, b in zip(child.start, centre, child.stop, strict=True)):
            inside.append(bool(masked[token]))
    return inside


@settings(deadline=None, max_examples=60)
@given(nesting=nestings(), seed=SEEDS)
def test_every_child_lies_in_a_hidden_cell_of_its_parent_and_fills_it(nesting: Nesting, seed: int) -> None:
    region, plans = plans_of(nesting, seed)
    assert plans[0].boxes == (region,)
    for number in range(1, len(plans)):
        above, level = plans[number - 1], nesting.levels[number - 1]
        for box, parent in zip(plans[number].boxes, plans[number].parent, strict=True):
            outer, masked = above.boxes[parent], above.masked[parent]
            assert outer.contains(box)
            assert hidden_tokens_inside(outer, masked, nesting.grid, box) == [True] * math.prod(level.cell)
            assert math.isclose(
                math.prod(box.size) * math.prod(nesting.cells(number - 1)), math.prod(outer.size)
            )


@settings(deadline=None, max_examples=60)
@given(nesting=nestings(), seed=SEEDS)
def test_the_recorded_cell_is_the_one_that_the_child_fills(nesting: Nesting, seed: int) -> None:
    _, plans = plans_of(nesting, seed)
    assert plans[0].parent == plans[0].cell == ()
    for number in range(1, len(plans)):
        plan, above, cells = plans[number], plans[number - 1], nesting.cells(number - 1)
        for box, parent, cell in zip(plan.boxes, plan.parent, plan.cell, strict=True):
            assert above.boxes[parent].split(cells)[cell] == box
        assert len(set(zip(plan.parent, plan.cell, strict=True))) == len(plan.boxes)
        assert plan.parent == tuple(sorted(plan.parent))
        assert all(
            math.isclose(a, b) for a, b in zip(plan.boxes[0].size, nesting.extents()[number], strict=True)
        )


@settings(deadline=None, max_examples=60)
@given(nesting=nestings(), seed=SEEDS)
def test_crops_of_a_level_hide_the_same_number_of_whole_cells(nesting: Nesting, seed: int) -> None:
    _, plans = plans_of(nesting, seed)
    for number, plan in enumerate(plans):
        cell, cells = nesting.levels[number].cell, nesting.cells(number)
        assert plan.masked.shape == (nesting.num_crops(number), math.prod(nesting.grid))
        assert set(plan.masked.sum(axis=1)) == {nesting.num_hidden_cells(number) * math.prod(cell)}
        (nx, ny, nz), (cx, cy, cz) = cells, cell
        blocks = plan.masked.reshape(-1, nx, cx, ny, cy, nz, cz)
        assert np.array_equal(blocks.all(axis=(2, 4, 6)), blocks.any(axis=(2, 4, 6)))


@settings(max_examples=60)
@given(nesting=nestings(), seed=SEEDS)
def test_as_released_hides_runs_in_raster_order_and_changes_nothing_else(nesting: Nesting, seed: int) -> None:
    _, ours = plans_of(nesting, seed)
    _, released = plans_of(replace(nesting, masks="as_released"), seed)
    for number, (plan, theirs) in enumerate(zip(ours, released, strict=True)):
        assert (theirs.boxes, theirs.parent, theirs.cell) == (plan.boxes, plan.parent, plan.cell)
        cells, cell = nesting.cells(number), nesting.levels[number].cell
        for row, run in zip(plan.masked, theirs.masked, strict=True):
            assert row.sum() == run.sum()
            for index, tokens in enumerate(run.reshape(math.prod(cells), math.prod(cell))):
                assert set(tokens) == {row[next(tokens_of_cell(index, cells, cell))]}


def octants(masked_ratio: float, children: int) -> Nesting:
    """The paper's outer level, as in the authors' release."""
    levels = (Level(cell=(3, 3, 3), masked_ratio=masked_ratio, children=children), Level(children=0))
    return Nesting(levels=levels, masks="as_released")


def shares_hidden(nesting: Nesting, seed: int) -> list[float]:
    """Hidden share of each place that level 0 hands down."""
    _, (outer, inner) = plans_of(nesting, seed)
    hidden = [
        hidden_tokens_inside(outer.boxes[0], outer.masked[0], nesting.grid, child) for child in inner.boxes
    ]
    return [sum(tokens) / len(tokens) for tokens in hidden]


def test_as_released_nine_of_27_tokens_of_an_octant_coincide_with_its_run() -> None:
    alone = octants(masked_ratio=1 / 8, children=1)
    assert {share for seed in range(40) for share in shares_hidden(alone, seed)} == {9 / 27}
    assert {plans_of(alone, seed)[1][1].cell for seed in range(40)} == {(cell,) for cell in range(8)}


def test_as_released_62_percent_of_an_octant_handed_down_are_hidden() -> None:
    half = octants(masked_ratio=0.5, children=4)
    shares = [share for seed in range(100) for share in shares_hidden(half, seed)]
    assert abs(np.mean(shares) - (9 + 18 * 3 / 7) / 27) < 0.02  # of the other seven, three are hidden
    assert abs(np.mean(shares) - 0.62) < 0.02
    ours = replace(half, masks="cells")
    assert {share for seed in range(20) for share in shares_hidden(ours, seed)} == {1.0}


@settings(deadline=None, max_examples=60)
@given(nesting=nestings(), seed=SEEDS)
def test_no_child_lies_in_air_while_a_hidden_cell_with_body_is_left(nesting: Nesting, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = Box((0.0, 0.0, 0.0), triple(nesting.extent))
    body = random.integers(0, nesting.extent, (3, 3)).astype(np.int32)
    plans = draw_levels(nesting, region, body, random)
    for number, level in enumerate(nesting.levels[:-1]):
        below, cells = plans[number + 1], nesting.cells(number)
        for parent, outer in enumerate(plans[number].boxes):
            masked = plans[number].masked[parent]
            hidden = [
                cell
                for cell in outer.split(cells)
                if all(hidden_tokens_inside(outer, masked, nesting.grid, cell))
            ]
            bodily = sum(any(holds(cell, voxel) for voxel in body) for cell in hidden)
            chosen = [box for box, p in zip(below.boxes, below.parent, strict=True) if p == parent]
            found = sum(any(holds(cell, voxel) for voxel in body) for cell in chosen)
            assert found == min(bodily, level.children)


def holds(box: Box, voxel: NDArray[np.int32]) -> bool:
    """Whether the centre of a voxel lies in the box."""
    return all(a <= v + 0.5 < b for a, v, b in zip(box.start, voxel, box.stop, strict=True))


@settings(deadline=None, max_examples=200)
@given(extent=SIZES, shape=SIZES, seed=SEEDS, voxels=st.integers(0, 3), lattice=st.sampled_from([1, 2, 4]))
def test_a_region_lies_inside_where_it_fits_and_is_centred_elsewhere(
    extent: Triple, shape: Triple, seed: int, voxels: int, lattice: int
) -> None:
    random = np.random.default_rng(seed)
    body = random.integers(0, shape, (voxels, 3)).astype(np.int32)
    box = draw_region(extent, shape, body, random, lattice)
    assert all(start % lattice == 0 for start in box.start)
    assert box.size == extent
    for start, stop, side, edge in zip(box.start, box.stop, extent, shape, strict=True):
        if side <= edge:
            assert start >= 0
            assert stop <= edge
        else:
            assert (edge - side) / 2 - lattice < start <= (edge - side) / 2
    near = (body + 1 >= np.array(box.start)) & (body <= np.array(box.stop) + lattice)
    assert not len(body) or near.all(axis=1).any()


def test_regions_without_a_body_reach_every_corner() -> None:
    random, none = np.random.default_rng(0), np.empty((0, 3), np.int32)
    starts = np.array([draw_region((4, 4, 4), (8, 10, 12), none, random).start for _ in range(300)])
    assert starts.min(axis=0).tolist() == [0, 0, 0]
    assert starts.max(axis=0).tolist() == [4, 6, 8]
    assert [len(np.unique(axis)) for axis in starts.T] == [5, 7, 9]  # whole voxels, all of them


def test_regions_begin_at_voxels_of_the_scale_that_level_0_is_read_from() -> None:
    sizes = [
        ((48, 48, 48), 1),
        ((96, 96, 96), 2),
        ((96, 96, 48), 1),
        ((384, 400, 384), 4),
        ((999, 999, 999), 4),
    ]
    for extent, voxels in sizes:
        assert lattice_of(Nesting(extent=extent, crop=(48, 48, 48), patch=(8, 8, 8))) == voxels


@settings(max_examples=200)
@given(
    starts=st.lists(st.tuples(*[st.integers(-12, 12)] * 3), min_size=1, max_size=3),
    side=st.tuples(*[st.integers(1, 4)] * 3),
    grid=st.tuples(*[st.integers(1, 4)] * 3),
    shape=st.tuples(*[st.integers(1, 12)] * 3),
)
def test_a_token_is_padded_if_one_of_its_voxels_lies_outside(
    starts: list[Triple], side: Triple, grid: Triple, shape: Triple
) -> None:
    size = triple(tuple(s * g for s, g in zip(side, grid, strict=True)))
    padded = padded_tokens(tuple(Box(triple(start), size) for start in starts), shape, grid)
    for row, start in zip(padded, starts, strict=True):
        voxels = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1) + start  # (X, Y, Z, 3)
        outside = np.asarray(((voxels < 0) | (voxels >= shape)).any(axis=-1))
        tokens = [outside[token.slices].any() for token in Box((0.0, 0.0, 0.0), size).split(grid)]
        assert row.tolist() == tokens


def test_rounding_makes_no_token_padded() -> None:
    whole = (7.0, 7.0, 7.0)
    near = (Box((-1e-9, 0.0, 1e-9), whole), Box((1e-9, 0.0, 0.0), whole).cell(2, (1, 1, 3)))
    assert not padded_tokens(near, (7, 7, 7), (3, 7, 6)).any()
    assert padded_tokens((Box((-1e-3, 0.0, 0.0), whole),), (7, 7, 7), (3, 1, 1)).tolist() == [
        [True, False, False]
    ]
