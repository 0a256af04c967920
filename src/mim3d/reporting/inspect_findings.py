"""What makes a case suspect, by itself: rules with absolute limits, each a pure function of what is known.

A finding's score is how far it lies beyond its limit: 1 at the limit, never above MOST. Below 1 it is no
finding, but still puts the case before others.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mim3d.data.catalog import Case
from mim3d.reporting.inspect_measures import Measures

AXES = "xyz"
"""To the right, to the front, to the head."""
KINDS = {
    "damage": "Cannot be read",
    "size": "Size and voxels",
    "intensities": "Intensities",
    "slices": "Slices",
    "sides": "Sides",
    "labels": "Labels",
}
"""Kinds of findings and their names, causes before consequences: this is the order in which they are told."""
MOST = 10.0
"""Largest score of a finding."""
SURE = 5.0
"""Score of what is hardly ever right."""

LEAST_BODY = 0.03
"""Share of voxels above -500 HU."""
MOST_BODY = 0.98
"""Share of voxels above -500 HU: a scan has air around it, or in it."""
AIR = -700.0
"""The darkest hundredth of a CT lies below, HU."""
LEAST_RANGE = 200.0
"""Between percentiles 0.5 and 99.5 of the body, HU: fat and bone are further apart."""
EXTENTS = (40.0, 2200.0)
"""A scan's sides lie between, mm."""
SPACINGS = (0.1, 15.0)
"""A scan's voxels have sides between, mm."""
ANISOTROPY = 12.0
"""Longest over shortest side of a scan's voxel."""
LEAST_SLICES = 10
"""A scan has at least so many on each axis."""
MOST_CONSTANT = 0.3
"""Share of slices of one value across an axis."""
OUTSIDE = 0.25
"""Share of a structure outside the body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that may be wrong with a case."""

    kind: str
    """One of KINDS: what it is about."""
    score: float
    words: str
    """Why the case is suspect; may be empty where the score is below 1."""
    structure: tuple[str, str] | None = None
    """Label set and name of the structure that it is about, to be shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A case and what is known of it."""

    case: Case
    measures: Measures | None = None
    """None if only the catalog was looked at, or the voxels cannot be read."""
    damage: str = ""
    """Why the voxels cannot be read."""


def graded(value: float) -> float:
    """A score within its limits."""
    return min(max(value, 0.0), MOST)


def unreadable(subject: Subject) -> Iterator[Finding]:
    """Data that are damaged."""
    if subject.damage:
        yield Finding(kind="damage", score=MOST, words=f"cannot be read: {subject.damage}")


def hardly_any_body(subject: Subject) -> Iterator[Finding]:
    """CT of which less than 3 % is above -500 HU."""
    share = subject.case.statistics["body_share"]
    if subject.case.modality == "CT":
        words = (
            f"only {share:.2%} of the scan is above -500 HU, {LEAST_BODY:.0%} are expected: nearly all air, "
            "or values too low (intercept of -1024 applied twice?)"
        )
        yield Finding(kind="intensities", score=graded(LEAST_BODY / max(share, 1e-6)), words=words)


def hardly_any_air(subject: Subject) -> Iterator[Finding]:
    """CT of which 98 % or more is above -500 HU."""
    statistics = subject.case.statistics
    if subject.case.modality == "CT" and statistics["body_share"] >= MOST_BODY:
        words = (
            f"{statistics['body_share']:.0%} of the scan is above -500 HU, so it has hardly any air; "
            f"the mean is {statistics['mean']:.0f} HU: values too high (intercept of -1024 not applied?), "
            "scaled, or a cut-out of the body"
        )
        yield Finding(kind="intensities", score=1.5, words=words)


def air_is_not_air(subject: Subject) -> Iterator[Finding]:
    """CT whose darkest hundredth does not come near -1000 HU."""
    if subject.case.modality != "CT" or subject.measures is None:
        return
    darkest = subject.measures.darkest
    words = f"the darkest hundredth of the voxels reaches {darkest:.0f} HU; air should be near -1000"
    if abs(darkest) <= 100:
        words += ", and is near 0: intercept of -1024 not applied, or no HU at all"
    yield Finding(kind="intensities", score=graded((darkest + 1000) / (AIR + 1000)), words=words)


