"""Raw scans into a store: what is there is kept, what is missing is made, what is broken is put on record."""

import math
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from mim3d.data.alone import alone
from mim3d.data.catalog import Case, Catalog, Rejected, read_rejected, write_index, write_rejected
from mim3d.data.channels import Choice
from mim3d.data.dask_pool import through_dask
from mim3d.data.datasets import DataSet, discover
from mim3d.data.estimate import Estimate, estimate, file_size
from mim3d.data.groups import Supervision
from mim3d.data.labels import LabelSet
from mim3d.data.layout import PARTIAL, Settings, read_description, write_description
from mim3d.data.limits import Limits
from mim3d.data.plan import Plan, PlanInto, make_plan
from mim3d.data.pool import Lost, supervised
from mim3d.data.prepare_case import Task
from mim3d.data.prepare_within import begin_worker, prepare_within
from mim3d.data.private import open_private, peek_private
from mim3d.data.reclassify import reclassify
from mim3d.data.sources import asked_for
from mim3d.data.splits import Shares
from mim3d.data.store import read_case
from mim3d.errors import DataError, GeometryError, StoreError
from mim3d.geometry import Vector

Outcome = Case | Rejected | Lost[Task]
Work = Callable[[Task], Case | Rejected]
ASIDE = re.compile(r"\.\d+-.+")
"""Names of files that are written aside by a process of that number, then renamed."""


class State(NamedTuple):
    """How far a preparation has come."""

    done: int
    """Scans finished, those of an earlier run among them."""
    total: int
    rejected: int
    """So far, now."""
    kept: int
    """Cases of an earlier run."""
    size: int = 0
    """Of the files read now, bytes."""


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


def prepare_store(  # noqa: PLR0913  one argument a flag of the command
    raw: Path,
    store: Path,
    *,
    data: DataSet | None = None,
    spacing: Vector | Literal["native"] = (1.5, 1.5, 1.5),
    keep_native: bool = False,
    derived: bool = False,
    shares: Shares = Shares(),  # noqa: B008
    channel: Choice = None,
    modality: str | None = None,
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008
    scheduler: str | None = None,
    follow_links: bool = False,
    on_progress: Callable[[State], None] = lambda _: None,
) -> Prepared:
    """Bring every scan of `raw` into a store, made or added to; run again, it does only what is missing.

    Args:
        raw: CSV file, folder with dataset.json or cases.csv, or any folder of scans.
        store: Folder of the store.
        data: What `raw` holds, where a recipe has told already; by default it is discovered.
        spacing: Of the working grid, mm; "native" keeps voxels as they are.
        keep_native: Keep scans that are finer than the working grid beside it.
        derived: Of a folder of scans, take derived, reformatted and burned-in DICOM images too.
        shares: For labelled patients without a stated split.
        channel: Number, from 0, of the channel or time point to take of cases with several, or all of them;
            a data set that states one wins.
        modality: As DICOM names it, of files that do not say what they are; a data set that states one wins.
        workers: Processes, one scan each at a time; None: one per core.
        limits: What one scan may take; one that takes more is rejected.
        scheduler: Address of a Dask scheduler whose workers do the work instead.
        follow_links: Whether symbolic links may leave the folder of `raw`.
        on_progress: Called first, and after each scan.

    Raises:
        ConfigError: If `workers` is below 1, `channel` below 0, `modality` unknown, or Dask is asked for and
            not there.
        DataError: If no scan is found, none can be used, or splits share a patient.
        GeometryError: If `spacing` is not positive and finite.
        StoreError: If the store is of other settings or another version, cannot be written, or is being
            written by another process.
    """
    settings = settings_of(spacing, keep_native)
    supervision = Supervision(workers=workers, limits=limits)
    refuse_other(store)
    data = discover(raw, derived=derived, supervision=supervision) if data is None else data
    data = asked_for(data, channel, modality)
    private = open_private(store)
    with alone(store, private.path):
        existing, label_sets = _open(store, settings)
        label_sets = _merged(label_sets, data.label_sets, existing)
        plan = make_plan(data.sources, label_sets, PlanInto(store, settings, private, existing), shares)
        store.mkdir(parents=True, exist_ok=True)
        _clear(store, private.path)
        write_description(store, settings, label_sets)
        existing = {**existing, **reclassify(store, plan.reclassified)}
        private.record(plan.origins)
        folder = None if follow_links else raw if raw.is_dir() else raw.parent
        outcomes = _outcomes(partial(prepare_within, folder), plan.tasks, supervision, scheduler)
        try:
            with closing(outcomes):
                made, rejected = _gather(plan, outcomes, on_progress)
        finally:
            shutil.rmtree(store / PARTIAL, ignore_errors=True)
        catalog = _record(store, plan, {**existing, **made}, rejected)
        private.list_rejected({scan.key: scan.reason for scan in read_rejected(store)})
    if not made and not plan.kept:
        _refuse_nothing(raw, store, rejected)
    return Prepared(catalog, len(made), len(plan.kept), rejected, _size(store), frozenset(made))


