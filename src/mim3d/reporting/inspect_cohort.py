"""What makes a case suspect among the others of its store: quantities far from the median of all.

Distances are in robust standard deviations: 1.4826 times the median absolute deviation, but no less than a
floor, so that a store of like cases does not make small differences large.

Source: Rousseeuw and Croux 1993, "Alternatives to the median absolute deviation", sec. 1, for the factor.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mim3d.data.catalog import Case
from mim3d.reporting.inspect_findings import AXES, Finding, Subject, graded
from mim3d.reporting.inspect_measures import Structure

LEAST_CASES = 5
"""Fewer values than this say nothing about what is usual."""
FAR = 6.0
"""Robust standard deviations from the median from which on a case is suspect."""
TO_SIGMA = 1.4826
"""Median absolute deviation of a normal distribution to its standard deviation."""
NEARLY_ALWAYS = 0.9
"""Share of the cases that have a structure, from which on its absence is suspect."""
BODY_FLOORS = {
    "mean": ("mean", 25.0),
    "std": ("standard deviation", 25.0),
    "p005": ("percentile 0.5", 25.0),
    "p995": ("percentile 99.5", 75.0),
}
"""Statistic of a CT's body -> its name in words, and its smallest robust standard deviation, HU."""

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A quantity of a case that is compared with the same quantity of the others."""

    key: Key
    """Modality, and what it is."""
    kind: str
    """As of a finding."""
    what: str
    """In words."""
    value: float
    unit: str
    floor: float
    """Smallest robust standard deviation: in `unit`, or relative where `relative`."""
    relative: bool = False
    """Whether it is compared by its logarithm."""
    structure: tuple[str, str] | None = None
    """Label set and name."""
    cut: bool = False
    """Whether it may be small for a reason: the end of the scan cuts the structure."""

    @property
    def place(self) -> float:
        """The value on the scale on which it is compared."""
        return math.log(max(self.value, 1e-9)) if self.relative else self.value


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity is spread over the store."""

    middle: float
    """Median, on the scale on which values are compared."""
    sigma: float
    """Robust standard deviation."""
    num_cases: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """What is usual in a store."""

    spreads: Mapping[Key, Spread]
    presence: Mapping[tuple[str, str], tuple[int, int]]
    """Label set and structure -> cases that have it, cases in which it was annotated."""
    values: Mapping[str, Mapping[str, int]]
    """Label set -> structure -> its value."""


def cohort_of(subjects: Sequence[Subject], values: Mapping[str, Mapping[str, int]]) -> Cohort:
    """What is usual among some cases; `values`: label set -> structure -> its value in label maps."""
    places: dict[Key, list[float]] = defaultdict(list)
    floors: dict[Key, float] = {}
    for subject in subjects:
        for reading in readings(subject):
            places[reading.key].append(reading.place)
            floors[reading.key] = reading.floor
    spreads = {key: spread(found, floors[key]) for key, found in places.items() if len(found) >= LEAST_CASES}
    return Cohort(spreads, _presence(subjects, values), values)


def spread(values: Iterable[float], floor: float) -> Spread:
    """Median and robust standard deviation, the latter no less than `floor`."""
    all_values = np.fromiter(values, np.float64)
    middle = float(np.median(all_values))
    sigma = TO_SIGMA * float(np.median(np.abs(all_values - middle)))
    return Spread(middle, max(sigma, floor), len(all_values))


def unusual(subject: Subject, cohort: Cohort) -> Iterator[Finding]:
    """Quantities of a case against those of the others; graded, whether far or not."""
    for reading in readings(subject):
        usual = cohort.spreads.get(reading.key)
        if usual is None:
            continue
        distance = (reading.place - usual.middle) / usual.sigma
        if reading.cut and distance < 0:
            continue
        score = beyond(abs(distance))
        words = told(reading, usual, abs(distance)) if score >= 1 else ""
        yield Finding(kind=reading.kind, score=score, words=words, structure=reading.structure)


