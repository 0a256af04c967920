"""A store as a whole: what is in it, in a handful of facts."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mim3d.data.catalog import Case, read_rejected
from mim3d.data.layout import case_folder
from mim3d.data.place import Place
from mim3d.data.sources import SPLITS
from mim3d.data.store import Store
from mim3d.data.targets import classes_of, names_of
from mim3d.reporting.inspect_cohort import number
from mim3d.reporting.inspect_findings import KINDS
from mim3d.reporting.inspect_ranking import Suspect
from mim3d.reporting.pictures import TIMES

MOST_MEASURED = 1000
"""Cases whose files are counted up; of more cases the disk space is estimated."""
MOST_REASONS = 20
"""Reasons for rejection that are told apart."""


def store_facts(store: Store) -> Iterator[tuple[str, str]]:
    """Name and value of each fact about a store."""
    cases = store.catalog.cases
    splits = Counter(case.split for case in cases)
    yield "Cases", _count(len(cases))
    yield "Patients", _count(len({case.patient for case in cases}))
    yield "Splits", ", ".join(f"{_count(splits[split])} {split}" for split in SPLITS if splits[split])
    yield "Modality", ", ".join(f"{_count(n)} {name}" for name, n in _common(case.modality for case in cases))
    for name, label_set in store.label_sets.items():
        labelled = sum(name in case.labels for case in cases)
        yield f"Label set {name}", f"{len(label_set.structures)} structures in {_count(labelled)} cases"
    texts = store.catalog.column("targets")
    for target in names_of(texts):
        counts = classes_of(texts, target).items()
        yield f"Target {target}", ", ".join(f"{_count(number)} {name}" for name, number in counts)
    yield "Working grid", "each scan's own" if store.spacing is None else f"{_side(store.spacing)} mm"
    if cases:
        yield "Scans' voxels", f"{_range(np.array([case.source_spacing for case in cases]))} mm"
        yield "Shapes", f"{_range(np.array([case.shape for case in cases]))} voxels"
        extents = np.array([case.shape for case in cases]) * np.array([case.spacing for case in cases])
        yield "Lengths", f"{_range(np.rint(extents))} mm"
    yield "Rejected scans", _count(len(read_rejected(store.path)))
    if isinstance(store.path, Path):
        yield "Disk", disk(store.path, cases)


def rejections(store: Place) -> tuple[tuple[str, int], ...]:
    """Reasons why scans are not in the store, and how many each, most frequent first."""
    found = _common(scan.reason for scan in read_rejected(store))
    others = sum(count for _, count in found[MOST_REASONS:])
    return (*found[:MOST_REASONS], *((("other reasons", others),) if others else ()))


def found_kinds(suspects: Iterable[Suspect]) -> tuple[tuple[str, int], ...]:
    """Kinds of findings, and how many cases have one of that kind, in the order of KINDS."""
    counts = Counter(kind for one in suspects for kind in {finding.kind for finding in one.findings})
    return tuple((words, counts[kind]) for kind, words in KINDS.items() if counts[kind])


def disk(store: Path, cases: Sequence[Case]) -> str:
    """How much of the disk the cases take; estimated from evenly chosen ones where they are many."""
    step = -(-len(cases) // MOST_MEASURED) or 1
    chosen = cases[::step]
    measured = sum(_size(case_folder(store, case.case)) for case in chosen)
    size = measured * len(cases) / max(len(chosen), 1)
    unit, by = ("GB", 1e9) if size >= 1e9 else ("MB", 1e6)
    return f"{'about ' if step > 1 else ''}{size / by:.1f} {unit}"


def _size(folder: Path) -> int:
    """Bytes of all files in a folder, at any depth."""
    total = 0
    for parent, _, names in os.walk(folder):
        total += sum(os.stat(os.path.join(parent, name)).st_size for name in names)
    return total


def _common(values: Iterable[str]) -> list[tuple[str, int]]:
    """Values and how often each occurs, most frequent first, then by name."""
    return sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))


def _range(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:
    """Smallest, median and largest of each axis (N, 3); one where all are the same."""
    low, middle, high = values.min(axis=0), np.median(values, axis=0), values.max(axis=0)
    if (low == high).all():
        return _side(low)
    return f"{_side(low)} to {_side(high)}, median {_side(middle)}"


def _side(values: Iterable[float]) -> str:
    return TIMES.join(f"{number(value)}" for value in values)


def _count(number: int) -> str:
    return f"{number:,}"
