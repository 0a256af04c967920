"""What lies in what: boxes, cells and raster numbers."""

import math
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mim3d.errors import GeometryError
from mim3d.geometry import Box, Triple, divide, divide_exactly, ravel, tokens_of_cell, triple, unravel

COUNTS = st.tuples(*[st.integers(1, 4)] * 3)
SIDES = st.tuples(*[st.integers(1, 5)] * 3)
STARTS = st.tuples(*[st.integers(-9, 9)] * 3)


@settings(deadline=None)
@given(start=STARTS, side=SIDES, counts=COUNTS)
def test_cells_tile_the_box(start: Triple, side: Triple, counts: Triple) -> None:
    size = tuple(s * n for s, n in zip(side, counts, strict=True))
    covered = np.zeros(size, dtype=int)
    for cell in Box(start, (size[0], size[1], size[2])).split(counts):
        assert cell.size == side
        covered[Box(tuple(np.subtract(cell.start, start)), cell.size).slices] += 1
    assert (covered == 1).all()


@settings(deadline=None)
@given(start=STARTS, side=SIDES, counts=COUNTS)
def test_cells_come_in_raster_order(start: Triple, side: Triple, counts: Triple) -> None:
    box = Box(start, (side[0] * counts[0], side[1] * counts[1], side[2] * counts[2]))
    corners = [cell.start for cell in box.split(counts)]
    assert corners == sorted(corners)
    assert [box.cell(i, counts) for i in range(math.prod(counts))] == box.split(counts)


@settings(deadline=None)
@given(counts=COUNTS)
def test_raster_numbers_count_z_fastest(counts: Triple) -> None:
    numbers = np.arange(math.prod(counts)).reshape(counts)
    for place in np.ndindex(counts):
        number = int(numbers[place])
        assert ravel((place[0], place[1], place[2]), counts) == number
        assert unravel(number, counts) == place


@settings(deadline=None)
@given(cells=COUNTS, cell=SIDES)
def test_every_token_lies_in_one_cell(cells: Triple, cell: Triple) -> None:
    tokens = [list(tokens_of_cell(i, cells, cell)) for i in range(math.prod(cells))]
    assert all(len(of_one) == math.prod(cell) for of_one in tokens)
    assert sorted(chain(*tokens)) == list(range(math.prod(cells) * math.prod(cell)))


@settings(deadline=None)
@given(cells=COUNTS, cell=SIDES)
def test_the_tokens_of_a_cell_fill_its_box(cells: Triple, cell: Triple) -> None:
    grid = (cells[0] * cell[0], cells[1] * cell[1], cells[2] * cell[2])
    whole = Box((0, 0, 0), grid)
    for index, box in enumerate(whole.split(cells)):
        tokens = [whole.cell(token, grid) for token in tokens_of_cell(index, cells, cell)]
        assert all(box.contains(token) for token in tokens)
        assert [token.start for token in tokens] == sorted(token.start for token in tokens)


def test_a_box_contains_what_lies_inside_or_on_its_faces() -> None:
    box = Box((1, 2, 3), (4, 4, 4))
    assert box.stop == (5, 6, 7)
    assert box.contains(box)
    assert box.contains(Box((1, 2, 3), (4, 4, 4 + 1e-9)))
    assert not box.contains(Box((1, 2, 3), (4, 4, 4.01)))
    assert not box.contains(Box((0.99, 2, 3), (4, 4, 4)))
    assert not box.contains(Box((2, 2, 2.5), (1, 1, 1)))


def test_an_empty_box_is_refused() -> None:
    message = r"a box needs a positive size on every axis, got \(4, 0, 4\) voxels"
    with pytest.raises(GeometryError, match=message):
        Box((0, 0, 0), (4, 0, 4))


@settings(deadline=None)
@given(counts=COUNTS, by=SIDES)
def test_exact_division_gives_back_the_counts(counts: Triple, by: Triple) -> None:
    size = (counts[0] * by[0], counts[1] * by[1], counts[2] * by[2])
    assert divide_exactly(size, by, "crop") == counts
    assert divide(size, by) == counts


@settings(deadline=None)
@given(size=st.integers(-5, 90), by=st.integers(1, 16))
def test_a_refused_size_names_the_nearest_that_fits(size: int, by: int) -> None:
    fitting = range(by, 200, by)
    if size in fitting:
        assert divide_exactly((size, by, by), (by, by, by), "crop") == (size // by, 1, 1)
        return
    nearest = min(fitting, key=lambda fit: (abs(fit - size), -fit))
    around = {max((fit for fit in fitting if fit < size), default=by), min(f for f in fitting if f > size)}
    others = "".join(f", or ({fit}, {by}, {by})" for fit in sorted(around - {nearest}))
    with pytest.raises(GeometryError) as refused:
        divide_exactly((size, by, by), (by, by, by), "crop")
    assert str(refused.value) == (
        f"crop ({size}, {by}, {by}) must be a positive multiple of ({by}, {by}, {by}); "
        f"the nearest is ({nearest}, {by}, {by}){others}"
    )


def test_sizes_below_and_above_are_named_for_all_axes_together() -> None:
    with pytest.raises(
        GeometryError, match=r"the nearest is \(32, 16, 8\), or \(16, 16, 8\), or \(32, 32, 8\)$"
    ):
        divide_exactly((30, 17, 8), (16, 16, 8), "crop")


def test_one_number_stands_for_three() -> None:
    assert triple(1.5) == triple((1.5,)) == (1.5, 1.5, 1.5)
    assert triple(2) == (2.0, 2.0, 2.0)
    assert triple((1, 2, 3.5)) == (1.0, 2.0, 3.5)
    with pytest.raises(GeometryError, match=r"one number or three are needed \(X, Y, Z\), got 2: \(1, 2\)"):
        triple((1, 2))