def flat_intensities(subject: Subject) -> Iterator[Finding]:
    """CT whose body spans less than 200 HU."""
    if subject.case.modality != "CT":
        return
    statistics = subject.case.statistics
    span = statistics["p995"] - statistics["p005"]
    words = (
        f"99 % of the body lies within {span:.0f} HU ({statistics['p005']:.0f} to {statistics['p995']:.0f}), "
        f"{LEAST_RANGE:.0f} are expected: values scaled, or a window baked in"
    )
    yield Finding(kind="intensities", score=graded(LEAST_RANGE / max(span, 1e-6)), words=words)


def odd_extent(subject: Subject) -> Iterator[Finding]:
    """A side of the scan below 40 or above 2200 mm; the one that is most so is told."""
    low, high = EXTENTS
    extents = [n * mm for n, mm in zip(subject.case.shape, subject.case.spacing, strict=True)]
    scores = [graded(max(low / extent, extent / high)) for extent in extents]
    worst = scores.index(max(scores))
    usual = f"{low:.0f} to {high:.0f} are expected: is the spacing right?"
    words = f"{extents[worst]:.0f} mm along {AXES[worst]}, {usual}"
    yield Finding(kind="size", score=scores[worst], words=words)


def odd_voxels(subject: Subject) -> Iterator[Finding]:
    """Voxels of the scan as it came below 0.1 or above 15 mm, or more than 12 times as long as wide."""
    low, high = SPACINGS
    spacing = subject.case.source_spacing
    shown = " x ".join(f"{mm:.3g}" for mm in spacing)
    words = f"voxels of {shown} mm, sides of {low:g} to {high:g} mm are expected"
    yield Finding(kind="size", score=graded(max(low / min(spacing), max(spacing) / high)), words=words)
    ratio = max(spacing) / min(spacing)
    words = f"voxels of {shown} mm, {ratio:.0f} times as long as wide; {ANISOTROPY:.0f} are expected at most"
    yield Finding(kind="size", score=graded(ratio / ANISOTROPY), words=words)


def few_slices(subject: Subject) -> Iterator[Finding]:
    """Fewer than 10 voxels on an axis of the scan as it came."""
    case = subject.case
    sides = zip(AXES, case.shape, case.spacing, case.source_spacing, strict=True)
    for axis, n, mm, source in sides:
        slices = max(1, round(n * mm / source))
        words = f"only {slices} slices across {axis}, {LEAST_SLICES} are expected"
        yield Finding(kind="size", score=graded(LEAST_SLICES / (slices + 1)), words=words)


def constant_slices(subject: Subject) -> Iterator[Finding]:
    """Slices of one value: three in ten across an axis, or any between others."""
    if subject.measures is None:
        return
    found = zip(AXES, subject.measures.constant, subject.measures.constant_inside, strict=True)
    for axis, share, inside in found:
        words = f"{share:.0%} of the slices across {axis} hold one value only: padded or missing"
        yield Finding(kind="slices", score=graded(share / MOST_CONSTANT), words=words)
        if inside:
            words = f"slices of one value lie between others across {axis}: slices are missing"
            yield Finding(kind="slices", score=SURE, words=words)


def nothing_labelled(subject: Subject) -> Iterator[Finding]:
    """A label map without a voxel, though structures were annotated."""
    if subject.measures is None:
        return
    for labels, structures in subject.measures.structures.items():
        if not structures and subject.case.labels.get(labels):
            words = f"the label map {labels} is empty"
            yield Finding(kind="labels", score=SURE, words=words)


def outside_the_body(subject: Subject) -> Iterator[Finding]:
    """A structure of which more than a quarter lies outside the body.

    Not said of scans without a body, nor of structures cut by the end of the scan: lungs are open there.
    """
    if subject.measures is None or subject.case.statistics["body_share"] < LEAST_BODY:
        return
    for labels, structures in subject.measures.structures.items():
        for name, structure in structures.items():
            words = f"{name}: {structure.outside:.0%} of it lies outside the body"
            score = 0.0 if structure.cut else graded(structure.outside / OUTSIDE)
            yield Finding(kind="labels", score=score, words=words, structure=(labels, name))


RULES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    unreadable,
    hardly_any_body,
    hardly_any_air,
    air_is_not_air,
    flat_intensities,
    odd_extent,
    odd_voxels,
    few_slices,
    constant_slices,
    nothing_labelled,
    outside_the_body,
)
