"""Stacks: which slices make one volume. A series may hold several: phases, echoes, time points, other sizes.

Slices are ordered by where they lie along their normal, never by name or number.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mim3d.data.dicom_header import MARKS, Slice
from mim3d.errors import DataError

UNEVEN = 0.05
"""A slice may lie this share of the spacing off its even place."""
SAME_PLACE = 0.01
"""Slices that lie no farther apart along their normal are at one place, mm."""
SHORTEST = 8
"""Slices of each part, where a series of uneven slices is taken for several acquisitions end to end."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices of one volume, in order along their normal."""

    path: Path
    """What stands for it: the file of its first slice, or a number in a file that holds several."""
    slices: tuple[Slice, ...]

    @property
    def left_out(self) -> str:
        """Why it is no scan unless it is asked for; empty for one that is."""
        return self.slices[0].left_out


def stacks_of(slices: Iterable[Slice]) -> tuple[Stack, ...]:
    """Volumes among the slices of a folder or an archive, sorted by series; copies of slices are dropped."""
    groups: dict[Hashable, list[dict[Hashable, Slice]]] = {}
    for one in slices:
        alike = _alike(one, groups.setdefault(_apart(one), []))
        alike.setdefault((one.uid, one.frame, round(one.place / SAME_PLACE), one.marks), one)
    found = [
        part
        for series in groups.values()
        for group in series
        for part in _split(sorted(group.values(), key=lambda one: one.place))
    ]
    found.sort(key=lambda part: (part[0].series, str(part[0].path), part[0].frame or 0))
    return tuple(_named(found))


def _named(parts: list[list[Slice]]) -> list[Stack]:
    """Stacks with their paths: stacks that share a file of many frames are numbered from 1."""
    files = [part[0].path for part in parts]
    numbers: dict[Path, int] = {}
    stacks = []
    for part in parts:
        path = part[0].path
        numbers[path] = numbers.get(path, 0) + 1
        name = path / str(numbers[path]) if files.count(path) > 1 else path
        stacks.append(Stack(name, tuple(part)))
    return stacks


def _apart(one: Slice) -> Hashable:
    """What slices of one volume have in common."""
    whole = one.frame is not None and one.path  # a file of frames shares no volume with others
    return (one.path.parent, one.patient, one.study, one.series, whole, one.left_out, one.size)


def _alike(one: Slice, groups: list[dict[Hashable, Slice]]) -> dict[Hashable, Slice]:
    """The group of slices of this orientation and spacing, a new one if there is none."""
    for group in groups:
        first = next(iter(group.values()))
        turned = np.abs(np.subtract(one.orientation, first.orientation)).max()
        if turned <= 1e-3 and np.allclose(one.spacing, first.spacing, rtol=1e-3):
            return group
    groups.append({})
    return groups[-1]


def _split(slices: list[Slice]) -> list[list[Slice]]:
    """Slices alike, in order, as one list a volume."""
    places = _places(slices)
    deepest = max(len(place) for place in places)
    if deepest == 1:
        return _end_to_end(slices)
    for number in range(len(MARKS)):
        parts = _parts(slices, number)
        telling = any(len({one.marks[number] for one in place}) > 1 for place in places)
        if telling and len(parts) <= deepest:
            return [stack for part in parts for stack in _split(part)]
    parts = _parts_in_plane(slices)
    if 1 < len(parts) <= deepest:
        return [stack for part in parts for stack in _split(part)]
    return _by_time(places) or [slices]


