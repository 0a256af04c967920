"""Stacks: which slices make one volume. A series may hold several: phases, echoes, time points, other sizes.

Slices are ordered by where they lie along their normal, never by name or number.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from mim3d.data.dicom_folders import Piece, over_folders
from mim3d.data.dicom_header import Part, Slice
from mim3d.data.dicom_line import SAME_PLACE
from mim3d.data.grids import joined

Geometry = tuple[tuple[float, ...], tuple[float, ...]]
"""Orientation and spacing of a slice."""
MOST_ROUNDED = 100
"""Geometries of a series that one is compared with: more come of no scanner, and would take for ever."""
UNCOUNTED = "its files do not say how many they are: frames at its ends may be missing"


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices of one volume, in order along their normal."""

    path: Path
    """What stands for it: the file of its first slice, or a number in a file that holds several."""
    slices: tuple[Slice, ...]
    left_out: str = ""
    """Why it is no scan unless it is asked for; empty for one that is."""
    broken: str = ""
    """What is missing of it; empty if it is whole as far as headers tell."""
    note: str = ""
    """What must be said of it."""


def stacks_of(slices: Iterable[Slice]) -> tuple[Stack, ...]:
    """Volumes among slices, sorted by series; of copies of a slice in one folder, one is kept."""
    groups: dict[Hashable, dict[Geometry, dict[Hashable, Slice]]] = {}
    parts: dict[str, dict[Path, set[Part]]] = {}
    for one in slices:
        alike = _alike(one, groups.setdefault(_apart(one), {}))
        place = (one.path.parent, round(one.place / SAME_PLACE))
        alike.setdefault((one.uid, one.frame, place, one.marks), one)
        if one.part is not None:
            parts.setdefault(one.part.image, {}).setdefault(one.path.parent, set()).add(one.part)
    pieces = [
        piece
        for series in groups.values()
        for group in series.values()
        for piece in over_folders(tuple(group.values()))
    ]
    pieces.sort(key=lambda piece: (_first(piece).series, str(_first(piece).path), _first(piece).frame or 0))
    return tuple(_checked(stack, parts) for stack in _named(pieces))


def _first(piece: Piece) -> Slice:
    return piece.slices[0]


def _named(pieces: list[Piece]) -> list[Stack]:
    """Stacks with their paths: stacks that share a file of many frames are numbered from 1."""
    sharing = Counter(_first(piece).path for piece in pieces)
    numbers: Counter[Path] = Counter()
    stacks = []
    for piece in pieces:
        path = _first(piece).path
        numbers[path] += 1
        name = path / str(numbers[path]) if sharing[path] > 1 else path
        left_out = _first(piece).left_out or piece.left_out
        stacks.append(Stack(name, tuple(piece.slices), left_out, note=piece.note))
    return stacks


def _apart(one: Slice) -> Hashable:
    """What slices of one volume have in common."""
    file = None if one.frame is None else one.path if one.part is None else one.part.image
    return (one.patient, one.study, one.series, file, one.left_out, one.size)


def _alike(one: Slice, groups: dict[Geometry, dict[Hashable, Slice]]) -> dict[Hashable, Slice]:
    """The group of slices of this orientation and spacing, as far as headers round; a new one if none is."""
    ours = (one.orientation, one.spacing)
    if ours in groups:
        return groups[ours]
    for theirs in islice(groups, MOST_ROUNDED):
        if _is_close(ours, theirs):
            return groups[theirs]
    return groups.setdefault(ours, {})


def _is_close(ours: Geometry, theirs: Geometry) -> bool:
    turned = max(abs(a - b) for a, b in zip(ours[0], theirs[0], strict=True))
    return turned <= 1e-3 and all(abs(a - b) <= 1e-3 * b for a, b in zip(ours[1], theirs[1], strict=True))


def _checked(stack: Stack, parts: Mapping[str, dict[Path, set[Part]]]) -> Stack:
    """A stack with what is missing of an image in several files (`parts`, by image and folder)."""
    part = stack.slices[0].part
    if part is None:
        return stack
    folders = parts[part.image]
    found = set().union(*folders.values())
    if len(found) < sum(map(len, folders.values())):  # copies, which must not lend each other what they lack
        found = set().union(*(folders[folder] for folder in {one.path.parent for one in stack.slices}))
    numbers = {one.number for one in found if one.number > 0}
    total = max(one.total for one in found)
    needed = max(total, *numbers, 0)
    missing = needed - len(numbers)
    if missing:
        broken = (
            f"an enhanced image in {needed} files, of which {missing} cannot be found or read; all are "
            "needed: export the series again"
        )
        return replace(stack, broken=broken)
    return stack if total > 0 else replace(stack, note=joined(stack.note, UNCOUNTED))


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
