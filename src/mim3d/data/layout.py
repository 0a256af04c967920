"""Where things lie in a store, and what its store.json says.

STORE/store.json index.parquet rejected.parquet
STORE/cases/<case>.ome.zarr/            OME-Zarr 0.5 image, axes z, y, x
    0 1 2                               working scale and half-size ones
    labels/<set>/0                      label maps, working scale
    native/0                            the finer original, an image of its own
    foreground                          see `foreground.py`
STORE/.partial/                         cases being written
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mim3d.data.labels import LabelSet
from mim3d.data.place import Place, Same
from mim3d.data.seal import BLANK, KEY, sealed
from mim3d.errors import StoreError
from mim3d.geometry import Triple, Vector

FORMAT = "mim3d-store"
VERSION = 1
PARTIAL = ".partial"
"""Folder of a store where cases are written aside."""
MOST_SCALES = 3
SMALLEST = 32
"""Voxels: a scale with a smaller axis is not halved again."""


@dataclass(frozen=True)
class Settings:
    """What all cases of a store share."""

    spacing: Vector | None
    """Of the working grid, mm; None keeps each scan's own."""
    keep_native: bool = False
    """Whether scans finer than the working grid are kept beside it."""


def case_folder(store: Same, case: str) -> Same:
    """The folder of one case."""
    return store / "cases" / f"{case}.ome.zarr"


def num_scales(shape: Triple) -> int:
    """Scales kept of a volume of `shape` voxels, the working scale among them."""
    scales, smallest = 1, min(shape)
    while scales < MOST_SCALES and smallest >= SMALLEST:
        scales, smallest = scales + 1, -(-smallest // 2)
    return scales


def write_description(store: Path, settings: Settings, label_sets: dict[str, LabelSet]) -> None:
    """Write store.json, whole or not at all."""
    description = {
        "format": FORMAT,
        "version": VERSION,
        "spacing": "native" if settings.spacing is None else list(settings.spacing),
        "keep_native": settings.keep_native,
        "label_sets": {
            name: {"structures": labels.structures, "colours": labels.colours, "ignore": labels.ignore}
            for name, labels in sorted(label_sets.items())
        },
        KEY: BLANK,
    }
    unfinished = store / f".{os.getpid()}-store.json"
    unfinished.write_bytes(sealed(json.dumps(description, indent=2).encode() + b"\n"))
    os.replace(unfinished, store / "store.json")


def read_description(store: Place) -> tuple[Settings, dict[str, LabelSet]]:
    """Settings and label sets of a store.

    Raises:
        StoreError: If this is no store, a damaged one, or one of another version.
    """
    file = store / "store.json"
    if not file.is_file():
        raise StoreError(f"{store}: {_no_store(store)}")
    try:
        description: dict[str, Any] = json.loads(file.read_text())
        if description["format"] != FORMAT:
            raise ValueError(description["format"])
        _require_version(store, description["version"])
        spacing = description["spacing"]
        settings = Settings(None if spacing == "native" else _vector(spacing), description["keep_native"])
        return settings, {name: LabelSet(name, **one) for name, one in description["label_sets"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{file}: not the description of a store ({error}); it needs format {FORMAT!r}, version "
            f"{VERSION}: restore it, or prepare into a new folder"
        ) from error


def _no_store(store: Place) -> str:
    """What a place is, or how it can become a store, that is none."""
    if not isinstance(store, Path):
        return f"no store.json there, so no store; bring one there with `mim3d copy STORE {store}`"
    if store.is_file():
        return "a file, but the folder of one store is needed; of a mixture, name its stores one by one"
    if store.is_dir():
        return (
            "a folder without store.json, but a store is needed; if it holds scans, make one of them: "
            f"`mim3d prepare {store} STORE`"
        )
    return f"no such folder, but a store is needed; make one with `mim3d prepare RAW {store}`"


def _require_version(store: Place, version: Any) -> None:
    if version != VERSION:
        raise StoreError(
            f"{store}: a store of version {version}, but this mim3d reads version {VERSION}; prepare it "
            "again into a new folder, or use the mim3d that made it"
        )


def _vector(values: Any) -> Vector:
    x, y, z = map(float, values)
    return (x, y, z)