def _places(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices in order, together those at one place."""
    places: list[list[Slice]] = []
    for one in slices:
        if places and one.place - places[-1][0].place <= SAME_PLACE:
            places[-1].append(one)
        else:
            places.append([one])
    return places


def _parts(slices: Sequence[Slice], number: int) -> list[list[Slice]]:
    parts: dict[str, list[Slice]] = {}
    for one in slices:
        parts.setdefault(one.marks[number], []).append(one)
    return list(parts.values())


def _parts_in_plane(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices by where they lie in their plane, to the tenth of a mm."""
    parts: dict[tuple[int, ...], list[Slice]] = {}
    for one in slices:
        beside = np.subtract(one.position, one.place * one.normal)
        parts.setdefault(tuple(np.rint(beside * 10).astype(int)), []).append(one)
    return list(parts.values())


def _by_time(places: list[list[Slice]]) -> list[list[Slice]] | None:
    """The first slices of all places, the second ones, and so on; None if that is not told, or ragged."""
    ranked = [sorted(place, key=lambda one: one.order) for place in places]
    if len({len(place) for place in ranked}) > 1:
        return None
    if any(a.order == b.order for place in ranked for a, b in pairwise(place)):
        return None
    return [list(stack) for stack in zip(*ranked, strict=True)]


def _end_to_end(slices: list[Slice]) -> list[list[Slice]]:
    """Slices as they are if they are even, else by the first mark that cuts them into even stacks."""
    if is_even(slices):
        return [slices]
    for number in range(len(MARKS)):
        parts = _parts(slices, number)
        if len(parts) > 1 and all(len(part) >= SHORTEST and is_even(part) for part in parts):
            return parts
    return [slices]


def is_even(slices: Sequence[Slice]) -> bool:
    """Whether slices in order lie at equal distances along their normal."""
    if len(slices) < 2:
        return True
    places = np.array([one.place for one in slices])
    even = np.linspace(places[0], places[-1], len(places))
    spacing = even[1] - even[0]
    return bool(spacing > 0 and np.abs(places - even).max() <= UNEVEN * spacing)


def step_of(what: str, slices: Sequence[Slice]) -> NDArray[np.float64]:
    """The step (3,) from slice to slice, LPS+ mm.

    Raises:
        DataError: If slices are missing, double, or not at equal distances; or one slice has no thickness.
    """
    first = slices[0]
    if len(slices) == 1:
        if first.thickness <= 0:
            raise DataError(
                f"{what}: a series of one slice without a thickness; a volume needs at least two slices"
            )
        return first.normal * first.thickness
    if not is_even(slices):
        raise DataError(
            f"{what}: {_unevenness(slices)}; equal distances are needed: export the series again, whole"
        )
    positions = np.array([one.position for one in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    astray = np.abs(positions - positions[0] - np.outer(np.arange(len(slices)), step)).max(axis=1)
    if astray.max() > max(0.5 * min(first.spacing), SAME_PLACE):
        raise DataError(
            f"{what}: slice {int(astray.argmax()) + 1} of {len(slices)} lies {astray.max():.2f} mm off the "
            "line of the others in its plane; slices in one line are needed: export the series again"
        )
    return np.asarray(step)


def _unevenness(slices: Sequence[Slice]) -> str:
    """What is wrong with the distances between slices, and where."""
    places = np.array([one.place for one in slices])
    gaps = np.diff(places)
    apart = f"slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart"
    if gaps.min() <= SAME_PLACE:
        where = _listed(places[1:][gaps <= SAME_PLACE])
        return f"{apart} (several lie at {where} mm, and nothing in their headers tells them apart)"
    median = float(np.median(gaps))
    steps = gaps / median
    odd = np.abs(steps - np.rint(steps)) > 2 * UNEVEN
    if not odd.any():
        missing = int((np.rint(steps) - 1).sum())
        after = _listed(places[:-1][np.rint(steps) > 1])
        return f"{apart} ({missing} of {len(slices) + missing} missing, after the one at {after} mm)"
    return f"{apart} (other than {median:.3g} mm after the one at {_listed(places[:-1][odd])} mm)"


def _listed(places: NDArray[np.float64]) -> str:
    """Up to three places along the normal, mm."""
    shown = ", ".join(f"{place:.2f}" for place in places[:3])
    return shown + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def without_copies(slices: Sequence[Slice], contents: Sequence[Hashable]) -> tuple[Slice, ...]:
    """Slices in order without those at the place of another one with the same voxels (`contents`)."""
    kept: dict[Hashable, Slice] = {}
    number = -1
    previous = -np.inf
    for one, content in zip(slices, contents, strict=True):
        if one.place - previous > SAME_PLACE:
            number, previous = number + 1, one.place
        kept.setdefault((number, content), one)
    return tuple(kept.values())


def moved(slices: Sequence[Slice], paths: Sequence[Path]) -> tuple[Slice, ...]:
    """The same slices, each a file of its own."""
    return tuple(replace(one, path=path, frame=None) for one, path in zip(slices, paths, strict=True))
