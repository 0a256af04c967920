"""Commands that make data, and look at it: samples, phantoms, stores."""

from pathlib import Path
from typing import Literal

from mim3d.commands.places import Folder, Other, Raw, Store, Target
from mim3d.errors import DamageFound
from mim3d.geometry import Triple


def samples(raw: Raw, /) -> None:
    """Fetch real CT volumes: a chest with 89 organs, four lungs with tumours (DICOM), a spine, a head.

    Args:
        raw: Folder to make; `mim3d prepare` takes it as it is.
    """
    from mim3d.recipes.samples import samples

    samples(raw)


def phantom(  # noqa: PLR0913  one argument a flag
    folder: Folder,
    /,
    *,
    cases: int = 10,
    seed: int = 0,
    shape: Triple = (96, 96, 96),
    spacing: float = 3.0,
    lesions: bool = True,
    separate_kidneys: bool = False,
    workers: int | None = None,
) -> None:
    """Write random labelled CT-like patients in nnU-Net's folder layout, for those who have no data yet.

    Args:
        folder: Where to write; new, empty, or begun with the same options.
        cases: How many patients the folder shall hold.
        seed: Of everything that is random, 0 or more.
        shape: Voxels per axis, at least 32.
        spacing: Of the voxels, mm.
        lesions: Whether some patients have lesions.
        separate_kidneys: Whether the two kidneys are two structures.
        workers: Processes; by default one per core.
    """
    from mim3d.recipes.phantom import phantom

    phantom(
        folder,
        cases=cases,
        seed=seed,
        shape=shape,
        spacing=spacing,
        lesions=lesions,
        separate_kidneys=separate_kidneys,
        workers=workers,
    )


def prepare(  # noqa: PLR0913  one argument a flag
    raw: Raw,
    store: Store,
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
    case_seconds: float = 600.0,
    case_memory: float | None = None,
    scheduler: str | None = None,
    follow_links: bool = False,
    dry_run: bool = False,
) -> None:
    """Turn scans into a store; run again, it does only what is missing.

    Args:
        raw: Folder of scans (NIfTI, NRRD, MetaImage, DICOM series at any depth), a folder with the
            dataset.json of nnU-Net or the Medical Decathlon, a CSV file (image, case, label, split ...), or a
            JSON that lists `training` and `validation` files; `LIST.json:2` validates on its fold 2.
        store: Folder of the store to make, or to add to.
        recipe: Public data set that RAW is, by the name that `mim3d datasets` lists, or a recipe of your own
            (.json): gives labels, spacing and splits, and checks first that all is there. `btcv:fold-2` and
            `btcv:few-3` name a fold and a few-shot subset.
        spacing: Of the working grid in mm, one number or three (X Y Z); `native` keeps voxels as they are. By
            default the recipe's, else 1.5.
        keep_native: Keep scans that are finer than the working grid beside it.
        derived: Of a folder of DICOM, take derived, reformatted and burned-in images too, not scans alone.
        val_share: Share of the labelled patients that become the validation split, where none is stated.
        test_share: Share of the labelled patients that become the test split, where none is stated.
        channel: Which channel or time point to take of scans with several, counted from 0; `all` makes them
            channels of one case.
        modality: Of files that do not say what they are (all but DICOM): CT, MR, PT, ...; by default CT, or
            what a data set's description or CSV says.
        workers: Processes, one scan each at a time; by default one per core.
        case_seconds: A scan that takes longer is rejected.
        case_memory: A scan that needs more GB is rejected; by default 8, less where the machine has less.
        scheduler: Address of a Dask scheduler, e.g. tcp://node17:8786, whose workers do the work instead.
        follow_links: Take scans whose symbolic links leave the data folder; else they are rejected.
        dry_run: Tell how many scans there are and what disk and time they need; write nothing.
    """
    from mim3d.recipes.prepare import prepare

    prepare(
        raw,
        store,
        recipe=recipe,
        spacing=spacing,
        keep_native=keep_native,
        derived=derived,
        val_share=val_share,
        test_share=test_share,
        channel=channel,
        modality=modality,
        workers=workers,
        case_seconds=case_seconds,
        case_memory=case_memory,
        scheduler=scheduler,
        follow_links=follow_links,
        dry_run=dry_run,
    )


def copy(store: Store, target: Target, /, *, workers: int = 8) -> None:
    """Copy a store into an object store, from there, or into another folder; run again, what is missing.

    Args:
        store: A prepared store: its folder, or a URL, e.g. s3://bucket/store.
        target: Where it shall be: a URL or a folder, new or with an earlier copy of the same store.
        workers: Cases copied at a time.
    """
    from mim3d.recipes.copy import copy

    copy(store, target, workers=workers)


def verify(store: Store, /, *, workers: int | None = None) -> None:
    """Read every byte of a store; names damaged cases, arrays and chunks, then ends with status 1.

    Args:
        store: A prepared store, its folder or URL.
        workers: Processes, one case each at a time; by default one per core.
    """
    from mim3d.recipes.verify import verify

    damage = verify(store, workers=workers)
    for place in damage:
        print(place)
    if damage:
        cases = len({place.case for place in damage if place.case})
        again = "`mim3d copy`" if "://" in store else "`mim3d prepare`"
        raise DamageFound(f"{store}: {_damage_line(len(damage), cases, again)}")


def _damage_line(places: int, cases: int, again: str) -> str:
    """How much is damaged, and the way out."""
    if not cases:
        return f"places of damage: {places}, none of them in a case; run {again} again"
    return (
        f"places of damage: {places}, in cases: {cases}; delete the folders of damaged cases "
        f"(STORE/cases/CASE.ome.zarr) and run {again} again, which makes them and the index anew"
    )


def overlap(
    store: Store,
    other: Other = None,
    /,
    *,
    within: float = 0.15,
    out: Path | None = None,
    workers: int | None = None,
) -> None:
    """Find scans that are in two stores, or twice in one, under whatever names and at whatever spacings.

    Args:
        store: A prepared store.
        other: Another; without it the cases of the first are compared with each other.
        within: Largest distance that is reported, no unit.
        out: CSV to write.
        workers: Processes that make hashes of cases that have none; by default one per core.
    """
    from mim3d.data.overlap import rows
    from mim3d.recipes.overlap import overlap

    found = list(rows(overlap(store, other, within=within, out=out, workers=workers)))
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    for row in found[: len(found) if len(found) > 1 else 0]:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def inspect(
    store: Store,
    /,
    *,
    out: Path | None = None,
    cases: int = 24,
    labels: str | None = None,
    quick: bool = False,
) -> None:
    """Write one self-contained HTML page about a store: what is in it, and its cases, worst suspects first.

    Args:
        store: Folder of a store, or its URL.
        out: HTML file to write; by default `STORE.inspect.html` beside the store, of a URL in this folder.
        cases: Cases shown with pictures, at most; all are checked.
        labels: Label set to check and to draw; by default all are checked, and each case's first is drawn.
        quick: Look at the catalog alone: no air, slices or labels are checked.
    """
    from mim3d.recipes.inspect import inspect

    print(inspect(store, out=out, cases=cases, labels=labels, quick=quick))
