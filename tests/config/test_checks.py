"""What checks name as the nearest is taken by them, and nothing nearer is."""

import math
import re
from dataclasses import dataclass
from itertools import product
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mim3d.config.checks import (
    check_cell,
    check_children,
    check_extent,
    check_heads,
    check_low_pass,
    check_share,
    divisors,
    require,
    require_choices,
)
from mim3d.errors import ConfigError
from mim3d.geometry import Triple

TRIPLES = st.tuples(*[st.integers(1, 14)] * 3)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def triple_after(words: str, text: str) -> Triple:
    x, y, z = numbers(text.split(words)[1])[:3]
    return (x, y, z)


@given(dim=st.integers(1, 400), heads=st.integers(1, 16))
def test_channels_that_heads_cannot_share_name_the_nearest(dim: int, heads: int) -> None:
    fitting = [side for side in range(1, 1000) if side % heads == 0 and side % 6 == 0]
    if dim in fitting:
        check_heads("dims[3]", dim, "num_heads", heads)
        return
    around = [max((side for side in fitting if side < dim), default=0), min(s for s in fitting if s > dim)]
    with pytest.raises(ConfigError, match=rf"^dims\[3\] must divide by num_heads, {heads}, and ") as refused:
        check_heads("dims[3]", dim, "num_heads", heads)
    named = numbers(str(refused.value).split("the nearest: ")[1])
    assert sorted(named) == [side for side in around if side]
    assert abs(named[0] - dim) == min(abs(side - dim) for side in fitting)


def anything(_: int) -> bool:
    return True


