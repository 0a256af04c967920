"""Slices alike, as they lie in one series, as one list a volume: phases, echoes, time points, acquisitions.

Slices are given in order along their normal.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mim3d.data.dicom_header import MARKS, Slice
from mim3d.data.dicom_line import SAME_PLACE, is_even

SHORTEST = 8
"""Slices of each part, where a series of uneven slices is taken for several acquisitions end to end."""


def split(slices: list[Slice], *, by_time: bool = True) -> list[list[Slice]]:
    """Slices alike, in order, as one list a volume.

    Args:
        slices: At least one.
        by_time: Whether slices at one place that nothing else tells apart are told apart by when they were
            taken.
    """
    places = places_of(slices)
    deepest = max(len(place) for place in places)
    if deepest == 1:
        return _end_to_end(slices)
    for number in range(len(MARKS)):
        parts = _parts(slices, number)
        telling = any(len({one.marks[number] for one in place}) > 1 for place in places)
        if telling and len(parts) <= deepest:
            return [stack for part in parts for stack in split(part, by_time=by_time)]
    parts = _parts_in_plane(slices)
    if 1 < len(parts) <= deepest:
        return [stack for part in parts for stack in split(part, by_time=by_time)]
    return (_by_time(places) if by_time else None) or [slices]


def places_of(slices: Sequence[Slice]) -> list[list[Slice]]:
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
