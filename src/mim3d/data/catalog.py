"""The catalog: every case of a store in one table, and the table of scans that could not become cases.

What a case says of itself (`Case.attributes`, kept in the case's own zarr.json) is the truth; the Parquet
index is made from it, by one writer, and can be made again at any time.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from mim3d.data.seal import BLANK, KEY, sealed
from mim3d.data.sources import Split
from mim3d.errors import StoreError
from mim3d.geometry import Triple, Vector

INDEX = "index.parquet"
REJECTED = "rejected.parquet"

_THREE = pa.list_(pa.float64(), 3)
_TYPES = {
    "shape": pa.list_(pa.int32(), 3),
    "spacing": _THREE,
    "source_spacing": _THREE,
    "native": _THREE,
    "labels": pa.string(),
    "scales": pa.int32(),
    "slope": pa.float64(),
    "padding": pa.float64(),
    "block": pa.bool_(),
    "statistics": None,
}
"""Types of the index' columns that are not strings; None: as pyarrow finds them (a struct of numbers)."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan of a store."""

    case: str
    """Name, unique in the store."""
    patient: str
    """Keyed hash of the patient's identifier."""
    split: Split
    shape: Triple
    """Voxels of the working grid."""
    spacing: Vector
    """Of the working grid, mm."""
    source_spacing: Vector
    """Of the scan as it came, in canonical axis order, mm."""
    hash: str
    """SHA-256 of what is stored: voxels and labels of the working grid, spacing."""
    statistics: dict[str, float]
    """Intensities of the body, HU for CT; see `intensity.statistics`."""
    labels: dict[str, tuple[int, ...]]
    """Label set -> values of the structures that were annotated in this case."""
    scales: int = 1
    """Scales stored: the working one and half-size ones."""
    native: Vector | None = None
    """Spacing of the finer original kept beside the working scale, mm, if there is one."""
    modality: str = "CT"
    slope: float = 1.0
    """Intensity of one stored step, HU for CT."""
    padding: float = -1024.0
    """Intensity outside the volume, HU for CT."""
    block: bool = False
    """Whether the case is one block of a patient whose other blocks may lie in other splits."""
    note: str = ""
    fingerprint: str = ""
    """Keyed hash of all that the case is made from: another one means that it must be made anew."""

    def attributes(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(vars(self)))
        return plain

    @staticmethod
    def from_attributes(plain: Mapping[str, Any]) -> "Case":
        """The case whose `attributes` these are; what else is among them is left alone."""
        known = {column.name: plain[column.name] for column in fields(Case) if column.name in plain}
        for name in ("shape", "spacing", "source_spacing", "native"):
            known[name] = tuple(known[name]) if known.get(name) is not None else None
        known["labels"] = {name: tuple(values) for name, values in known["labels"].items()}
        return Case(**known)


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A scan that is not in the store."""

    key: str
    """Keyed hash; the private file beside the store says of what."""
    reason: str


@dataclass(frozen=True)
class Catalog:
    """The cases of a store, sorted by name."""

    cases: tuple[Case, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Case]:
        """Cases by name."""
        return {case.case: case for case in self.cases}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of which cases there are, what they hold and how they are split, in whatever order made."""
        lines = [[c.case, c.split, c.hash, sorted(c.labels.items())] for c in self.cases]
        return hashlib.sha256(json.dumps(sorted(lines)).encode()).hexdigest()

    def select(self, split: Split | None = None, labels: str | None = None) -> "Catalog":
        """The cases of one split, or with one label set, or both."""
        return Catalog(
            tuple(
                case
                for case in self.cases
                if (split is None or case.split == split) and (labels is None or labels in case.labels)
            )
        )


def write_index(store: Path, cases: Iterable[Case]) -> None:
    """Write the index of a store, cases in order of their names, whole or not at all."""
    ordered = sorted(cases, key=lambda case: case.case)
    columns = {column.name: [getattr(case, column.name) for case in ordered] for column in fields(Case)}
    columns["labels"] = [json.dumps(labels) for labels in columns["labels"]]
    arrays = [pa.array(values, type=_TYPES.get(name, pa.string())) for name, values in columns.items()]
    _write(store / INDEX, pa.table(arrays, names=list(columns)))


def read_index(store: Path) -> Catalog:
    """The catalog as its index has it.

    Raises:
        StoreError: If the index cannot be read.
    """
    columns = _read(store / INDEX)
    missing = [column.name for column in fields(Case) if column.name not in columns]
    if missing:
        raise StoreError(f"{INDEX}: column {missing[0]} is missing; {_REMEDY}")
    columns["labels"] = [_labels(text) for text in columns["labels"]]
    for name in ("shape", "spacing", "source_spacing", "native"):
        columns[name] = [None if value is None else tuple(value) for value in columns[name]]
    names = [column.name for column in fields(Case)]
    rows = zip(*(columns[name] for name in names), strict=True)
    return Catalog(tuple(Case(**dict(zip(names, row, strict=True))) for row in rows))


def write_rejected(store: Path, rejected: Iterable[Rejected]) -> None:
    """Write the table of scans that are not in the store, whole or not at all."""
    ordered = sorted(rejected, key=lambda scan: scan.key)
    columns = {"key": [scan.key for scan in ordered], "reason": [scan.reason for scan in ordered]}
    _write(
        store / REJECTED, pa.table(columns, schema=pa.schema([("key", pa.string()), ("reason", pa.string())]))
    )


def read_rejected(store: Path) -> tuple[Rejected, ...]:
    """The scans that are not in the store, and why; none if there is no such table."""
    if not (store / REJECTED).exists():
        return ()
    columns = _read(store / REJECTED)
    return tuple(Rejected(key=k, reason=r) for k, r in zip(columns["key"], columns["reason"], strict=True))


_REMEDY = "delete it and run `mim3d prepare` on the store again, which makes it from the cases"


def _write(path: Path, table: pa.Table) -> None:
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    parquet.write_table(table.replace_schema_metadata({KEY: BLANK}), unfinished)
    unfinished.write_bytes(sealed(unfinished.read_bytes()))
    os.replace(unfinished, path)


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path.name}: not a readable table ({type(error).__name__}); {_REMEDY}") from error
    return columns


@lru_cache(maxsize=4096)
def _labels(text: str) -> dict[str, tuple[int, ...]]:
    """Cases with the same labels share one dict."""
    return {name: tuple(values) for name, values in json.loads(text).items()}
