"""Wiring of `mim3d prepare`: scans into a store, with a progress bar before and a table after."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from mim3d.data import prepare as preparation
from mim3d.data.catalog import Catalog
from mim3d.data.datasets import discover
from mim3d.data.groups import Supervision
from mim3d.data.limits import GB, SECONDS, Limits
from mim3d.data.overlap import hashed, twins_within
from mim3d.data.place import folder_of, name_at
from mim3d.data.private import REJECTED
from mim3d.data.recipe_check import named_recipe, read_recipe
from mim3d.data.sources import SPLITS, DataSet, as_modality, asked_for
from mim3d.data.splits import Shares
from mim3d.data.targets import classes_of, names_of
from mim3d.geometry import Vector, triple
from mim3d.recipes.estimate import estimate_lines
from mim3d.recipes.prepare_progress import headers_progress, prepare_progress
from mim3d.reporting.text_table import counted

DEFAULT_SPACING = (1.5,)
"""Of the working grid, mm, where neither the user nor a recipe says."""
MOST_REASONS = 10
"""Different reasons for rejection that are shown."""
MOST_TWINS = 10
"""Pairs of likely duplicates that are shown."""


def prepare(  # noqa: PLR0913  one argument a flag
    raw: Path,
    store: Path | str,
    /,
    *,
    recipe: str | None = None,
    spacing: tuple[float, ...] | Literal["native"] | None = None,
    keep_native: bool = False,
    derived: bool = False,
    val_share: float = 0.2,
    test_share: float = 0.0,
    channel: int | Literal["all"] | None = None,
    modality: str | None = None,
    workers: int | None = None,
    case_seconds: float = SECONDS,
    case_memory: float | None = None,
    scheduler: str | None = None,
    follow_links: bool = False,
    dry_run: bool = False,
) -> Catalog:
    """Turn scans into a store, give its whole catalog; run again, it does only what is missing.

    Args:
        raw: Folder of scans (NIfTI, NRRD, MetaImage, DICOM series at any depth), a folder with the
            dataset.json of nnU-Net or the Medical Decathlon, a CSV file (image, case, label, split ...), or a
            JSON that lists `training` and `validation` files; `LIST.json:2` validates on its fold 2.
        store: Folder of the store to make, or to add to.
        recipe: Public data set that `raw` is, by the name that `datasets` lists, or a recipe of your own
            (.json): gives labels, spacing and splits, and checks first that all is there. `btcv:fold-2` and
            `btcv:few-3` name a fold and a few-shot subset.
        spacing: Of the working grid in mm, one number or three (X Y Z); `native` keeps voxels as they are. By
            default the recipe's, else 1.5.
        keep_native: Keep scans that are finer than the working grid beside it.
        derived: Of a folder of DICOM, take derived, reformatted and burned-in images too, not scans alone.
        val_share: Share of labelled patients without a stated split that become the validation split.
        test_share: Share of labelled patients without a stated split that become the test split.
        channel: Which channel or time point to take of scans with several, counted from 0; `all` makes them
            channels of one case.
        modality: Of files that do not say what they are (all but DICOM): CT, MR, PT, ...; by default CT, or
            what a data set's description or CSV says.
        workers: Processes, one scan each at a time; by default one per core.
        case_seconds: A scan that takes longer is rejected.
        case_memory: A scan that needs more GB is rejected; by default 8, or what a worker's share of four
            fifths of the machine's memory is, if that is less.
        scheduler: Address of a Dask scheduler whose workers do the work instead.
        follow_links: Whether symbolic links may leave the data folder.
        dry_run: Tell how many scans there are and what disk and time they need; write nothing, give no case.

    Raises:
        ConfigError: If a limit, a share or a number is out of range, or there is no such recipe.
        DataError: If no scan is found, none can be used, or splits share a patient.
        GeometryError: If `spacing` is not one or three positive numbers.
        StoreError: If the store is of other settings or another version, cannot be written, or is being
            written by another process.
    """
    store = folder_of(store)
    limits = Limits(case_seconds, None if case_memory is None else round(case_memory * GB))
    shares = Shares(val_share, test_share)
    console = Console(stderr=True)
    preparation.refuse_other(store)
    with headers_progress(console) as on_headers:
        readers = Supervision(workers=workers, limits=limits, on_progress=on_headers)
        data, usual, differing = _found(raw, recipe, derived, readers)
    for line in (*differing, *_overruled(data, modality)):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    asked = usual if spacing is None else spacing
    grid: Vector | Literal["native"] = "native" if asked == "native" else triple(asked)
    if dry_run:
        found = preparation.estimate_store(
            asked_for(data, channel, modality),
            store,
            spacing=grid,
            keep_native=keep_native,
            shares=shares,
            supervision=Supervision(workers=workers, limits=limits),
        )
        for line in estimate_lines(found, store, workers):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
        return Catalog(())
    with prepare_progress(console) as on_progress:
        prepared = preparation.prepare_store(
            raw,
            store,
            data=data,
            spacing=grid,
            keep_native=keep_native,
            shares=shares,
            channel=channel,
            modality=modality,
            workers=workers,
            limits=limits,
            scheduler=scheduler,
            follow_links=follow_links,
            on_progress=on_progress,
        )
    if console.is_terminal:
        console.print(_table(store, prepared))
    else:
        console.print(_line(store, prepared), soft_wrap=True, markup=False, highlight=False)
    for line in chain(_reasons(store, prepared), _duplicates(store, prepared)):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return prepared.catalog


def _found(
    raw: Path, name: str | None, derived: bool, readers: Supervision
) -> tuple[DataSet, tuple[float, ...], tuple[str, ...]]:
    """The data set, the spacing that it wants, and which numbers differ from those that its recipe states."""
    if name is None:
        return discover(raw, derived=derived, supervision=readers), DEFAULT_SPACING, ()
    recipe, arrangement = named_recipe(name)
    data, differing = read_recipe(recipe, raw, arrangement, readers)
    said = tuple(f"{recipe.name}: {line}; splits are drawn from what is there" for line in differing)
    return data, recipe.spacing or DEFAULT_SPACING, said


def _overruled(data: DataSet, modality: str | None) -> Iterator[str]:
    """What is said of a modality that is asked for, and not taken since all scans state theirs."""
    stated = {one for source in data.sources for one in source.modalities}
    if modality is None or not all(source.modalities for source in data.sources):
        return
    if as_modality(modality) not in stated:
        yield f"--modality {modality} is not taken: the data set states {', '.join(sorted(stated))}"


def _reasons(store: Path, prepared: preparation.Prepared) -> Iterator[str]:
    """Why scans were rejected, and where it is written which ones they are."""
    counts = Counter(scan.reason for scan in prepared.rejected).most_common()
    for reason, count in counts[:MOST_REASONS]:
        yield f"{count} rejected: {reason}"
    if others := counts[MOST_REASONS:]:
        yield f"{sum(count for _, count in others)} rejected for {len(others)} other reasons"
    if prepared.rejected:
        yield f"which ones: {store.parent / f'{name_at(store)}.private' / REJECTED}"


def _duplicates(store: Path, prepared: preparation.Prepared) -> Iterator[str]:
    """New cases that are likely the same scan as another case of the store."""
    found = twins_within(hashed(prepared.catalog), prepared.new) if prepared.new else []
    for twin in found[:MOST_TWINS]:
        apart = f", {twin.one_split} and {twin.other_split}" if twin.crosses_splits else ""
        yield f"likely the same scan: {twin.one} and {twin.other} (distance {twin.distance:.3f}{apart})"
    if found:
        yield f"{len(found)} likely duplicates; `mim3d overlap {store}` lists them (docs/trust.md)"


def _line(store: Path, prepared: preparation.Prepared) -> str:
    splits = Counter(case.split for case in prepared.catalog.cases)
    counts = ", ".join(f"{splits[split]} {split}" for split in SPLITS if splits[split])
    return (
        f"{store}: {counted(len(prepared.catalog.cases), 'case')} ({counts}; {prepared.made} new), "
        f"{counted(len(prepared.rejected), 'scan')} rejected, {prepared.size / 1e6:.1f} MB"
    )


def _table(store: Path, prepared: preparation.Prepared) -> Table:
    """Cases per split, label set and class."""
    table = Table(title=_line(store, prepared), title_justify="left")
    for heading in ("", *SPLITS):
        table.add_column(heading, justify="right" if heading else "left")
    catalog = prepared.catalog
    table.add_row("cases", *(str(len(catalog.select(split).cases)) for split in SPLITS))
    for labels in sorted({name for case in catalog.cases for name in case.labels}):
        table.add_row(f"with {labels}", *(str(len(catalog.select(split, labels).cases)) for split in SPLITS))
    for target in names_of(catalog.column("targets")):
        counts = [classes_of(catalog.select(split).column("targets"), target) for split in SPLITS]
        for name in sorted({name for known in counts for name in known}):
            table.add_row(f"{target}: {name}", *(str(known.get(name, 0)) for known in counts))
    return table