@given(cell=TRIPLES, grid=TRIPLES, least=st.integers(1, 40))
def test_a_cell_that_does_not_fit_names_the_nearest_that_does(cell: Triple, grid: Triple, least: int) -> None:
    if grid == (1, 1, 1):
        with pytest.raises(ConfigError, match="single token"):
            check_cell("level 0", cell, grid, anything)
        return
    fitting = [other for other in product(*map(divisors, grid)) if other != grid]
    suited = [other for other in fitting if math.prod(grid) // math.prod(other) >= least]
    if cell in fitting:
        check_cell("level 0", cell, grid, lambda cells: cells >= least)
        return
    with pytest.raises(ConfigError, match=r"^level 0: cell \(") as refused:
        check_cell("level 0", cell, grid, lambda cells: cells >= least)
    named = triple_after("nearest is" if "nearest" in str(refused.value) else "take", str(refused.value))
    far = {other: sum(abs(o - c) for o, c in zip(other, cell, strict=True)) for other in fitting}
    assert named in (suited or fitting)
    assert cell == grid or far[named] == min(far[other] for other in suited or fitting)


def test_a_cell_that_does_not_divide_the_grid_is_told_what_does() -> None:
    with pytest.raises(ConfigError) as refused:
        check_cell("level 1", (4, 3, 5), (6, 6, 12), anything)
    assert str(refused.value) == (
        "level 1: cell (4, 3, 5) must divide the grid of (6, 6, 12) tokens; the nearest is (3, 3, 4) "
        "(X takes 1, 2, 3 or 6, Z takes 1, 2, 3, 4, 6 or 12)"
    )


def test_a_cell_cannot_be_all_there_is() -> None:
    with pytest.raises(ConfigError, match=r"cell \(6, 4, 1\) is the whole crop; take \(3, 2, 1\) or"):
        check_cell("level 0", (6, 4, 1), (6, 4, 1), anything)
    with pytest.raises(ConfigError, match="the crop is a single token, of which nothing can be shown; "):
        check_cell("level 0", (1, 1, 1), (1, 1, 1), anything)


@given(cells=st.integers(2, 3000), ratio=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_that_hides_none_or_all_names_the_range_that_works(cells: int, ratio: float) -> None:
    if 0 < round(cells * ratio) < cells:
        check_share("level 0", ratio, cells)
        return
    with pytest.raises(ConfigError, match=rf"hides {round(cells * ratio)} of {cells} cells, but") as refused:
        check_share("level 0", ratio, cells)
    least, largest = (float(share) for share in re.findall(r"= ([\d.e-]+)", str(refused.value)))
    assert (round(cells * least), round(cells * largest)) == (1, cells - 1)


def test_shares_are_named_as_parts_of_the_cells() -> None:
    with pytest.raises(ConfigError) as refused:
        check_share("level 0", 0.05, 8)
    assert str(refused.value) == (
        "level 0: masked_ratio 0.05 hides 0 of 8 cells, but some must be hidden and some seen; "
        "take 1/8 = 0.125 to 7/8 = 0.875"
    )


@given(cells=st.integers(2, 3000), hidden=st.integers(1, 2999), children=st.integers(0, 4000))
def test_too_many_children_are_told_how_many_fit_and_at_which_share(
    cells: int, hidden: int, children: int
) -> None:
    assume(hidden < cells)
    if children <= hidden:
        check_children("level 0", children, hidden / cells, cells)
        return
    with pytest.raises(ConfigError, match=rf"^level 0: {children} children, but masked_ratio ") as refused:
        check_children("level 0", children, hidden / cells, cells)
    most, *other = numbers(str(refused.value).split("; take at most ")[1])
    check_children("level 0", most, hidden / cells, cells)
    assert most == hidden
    for share in re.findall(r"= ([\d.e-]+)$", str(refused.value)):
        check_children("level 0", min(children, cells - 1), float(share), cells)
        assert round(cells * float(share)) == other[0] == min(children, cells - 1)
    assert bool(other) == (hidden < cells - 1)


@given(extent=st.tuples(*[st.integers(1, 60)] * 3), cells=st.lists(st.tuples(*[st.integers(1, 4)] * 3)))
def test_a_level_narrower_than_a_voxel_names_the_extent_that_will_do(
    extent: Triple, cells: list[Triple]
) -> None:
    counts = [math.prod(axis) for axis in zip((1, 1, 1), *cells, strict=True)]
    widths = [side / count for side, count in zip(extent, counts, strict=True)]
    if min(widths) >= 1:
        check_extent(extent, cells)
        return
    with pytest.raises(ConfigError, match=rf"^level {len(cells)}: an extent of \(") as refused:
        check_extent(extent, cells)
    named = triple_after("take an extent of", str(refused.value))
    check_extent(named, cells)
    assert named == tuple(max(side, count) for side, count in zip(extent, counts, strict=True))


def test_a_narrow_level_is_told_how_narrow() -> None:
    with pytest.raises(ConfigError) as refused:
        check_extent((192, 192, 8), [(2, 2, 2), (6, 6, 8)])
    assert str(refused.value) == (
        "level 2: an extent of (192, 192, 8) leaves it regions of (16.0, 16.0, 0.5) voxels of the working "
        "grid, but each axis needs 1 at least; take an extent of (192, 192, 16), larger cells or fewer levels"
    )


@given(low_pass=st.integers(1, 17), patch=st.tuples(*[st.sampled_from([1, 2, 4, 8, 16])] * 3))
def test_a_low_pass_must_divide_the_patch(low_pass: int, patch: Triple) -> None:
    fitting = [by for by in range(1, 17) if not any(side % by for side in patch)]
    if low_pass in fitting:
        check_low_pass("level 0", low_pass, "raw", patch)
        return
    with pytest.raises(ConfigError, match=rf"^level 0: target.low_pass {low_pass} must divide ") as refused:
        check_low_pass("level 0", low_pass, "raw", patch)
    assert numbers(str(refused.value).split("; take ")[1]) == fitting


@pytest.mark.parametrize(("low_pass", "patch"), [(1, (1, 1, 1)), (16, (16, 16, 16))])
def test_one_value_cannot_be_normalised(low_pass: int, patch: Triple) -> None:
    check_low_pass("level 0", low_pass, "raw", patch)
    with pytest.raises(ConfigError, match=rf"after low_pass {low_pass} is one value, .* target.kind `raw`$"):
        check_low_pass("level 0", low_pass, "normalised", patch)
    check_low_pass("level 0", 4, "normalised", (16, 16, 4))


@given(number=st.integers(1, 300))
def test_divisors_are_what_divides(number: int) -> None:
    assert [number // by for by in reversed(divisors(number))] == divisors(number)
    assert all(number % by for by in set(range(1, number)) - set(divisors(number)))


def test_a_value_that_does_not_hold_is_named() -> None:
    require(True, "lr", 1.0, "above 0")
    with pytest.raises(ConfigError, match=r"^lr must be above 0, got -1.0$"):
        require(False, "lr", -1.0, "above 0")


@dataclass
class Colours:
    ink: Literal["red", "blue"] = "red"
    paper: str = "any"


def test_a_word_that_is_not_known_is_named() -> None:
    require_choices(Colours(paper="green"))
    with pytest.raises(ConfigError, match=r"^ink must be one of red, blue, got 'green'$"):
        require_choices(Colours(ink="green"))  # type: ignore[arg-type]
