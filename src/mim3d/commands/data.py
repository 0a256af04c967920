"""Commands that make data, and look at it: samples, phantoms, stores."""

from pathlib import Path
from typing import Literal

from mim3d.commands.places import Folder, Raw, Store
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


def prepare(
    raw: Raw,
    store: Store,
    /,
    *,
    spacing: tuple[float, ...] | Literal["native"] = (1.5,),
    keep_native: bool = False,
    val_share: float = 0.2,
    test_share: float = 0.0,
    workers: int | None = None,
) -> None:
    """Turn scans into a store; run again, it does only what is missing.

    Args:
        raw: Folder of scans (NIfTI, NRRD, MetaImage, DICOM series at any depth), a folder with the
            dataset.json of nnU-Net or the Medical Decathlon, or a CSV file (image, case, label, split, ...).
        store: Folder of the store to make, or to add to.
        spacing: Of the working grid in mm, one number or three (X Y Z); `native` keeps voxels as they are.
        keep_native: Keep scans that are finer than the working grid beside it.
        val_share: Share of the labelled patients that become the validation split, where none is stated.
        test_share: Share of the labelled patients that become the test split, where none is stated.
        workers: Processes, one scan each at a time; by default one per core.
    """
    from mim3d.recipes.prepare import prepare

    prepare(
        raw,
        store,
        spacing=spacing,
        keep_native=keep_native,
        val_share=val_share,
        test_share=test_share,
        workers=workers,
    )


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
        store: Folder of a store.
        out: HTML file to write; `STORE.inspect.html` beside the store if not given.
        cases: Cases shown with pictures, at most; all are checked.
        labels: Label set to check and to draw; by default all are checked, and each case's first is drawn.
        quick: Look at the catalog alone: no air, slices or labels are checked.
    """
    from mim3d.recipes.inspect import inspect

    print(inspect(store, out=out, cases=cases, labels=labels, quick=quick))
