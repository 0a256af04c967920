"""Slices of one series in several folders: put together where that gives whole stacks, else left apart.

Folders of a CD hold pieces of series, and folders of a careless archive hold copies of them, phases, or other
series under one identifier. To take two copies for one volume would be worse than to lose both. So a piece is
joined to others only where all agree: no slice is there twice, nothing but the acquisition's number changes
within a volume, and all of it lies in one even line. Folders are joined from the deepest up, so that what a
copy of a CD holds is whole before it meets another copy.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

from mim3d.data.dicom_header import MARKS, Slice
from mim3d.data.dicom_line import is_even, is_straight
from mim3d.data.dicom_split import SHORTEST, places_of, split

COPY = "a copy of another volume"
APART = "other folders hold slices of its series that could not be put together with it"
FEWEST = 3
"""Slices that can be seen to lie at equal distances."""


Group = list[list[Slice]]
"""Volumes of which no more is to be said: of one folder, or of several that were put together."""


class Piece(NamedTuple):
    """Slices of one volume, in order along their normal."""

    slices: list[Slice]
    left_out: str = ""
    """Why it belongs to no scan, if that is for where it lies."""
    note: str = ""


def over_folders(slices: Sequence[Slice]) -> list[Piece]:
    """Slices alike as one piece a volume, whatever folders they lie in."""
    folders: dict[Path, list[Slice]] = {}
    for one in slices:
        folders.setdefault(one.path.parent, []).append(one)
    found = {folder: [split(_ordered(some))] for folder, some in folders.items()}
    if len(found) == 1 or not slices[0].series:
        return [Piece(stack) for groups in found.values() for group in groups for stack in group]
    groups = _up(found)
    copies = _copies([stack for group in groups for stack in group])
    kept = [[stack for stack in group if id(stack) not in copies] for group in groups]
    return [
        *_told([group for group in kept if group]),
        *(Piece(stack, left_out=COPY) for group in groups for stack in group if id(stack) in copies),
    ]


def _up(found: dict[Path, list[Group]]) -> list[Group]:
    """The groups of all folders, joined from the deepest folder up to the one that holds all."""
    while len(found) > 1:
        deepest = max(len(folder.parts) for folder in found)
        inside: dict[Path, list[list[Group]]] = {}
        for folder, groups in found.items():
            up = folder.parent if len(folder.parts) == deepest else folder
            inside.setdefault(up, []).append(groups)
        found = {folder: _met(several) for folder, several in inside.items()}
    (groups,) = found.values()
    return groups


def _met(several: list[list[Group]]) -> list[Group]:
    """The groups of folders that lie in one, joined if they can be."""
    groups = [group for groups in several for group in groups]
    joined = _joined([stack for group in groups for stack in group]) if len(several) > 1 else None
    return groups if joined is None else [joined]


def _joined(stacks: list[list[Slice]]) -> Group | None:
    """All slices as whole volumes; None where that cannot be."""
    slices = _ordered([one for stack in stacks for one in stack])
    if _is_doubled(slices):
        return None
    parts = split(slices, by_time=False)
    return parts if all(map(_is_whole, parts)) else None


def _is_doubled(slices: Sequence[Slice]) -> bool:
    return len({(one.uid, one.frame) for one in slices}) < len(slices)


def _is_whole(part: list[Slice]) -> bool:
    """Whether slices of several folders are surely one volume."""
    return len(part) >= FEWEST and _is_alike(part) and is_even(part) and is_straight(part)


def _is_alike(slices: Sequence[Slice]) -> bool:
    """Whether slices differ in nothing but their place and the number of their acquisition."""
    number = MARKS.index("AcquisitionNumber")
    return len({(one.reference, *one.marks[:number], *one.marks[number + 1 :]) for one in slices}) == 1


def _copies(stacks: list[list[Slice]]) -> set[int]:
    """Identities of stacks all of whose slices another one has too; of equal ones, the first is kept."""
    holders: dict[Hashable, list[frozenset[Hashable]]] = {}
    copies = set()
    for stack in sorted(stacks, key=lambda stack: (not is_even(stack), -len(stack), str(stack[0].path))):
        content = frozenset(map(same_as_copy, stack))
        if any(content <= other for other in holders.get(same_as_copy(stack[0]), ())):
            copies.add(id(stack))
            continue
        for one in content:
            holders.setdefault(one, []).append(content)
    return copies


def same_as_copy(one: Slice) -> Hashable:
    """What a slice and its copy have in common: the identifier alone may be used for others too."""
    return (one.uid, one.frame, one.position, one.marks, one.rescale, one.order)


def _told(groups: list[Group]) -> list[Piece]:
    """Stacks with what must be said of those that could not be joined."""
    stacks = [stack for group in groups for stack in group]
    slices = _ordered([one for stack in stacks for one in stack])
    versions = len(places_of(slices)) < len(slices) and not _is_doubled(slices)
    if len(groups) == 1 or versions:
        return [Piece(stack) for stack in stacks]
    whole = any(len(stack) >= SHORTEST and is_even(stack) for stack in stacks)
    if whole or not _is_alike(slices) or is_even(slices) or _is_doubled(slices):
        return [Piece(stack, note=APART) for stack in stacks]
    return [Piece(slices)]  # reading it says what is missing where


def _ordered(slices: Sequence[Slice]) -> list[Slice]:
    return sorted(slices, key=lambda one: one.place)