def told(reading: Reading, usual: Spread, distance: float) -> str:
    """How far a quantity is from the others, in words; `distance` in robust standard deviations."""
    middle = math.exp(usual.middle) if reading.relative else usual.middle
    return (
        f"{reading.what} is {number(reading.value)}{reading.unit}, {distance:.0f} robust standard deviations "
        f"from the median of {usual.num_cases} cases, {number(middle)}{reading.unit}"
    )


def beyond(distance: float) -> float:
    """The score of a distance in robust standard deviations: 1 at FAR, above it by its logarithm."""
    return graded(distance / FAR if distance < FAR else 1 + math.log(distance / FAR))


def missing(subject: Subject, cohort: Cohort) -> Iterator[Finding]:
    """Structures that were annotated, that nearly all other cases have, and that this one has not."""
    if subject.measures is None:
        return
    for labels, structures in subject.measures.structures.items():
        for name in _annotated(subject, labels, cohort.values) if structures else ():
            present, annotated = cohort.presence[labels, name]
            usual = annotated > LEAST_CASES and present >= NEARLY_ALWAYS * (annotated - 1)
            if usual and name not in structures:
                words = f"{name} is nowhere, though annotated; {present} of {annotated} cases have it"
                yield Finding(kind="labels", score=1.5, words=words)


def readings(subject: Subject) -> Iterator[Reading]:
    """All quantities of a case that are compared with those of others."""
    case = subject.case
    if case.modality == "CT":
        yield from _of_body(case)
    yield from _of_size(case)
    if subject.measures is not None:
        for labels, structures in subject.measures.structures.items():
            for name, structure in structures.items():
                yield from _of_structure(case.modality, (labels, name), structure)


def _of_body(case: Case) -> Iterator[Reading]:
    for name, (words, floor) in BODY_FLOORS.items():
        yield Reading(
            key=("CT", name),
            kind="intensities",
            what=f"the body's {words}",
            value=case.statistics[name],
            unit=" HU",
            floor=floor,
        )


def _of_size(case: Case) -> Iterator[Reading]:
    for axis, letter in enumerate(AXES):
        extent, voxel = case.shape[axis] * case.spacing[axis], case.source_spacing[axis]
        for name, words, value, floor in (
            ("extent", "the scan's length", extent, 0.15),
            ("voxel", "the voxels' side", voxel, 0.25),
        ):
            yield Reading(
                key=(case.modality, name, letter),
                kind="size",
                what=f"{words} along {letter}",
                value=value,
                unit=" mm",
                floor=floor,
                relative=True,
            )


def _of_structure(modality: str, place: tuple[str, str], structure: Structure) -> Iterator[Reading]:
    _, name = place
    yield Reading(
        key=(modality, "volume", *place),
        kind="labels",
        what=f"{name}: the volume",
        value=structure.volume,
        unit=" ml",
        floor=0.25,
        relative=True,
        structure=place,
        cut=structure.cut,
    )
    if modality == "CT":
        yield Reading(
            key=(modality, "median", *place),
            kind="labels",
            what=f"{name}: the median inside",
            value=structure.median,
            unit=" HU",
            floor=30.0,
            structure=place,
        )


def number(value: float) -> str:
    """A value with three digits that count, large ones whole."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _annotated(subject: Subject, labels: str, values: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Names of the structures of a label set that were annotated in a case."""
    annotated = set(subject.case.labels.get(labels, ()))
    return [name for name, value in values.get(labels, {}).items() if value in annotated]


def _presence(
    subjects: Iterable[Subject], values: Mapping[str, Mapping[str, int]]
) -> dict[tuple[str, str], tuple[int, int]]:
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for subject in subjects:
        for labels, structures in (subject.measures.structures if subject.measures else {}).items():
            for name in _annotated(subject, labels, values):
                present, annotated = counts.get((labels, name), (0, 0))
                counts[labels, name] = (present + (name in structures), annotated + 1)
    return counts