def estimate_store(
    data: DataSet,
    store: Path,
    *,
    spacing: Vector | Literal["native"] = (1.5, 1.5, 1.5),
    keep_native: bool = False,
    shares: Shares = Shares(),  # noqa: B008
    supervision: Supervision | None = None,
) -> Estimate:
    """What `prepare_store` would take of a data set; nothing is written.

    Raises:
        DataError: If splits share a patient.
        GeometryError: If `spacing` is not positive and finite.
        StoreError: If the store is of other settings or another version.
    """
    settings = settings_of(spacing, keep_native)
    refuse_other(store)
    existing, label_sets = _open(store, settings)
    label_sets = _merged(label_sets, data.label_sets, existing)
    private = peek_private(store)
    plan = make_plan(data.sources, label_sets, PlanInto(store, settings, private, existing), shares)
    scans = [source for source in data.sources if not source.left_out]
    labelled = sum(source.label is not None for source in scans)
    tasks = [task for task in plan.tasks if not task.source.left_out]
    left_out = len(data.sources) - len(scans)
    return replace(estimate(tasks, len(scans), labelled, settings, supervision), left_out=left_out)


def _clear(store: Path, private: Path) -> None:
    """Remove what an interrupted preparation left behind: all that was written aside."""
    shutil.rmtree(store / PARTIAL, ignore_errors=True)
    for folder in (store, private):
        for path in folder.iterdir():
            if ASIDE.fullmatch(path.name):
                path.unlink()


def _refuse_nothing(raw: Path, store: Path, rejected: Sequence[Rejected]) -> NoReturn:
    raise DataError(
        f"{raw}: none of its {len(rejected)} scans could be used; the first: {rejected[0].reason} "
        f"({store.name}.private/rejected.csv tells which scans and why)"
    )


def settings_of(spacing: Vector | Literal["native"], keep_native: bool) -> Settings:
    """What all cases of a store share.

    Raises:
        GeometryError: If `spacing` (mm) is not positive and finite.
    """
    if spacing == "native":
        return Settings(None, False)
    if not all(0 < side < math.inf for side in spacing):
        raise GeometryError(f"spacing must be positive and finite on every axis, got {spacing} mm")
    return Settings(spacing, keep_native)


def refuse_other(store: Path) -> None:
    """Raise if there is something that is no store; before anything is written, also beside it."""
    begun = (store / "store.json").exists() or not store.exists()
    if not begun and (store.is_file() or not all(ASIDE.fullmatch(path.name) for path in store.iterdir())):
        raise StoreError(f"{store}: not a store, and not empty; name a new or empty folder")


def _open(store: Path, settings: Settings) -> tuple[dict[str, Case], dict[str, LabelSet]]:
    """What a store holds already: its whole cases by name, and its label sets."""
    if not (store / "store.json").exists():
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


def _outcomes(
    work: Work, tasks: Sequence[Task], supervision: Supervision, scheduler: str | None
) -> Generator[Outcome]:
    """What becomes of each task, as they finish: here, or through Dask."""
    if scheduler is not None:
        anywhere = [
            replace(task, source=task.source.absolute(), store=task.store.absolute()) for task in tasks
        ]
        return through_dask(work, anywhere, scheduler, supervision.limits, begin_worker)
    return supervised(work, tasks, supervision.processes, supervision.limits, begin_worker)


def _gather(
    plan: Plan, outcomes: Iterator[Outcome], on_progress: Callable[[State], None]
) -> tuple[dict[str, Case], tuple[Rejected, ...]]:
    """Cases by name, and the scans rejected, sorted."""
    made: dict[str, Case] = {}
    rejected: list[Rejected] = []
    tasks = {name: task for task in plan.tasks for name in (task.case, task.key)}
    kept, size = len(plan.kept), 0
    total = kept + len(plan.tasks)
    on_progress(State(kept, total, 0, kept))
    for outcome in outcomes:
        if isinstance(outcome, Case):
            made[outcome.case] = outcome
            task = tasks[outcome.case]
        else:
            scan = outcome
            if isinstance(scan, Lost):
                scan = Rejected(key=scan.task.key, reason=scan.reason)
            rejected.append(scan)
            task = tasks[scan.key]
        size += file_size(task.source)
        on_progress(State(kept + len(made) + len(rejected), total, len(rejected), kept, size))
    return made, tuple(sorted(rejected, key=lambda scan: scan.key))


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
