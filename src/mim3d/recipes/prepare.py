"""Wiring of `mim3d prepare`: scans into a store, with a progress bar before and a table after."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mim3d.data import prepare as preparation
from mim3d.data.catalog import REJECTED, Catalog
from mim3d.data.overlap import hashed, twins_within
from mim3d.data.sources import SPLITS
from mim3d.data.splits import Shares
from mim3d.geometry import triple

MOST_REASONS = 10
"""Different reasons for rejection that are shown."""
MOST_TWINS = 10
"""Pairs of likely duplicates that are shown."""


def prepare(
    raw: Path,
    store: Path,
    /,
    *,
    spacing: tuple[float, ...] | Literal["native"] = (1.5,),
    keep_native: bool = False,
    val_share: float = 0.2,
    test_share: float = 0.0,
    workers: int | None = None,
) -> Catalog:
    """Turn scans into a store, give its whole catalog; run again, it does only what is missing.

    Args:
        raw: Folder of scans (NIfTI, NRRD, MetaImage, DICOM series at any depth), a folder with the
            dataset.json of nnU-Net or the Medical Decathlon, or a CSV file (image, case, label, split ...).
        store: Folder of the store to make, or to add to.
        spacing: Of the working grid in mm, one number or three (X Y Z); `native` keeps voxels as they are.
        keep_native: Keep scans that are finer than the working grid beside it.
        val_share: Share of labelled patients without a stated split that become the validation split.
        test_share: Share of labelled patients without a stated split that become the test split.
        workers: Processes, one scan each at a time; by default one per core.
    """
    console = Console(stderr=True)
    with _progress(console) as on_progress:
        prepared = preparation.prepare_store(
            raw,
            store,
            spacing="native" if spacing == "native" else triple(spacing),
            keep_native=keep_native,
            shares=Shares(val_share, test_share),
            workers=workers,
            on_progress=on_progress,
        )
    if console.is_terminal:
        console.print(_table(store, prepared))
    else:
        console.print(_line(store, prepared), soft_wrap=True, markup=False, highlight=False)
    for line in chain(_reasons(store, prepared), _duplicates(store, prepared)):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return prepared.catalog


def _reasons(store: Path, prepared: preparation.Prepared) -> Iterator[str]:
    """Why scans were rejected, and where it is written which ones they are."""
    for reason, count in Counter(scan.reason for scan in prepared.rejected).most_common(MOST_REASONS):
        yield f"{count} rejected: {reason}"
    if prepared.rejected:
        yield f"which ones: keys in {store / REJECTED}, scans in {store.name}.private/sources.csv"


def _duplicates(store: Path, prepared: preparation.Prepared) -> Iterator[str]:
    """New cases that are likely the same scan as another case of the store."""
    found = twins_within(hashed(prepared.catalog), prepared.new) if prepared.new else []
    for twin in found[:MOST_TWINS]:
        apart = f", {twin.one_split} and {twin.other_split}" if twin.crosses_splits else ""
        yield f"likely the same scan: {twin.one} and {twin.other} (distance {twin.distance:.3f}{apart})"
    if found:
        yield f"{len(found)} likely duplicates; `mim3d overlap {store}` lists them (docs/trust.md)"


@contextmanager
def _progress(console: Console) -> Iterator[preparation.Progress]:
    """A bar with the time left, on terminals; gives what `prepare_store` reports to."""
    columns = (
        TextColumn("prepare"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("scans, {task.fields[rejected]} rejected"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("prepare", total=None, rejected=0)
        yield lambda done, total, rejected: progress.update(
            task, completed=done, total=total, rejected=rejected
        )


def _line(store: Path, prepared: preparation.Prepared) -> str:
    splits = Counter(case.split for case in prepared.catalog.cases)
    counts = ", ".join(f"{splits[split]} {split}" for split in SPLITS if splits[split])
    return (
        f"{store}: {len(prepared.catalog.cases)} cases ({counts}; {prepared.made} new), "
        f"{len(prepared.rejected)} scans rejected, {prepared.size / 1e6:.1f} MB"
    )


def _table(store: Path, prepared: preparation.Prepared) -> Table:
    """Cases per split and label set."""
    table = Table(title=_line(store, prepared), title_justify="left")
    for heading in ("", *SPLITS):
        table.add_column(heading, justify="right" if heading else "left")
    catalog = prepared.catalog
    table.add_row("cases", *(str(len(catalog.select(split).cases)) for split in SPLITS))
    for labels in sorted({name for case in catalog.cases for name in case.labels}):
        table.add_row(f"with {labels}", *(str(len(catalog.select(split, labels).cases)) for split in SPLITS))
    return table
