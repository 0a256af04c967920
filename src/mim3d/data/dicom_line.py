"""Whether slices lie in one line at equal distances, and what is wrong where they do not.

Slices are given in order along their normal.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mim3d.data.dicom_header import Slice
from mim3d.errors import DataError

UNEVEN = 0.05
"""A slice may lie this share of the spacing off its even place."""
SAME_PLACE = 0.01
"""Slices that lie no farther apart along their normal are at one place, mm."""


def is_even(slices: Sequence[Slice]) -> bool:
    """Whether slices in order lie at equal distances along their normal."""
    if len(slices) < 2:
        return True
    places = np.array([one.place for one in slices])
    even = np.linspace(places[0], places[-1], len(places))
    spacing = even[1] - even[0]
    return bool(spacing > 0 and np.abs(places - even).max() <= UNEVEN * spacing)


def is_straight(slices: Sequence[Slice]) -> bool:
    """Whether even slices in order lie in one line, upright or tilted."""
    return len(slices) < 2 or bool(_astray(slices)[1].max() <= _bearable(slices[0]))


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
    step, astray = _astray(slices)
    if astray.max() > _bearable(first):
        raise DataError(
            f"{what}: slice {int(astray.argmax()) + 1} of {len(slices)} lies {astray.max():.2f} mm off the "
            "line of the others in its plane; slices in one line are needed: export the series again"
        )
    return step


def _astray(slices: Sequence[Slice]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The step (3,) from slice to slice, and how far each lies off the line from first to last, mm."""
    positions = np.array([one.position for one in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    line = positions[0] + np.outer(np.arange(len(slices)), step)
    return np.asarray(step), np.asarray(np.abs(positions - line).max(axis=1))


def _bearable(first: Slice) -> float:
    """Millimetres that a slice may lie off the line of the others."""
    return max(0.5 * min(first.spacing), SAME_PLACE)


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
