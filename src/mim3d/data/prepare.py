"""Raw scans into a store: what is there is kept, what is missing is made, what is broken is put on record."""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import SimpleITK

from mim3d.data.catalog import (
    Case,
    Catalog,
    Rejected,
    read_rejected,
    write_index,
    write_rejected,
)
from mim3d.data.datasets import discover
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, read_description, write_description
from mim3d.data.plan import Plan, PlanInto, make_plan
from mim3d.data.pool import in_processes
from mim3d.data.prepare_case import prepare_case
from mim3d.data.private import open_private
from mim3d.data.splits import Shares
from mim3d.data.store import read_case
from mim3d.errors import ConfigError, DataError, GeometryError, StoreError
from mim3d.geometry import Vector

Progress = Callable[[int, int, int], None]
"""Called with the scans finished, all scans, and the scans rejected so far."""


@dataclass(frozen=True)
class Prepared:
    """What a preparation came to."""

    catalog: Catalog
    """Of the whole store."""
    made: int
    """Cases made now."""
    kept: int
    """Cases of this data set that were there already."""
    rejected: tuple[Rejected, ...]
    """Scans of this data set that could not be used."""
    size: int
    """Of the store on disk, bytes."""
    new: frozenset[str] = frozenset()
    """Names of the cases made now."""


def prepare_store(
    raw: Path,
    store: Path,
    *,
    spacing: Vector | Literal["native"] = (1.5, 1.5, 1.5),
    keep_native: bool = False,
    shares: Shares = Shares(),  # noqa: B008
    workers: int | None = None,
    on_progress: Progress = lambda _done, _all, _rejected: None,
) -> Prepared:
    """Bring every scan of `raw` into a store, made or added to; run again, it does only what is missing.

    Args:
        raw: CSV file, folder with dataset.json or cases.csv, or any folder of scans.
        store: Folder of the store.
        spacing: Of the working grid, mm; "native" keeps voxels as they are.
        keep_native: Keep scans that are finer than the working grid beside it.
        shares: For labelled patients without a stated split.
        workers: Processes, one scan each at a time; None: one per core.
        on_progress: See `Progress`.

    Raises:
        ConfigError: If `workers` is below 1.
        DataError: If no scan is found, none can be used, splits share a patient, or a worker is killed.
        GeometryError: If `spacing` is not positive and finite.
        StoreError: If the store is of other settings or another version, or cannot be written.
    """
    settings = _settings(spacing, keep_native)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    data = discover(raw)
    existing, label_sets = _open(store, settings)
    label_sets = _merged(label_sets, data.label_sets, existing)
    private = open_private(store)
    plan = make_plan(data.sources, label_sets, PlanInto(store, settings, private, existing), shares)
    store.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(store / ".partial", ignore_errors=True)
    write_description(store, settings, label_sets)
    private.record(plan.origins)
    made, rejected = _run(plan, workers, on_progress)
    catalog = _record(store, plan, {**existing, **made}, rejected)
    if not made and not plan.kept:
        _refuse_nothing(raw, store, rejected)
    return Prepared(catalog, len(made), len(plan.kept), rejected, _size(store), frozenset(made))


def _refuse_nothing(raw: Path, store: Path, rejected: Sequence[Rejected]) -> NoReturn:
    first = rejected[0]
    raise DataError(
        f"{raw}: none of its {len(rejected)} scans could be used; the first: {first.reason} "
        f"({store.name}.private/sources.csv tells which scan is {first.key})"
    )


def _settings(spacing: Vector | Literal["native"], keep_native: bool) -> Settings:
    if spacing == "native":
        return Settings(None, False)
    if not all(0 < side < math.inf for side in spacing):
        raise GeometryError(f"spacing must be positive and finite on every axis, got {spacing} mm")
    return Settings(spacing, keep_native)


def _open(store: Path, settings: Settings) -> tuple[dict[str, Case], dict[str, LabelSet]]:
    """What a store holds already: its whole cases by name, and its label sets."""
    if not (store / "store.json").exists():
        if store.is_file() or (store.is_dir() and any(store.iterdir())):
            raise StoreError(f"{store}: not a store, and not empty; name a new or empty folder")
        return {}, {}
    ours, label_sets = read_description(store)
    existing = {case.case: case for case in _whole_cases(store)}
    if existing and ours != settings:
        raise StoreError(
            f"{store}: prepared with {_words(ours)}, but {_words(settings)} is asked; use the store's own "
            "settings, or prepare into a new folder"
        )
    return existing, label_sets


def _whole_cases(store: Path) -> Iterator[Case]:
    """The cases that can be read; what cannot is made anew."""
    for folder in sorted((store / "cases").glob("*.ome.zarr")):
        with suppress(StoreError):
            yield read_case(folder)


def _merged(
    ours: dict[str, LabelSet], theirs: dict[str, LabelSet], existing: dict[str, Case]
) -> dict[str, LabelSet]:
    """The label sets of a store with those of a data set added."""
    used = {name for case in existing.values() for name in case.labels}
    for name in used & theirs.keys():
        if ours[name].structures != theirs[name].structures or ours[name].ignore != theirs[name].ignore:
            raise StoreError(
                f"label set {name}: the store has {ours[name].structures}, the data set "
                f"{theirs[name].structures}; give the data set's another name, or prepare into a new folder"
            )
    return {**ours, **theirs}


def _run(
    plan: Plan, workers: int | None, on_progress: Progress
) -> tuple[dict[str, Case], tuple[Rejected, ...]]:
    """Prepare what is to be made: cases by name, and the scans rejected, sorted."""
    made: dict[str, Case] = {}
    rejected: list[Rejected] = []
    finished, total = len(plan.kept), len(plan.kept) + len(plan.tasks)
    on_progress(finished, total, 0)
    for outcome in in_processes(prepare_case, plan.tasks, workers or os.cpu_count() or 1, _one_thread):
        if isinstance(outcome, Rejected):
            rejected.append(outcome)
        else:
            made[outcome.case] = outcome
        finished += 1
        on_progress(finished, total, len(rejected))
    return made, tuple(sorted(rejected, key=lambda scan: scan.key))


def _one_thread() -> None:
    """One scan a worker, one thread a scan."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _record(store: Path, plan: Plan, cases: dict[str, Case], rejected: Sequence[Rejected]) -> Catalog:
    """Write the index and the table of rejected scans; those of other data sets stay in it."""
    others = [scan for scan in read_rejected(store) if scan.key not in plan.keys]
    write_rejected(store, [*others, *rejected])
    write_index(store, cases.values())
    return Catalog(tuple(cases[name] for name in sorted(cases)))


def _size(store: Path) -> int:
    """Bytes of all files of a store."""
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def _words(settings: Settings) -> str:
    if settings.spacing is None:
        return "spacing native"
    beside = " and the finer original kept" if settings.keep_native else ""
    return f"spacing {' x '.join(f'{side:g}' for side in settings.spacing)} mm{beside}"
