"""Checks that settings share: each says what was given, what is needed, and what is nearest."""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, get_args, get_origin, get_type_hints

from mim3d.errors import ConfigError
from mim3d.geometry import Triple


def check_heads(name: str, dim: int, heads_name: str, heads: int) -> None:
    """Refuse channels that attention heads, or the position codes of three axes, cannot share equally.

    Raises:
        ConfigError: If `dim` does not divide by both, with the nearest that do.
    """
    both = math.lcm(heads, 6)  # 6: a sine and a cosine for each of three axes
    if dim % both:
        below = dim // both * both
        nearest = sorted({below, below + both} - {0}, key=lambda side: abs(side - dim))
        raise ConfigError(
            f"{name} must divide by {heads_name}, {heads}, and by 6 (position codes), got {dim}; "
            f"the nearest: {_or(nearest)}"
        )


def check_cell(where: str, cell: Triple, grid: Triple, suits: Callable[[int], bool]) -> None:
    """Refuse a cell that does not divide the grid of tokens, or is all of it.

    Args:
        where: Names the level.
        cell: Tokens.
        grid: Tokens of a crop.
        suits: Whether the level's other settings can be had with a number of cells.

    Raises:
        ConfigError: With the nearest that divides it, one that suits if there is any, and all that do on the
            axes where this one does not.
    """
    if grid == (1, 1, 1):
        raise ConfigError(
            f"{where}: the crop is a single token, of which nothing can be shown; enlarge crop or lower patch"
        )
    wrong = [axis for axis in range(3) if grid[axis] % cell[axis]]
    if wrong:
        nearest = _nearest_cell(cell, grid, suits)
        allowed = ", ".join(f"{'XYZ'[axis]} takes {_or(divisors(grid[axis]))}" for axis in wrong)
        raise ConfigError(
            f"{where}: cell {cell} must divide the grid of {grid} tokens; the nearest is {nearest} "
            f"({allowed})"
        )
    if cell == grid:
        smaller = tuple(divisors(count)[-2:][0] for count in grid)
        nearest = (
            smaller if suits(math.prod(grid) // math.prod(smaller)) else _nearest_cell(cell, grid, suits)
        )
        raise ConfigError(f"{where}: cell {cell} is the whole crop; take {nearest} or a part of it")


def check_share(where: str, masked_ratio: float, cells: int) -> None:
    """Refuse a share that rounds to none or all of the cells.

    Raises:
        ConfigError: With the least and the largest share that hide some cells and show some.
    """
    hidden = num_hidden(cells, masked_ratio)
    if not 0 < hidden < cells:
        raise ConfigError(
            f"{where}: masked_ratio {masked_ratio} hides {hidden} of {cells} cells, but some must be hidden "
            f"and some seen; take {_share(1, cells)} to {_share(cells - 1, cells)}"
        )


def check_children(where: str, children: int, masked_ratio: float, cells: int) -> None:
    """Refuse more children than there are hidden cells to look into.

    Raises:
        ConfigError: With the most that fit, and the share that would do for as many as were asked.
    """
    hidden = num_hidden(cells, masked_ratio)
    if children <= hidden:
        return
    remedy = f"take at most {hidden}"
    if children < cells:
        remedy += f", or a masked_ratio of at least {_share(children, cells)}"
    elif hidden < cells - 1:
        remedy += f", or {cells - 1} with a masked_ratio of {_share(cells - 1, cells)}"
    raise ConfigError(
        f"{where}: {children} children, but masked_ratio {masked_ratio} hides only {hidden} of {cells} "
        f"cells; {remedy}"
    )


def check_extent(extent: Triple, cells: Sequence[Triple]) -> None:
    """Refuse regions of which the innermost level would look at less than one voxel along an axis.

    Args:
        extent: Of level 0, voxels of the working grid.
        cells: Cells per axis of the levels that have children.

    Raises:
        ConfigError: If one is as narrow, with the nearest extent that will do.
    """
    least = [math.prod(counts) for counts in zip((1, 1, 1), *cells, strict=True)]
    if any(side < count for side, count in zip(extent, least, strict=True)):
        narrow = tuple(float(f"{side / count:.3g}") for side, count in zip(extent, least, strict=True))
        nearest = tuple(max(side, count) for side, count in zip(extent, least, strict=True))
        raise ConfigError(
            f"level {len(cells)}: an extent of {extent} leaves it regions of {narrow} voxels of the working "
            f"grid, but each axis needs 1 at least; take an extent of {nearest}, larger cells or fewer levels"
        )


def check_low_pass(where: str, low_pass: int, kind: str, patch: Triple) -> None:
    """Refuse averaging over cubes that the patch is not made of, or that leave nothing to normalise.

    Raises:
        ConfigError: With the sides that divide the patch.
    """
    fitting = divisors(math.gcd(*patch))
    if low_pass not in fitting:
        raise ConfigError(
            f"{where}: target.low_pass {low_pass} must divide the patch {patch}; take {_or(fitting)}"
        )
    if kind == "normalised" and math.prod(patch) == low_pass**3:
        raise ConfigError(
            f"{where}: a patch {patch} after low_pass {low_pass} is one value, and a value less its own mean "
            "is nothing to learn; lower target.low_pass, enlarge patch, or take target.kind `raw`"
        )


def num_hidden(cells: int, masked_ratio: float) -> int:
    """How many of a crop's cells a share hides."""
    return round(cells * masked_ratio)


def divisors(number: int) -> list[int]:
    """Of a positive number, from 1 to itself."""
    return [by for by in range(1, number + 1) if number % by == 0]


def require(holds: bool, name: str, value: object, needed: str) -> None:
    """Refuse the value of a setting.

    Raises:
        ConfigError: Unless it holds; NaN never does, if `holds` was found by a comparison.
    """
    if not holds:
        raise ConfigError(f"{name} must be {needed}, got {value}")


def require_seed(seed: int) -> None:
    """Refuse a seed that random numbers cannot begin with.

    Raises:
        ConfigError: If it is below 0 or too large.
    """
    require(0 <= seed < 2**63, "seed", seed, "0 or more, and below 2^63")


def require_choices(settings: object) -> None:
    """Refuse words that a group of settings does not know.

    Raises:
        ConfigError: With the words that it does.
    """
    for name, kind in get_type_hints(type(settings)).items():
        if get_origin(kind) is Literal:
            words = get_args(kind)
            require(
                getattr(settings, name) in words,
                name,
                repr(getattr(settings, name)),
                f"one of {', '.join(words)}",
            )


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole} = {part / whole:.6g}"


def _nearest_cell(cell: Triple, grid: Triple, suits: Callable[[int], bool]) -> tuple[int, ...]:
    """That divides the grid and is not all of it; one that suits first."""

    def far(other: tuple[int, ...]) -> tuple[bool, int, tuple[int, ...]]:
        suited = suits(math.prod(grid) // math.prod(other))
        return not suited, sum(abs(one - wanted) for one, wanted in zip(other, cell, strict=True)), other

    every = [other for other in product(*map(divisors, grid)) if other != grid]
    return min(every, key=far)


def _or(values: list[int]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last
