"""The catalog: every case of a store in one table, and the table of scans that could not become cases.

What a case says of itself (`Case.attributes`, kept in the case's own zarr.json) is the truth; the Parquet
index is made from it, by one writer, and can be made again at any time.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mim3d.data.place import Place
from mim3d.data.rows import Rows, rows_by, rows_of
from mim3d.data.sources import Split
from mim3d.data.table_file import REMEDY, read_table, table_of, write_table
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
    "thickness": pa.float64(),
    "age": pa.int32(),
    "fold": pa.int32(),
    "statistics": None,
}
"""Types of the index' columns that are not strings; None: as pyarrow finds them (a struct of numbers)."""

_REPEATED = ("labels", "targets", "split", "modality", "note")
"""Columns in which the same comes again and again: kept once in memory."""


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
    channels: str = ""
    """Of a case with several: JSON, see `case_channels`; slope, padding, statistics are the first one's."""
    block: bool = False
    """Whether the case is one block of a patient whose other blocks may lie in other splits."""
    note: str = ""
    targets: str = ""
    """What the case is classified by: JSON of target -> class, see `targets.py`; empty for none."""
    fold: int | None = None
    """Part, from 0, that its data set deals it into for cross-validation, if it says so."""
    study: str = ""
    """Keyed hash of the study: kernels and phases of one examination share it; empty if not known."""
    manufacturer: str = ""
    """Of the scanner, as `dicom_study.MAKERS` has it; this and what follows is empty if not known."""
    scanner: str = ""
    """Name of the model."""
    thickness: float | None = None
    """Of a slice, mm."""
    kernel: str = ""
    """Of the reconstruction."""
    contrast: str = ""
    """`yes` if an agent was given, `no` if the header says that none was."""
    phase: str = ""
    """Of the contrast: native, arterial, portal, venous, nephrographic, excretory or delayed."""
    age: int | None = None
    """Decade: 60 for 60 to 69 years; 90 for all above."""
    sex: str = ""
    """`F`, `M` or `O`."""
    fingerprint: str = ""
    """Keyed hash of all that the case is made from: another one means that it must be made anew."""
    perceptual_hash: str = ""
    """By which the same scan is recognised, see `perceptual.py`; empty in cases made before there was one."""

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

    cases: Sequence[Case]
    """Made when they are looked at, where they come from an index."""

    @cached_property
    def by_name(self) -> Mapping[str, Case]:
        """Cases by name."""
        if isinstance(self.cases, Rows):
            return rows_by(self.cases, "case")
        return {case.case: case for case in self.cases}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of which cases there are, what they hold, and how they are classified and divided."""
        columns = (self.column(name) for name in ("case", "split", "hash"))
        labels = (_items_text(tuple(sorted(one.items()))) for one in self.column("labels"))
        targets = (f", {text}" if text else "" for text in self.column("targets"))
        digest = hashlib.sha256(b"[")
        folds = ("" if fold is None else f", fold {fold}" for fold in self.column("fold"))
        rows = sorted(zip(*columns, labels, targets, folds, strict=True))
        for number, (*row, known, classes, fold) in enumerate(rows):
            line = f"{json.dumps(row)[:-1]}, {known}{classes}{fold}]"
            digest.update(f"{', ' if number else ''}{line}".encode())
        digest.update(b"]")
        return digest.hexdigest()

    def column(self, name: str) -> list[Any]:
        """One field of all cases; no case is made for it."""
        return column_of(self.cases, name)

    def select(self, split: Split | None = None, labels: str | None = None) -> "Catalog":
        """The cases of one split, or with one label set, or both."""
        places: Sequence[int] = range(len(self.cases))
        if split is not None:
            splits = self.column("split")
            places = [place for place in places if splits[place] == split]
        if labels is not None:
            sets = self.column("labels")
            places = [place for place in places if labels in sets[place]]
        return Catalog(chosen(self.cases, places))


def column_of(cases: Sequence[Case], name: str) -> list[Any]:
    """One field of some cases; no case is made for it."""
    if not isinstance(cases, Rows):
        return [getattr(case, name) for case in cases]
    default = next((one.default for one in fields(Case) if one.name == name), None)
    if name not in cases.table.column_names:  # an index made before there was this field
        return [default] * len(cases)
    values = cases.column(name)
    if default not in (None, MISSING):  # of a mixture with such a store
        values = [default if value is None else value for value in values]
    return [_labels(text) for text in values] if name == "labels" else values


def chosen(cases: Sequence[Case], places: Sequence[int]) -> Sequence[Case]:
    """Some of the cases, in the order of their places among them; none is made."""
    if isinstance(cases, Rows):
        return cases.at(cases.places[np.asarray(places, np.int64)])
    return tuple(cases[place] for place in places)


def joined(parts: Mapping[str, Catalog]) -> Catalog:
    """The cases of several catalogs as one, sorted by name: case `c` of part `p` is named `p/c`."""
    tables = []
    for name, catalog in parts.items():
        rows = catalog.cases
        table = rows.table.take(rows.places) if isinstance(rows, Rows) else _table(rows)
        for column in set(_REPEATED) & set(table.column_names):
            place = table.column_names.index(column)
            table = table.set_column(place, column, table.column(column).cast(pa.string()))
        names = pa.array([f"{name}/{own}" for own in table.column("case").to_pylist()], pa.string())
        tables.append(table.set_column(table.column_names.index("case"), "case", names))
    whole = pa.concat_tables(tables, promote_options="permissive").sort_by("case")
    for column in set(_REPEATED) & set(whole.column_names):
        place = whole.column_names.index(column)
        whole = whole.set_column(place, column, whole.column(column).combine_chunks().dictionary_encode())
    return Catalog(rows_of(whole, _case_of_row))


def write_index(store: Path, cases: Iterable[Case]) -> None:
    """Write the index of a store, cases in order of their names, whole or not at all."""
    write_table(store / INDEX, _table(sorted(cases, key=lambda case: case.case)))


def _table(cases: Iterable[Case]) -> pa.Table:
    ordered = list(cases)
    columns = {column.name: [getattr(case, column.name) for case in ordered] for column in fields(Case)}
    columns["labels"] = [json.dumps(labels) for labels in columns["labels"]]
    arrays = [pa.array(values, type=_TYPES.get(name, pa.string())) for name, values in columns.items()]
    return pa.table(arrays, names=list(columns))


def read_index(store: Place) -> Catalog:
    """The catalog as its index has it; columns that older versions did not write have their defaults.

    Raises:
        StoreError: If the index cannot be read.
    """
    return _catalog_of(read_table(store / INDEX, repeated=_REPEATED))


def index_of(content: bytes) -> Catalog:
    """The catalog in the content of an index file; see `read_index`."""
    return _catalog_of(table_of(content, INDEX, repeated=_REPEATED))


def _catalog_of(table: pa.Table) -> Catalog:
    needed = (column.name for column in fields(Case) if MISSING is column.default is column.default_factory)
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise StoreError(f"{INDEX}: column {missing[0]} is missing; {REMEDY}")
    return Catalog(rows_of(table, _case_of_row))


_FIELDS = frozenset(column.name for column in fields(Case))


def _case_of_row(row: dict[str, Any]) -> Case:
    known = {name: value for name, value in row.items() if name in _FIELDS and value is not None}
    known["labels"] = _labels(known["labels"])
    for name in ("shape", "spacing", "source_spacing", "native"):
        known[name] = None if known.get(name) is None else tuple(known[name])
    return Case(**known)


def write_rejected(store: Path, rejected: Iterable[Rejected]) -> None:
    """Write the table of scans that are not in the store, whole or not at all."""
    ordered = sorted(rejected, key=lambda scan: scan.key)
    columns = {"key": [scan.key for scan in ordered], "reason": [scan.reason for scan in ordered]}
    write_table(
        store / REJECTED, pa.table(columns, schema=pa.schema([("key", pa.string()), ("reason", pa.string())]))
    )


def read_rejected(store: Place) -> tuple[Rejected, ...]:
    """The scans that are not in the store, and why; none if there is no such table."""
    if not (store / REJECTED).is_file():
        return ()
    columns = read_table(store / REJECTED).to_pydict()
    return tuple(Rejected(key=k, reason=r) for k, r in zip(columns["key"], columns["reason"], strict=True))


@lru_cache(maxsize=4096)
def _labels(text: str) -> dict[str, tuple[int, ...]]:
    """Cases with the same labels share one dict."""
    return {name: tuple(values) for name, values in json.loads(text).items()}


@lru_cache(maxsize=4096)
def _items_text(items: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    return json.dumps(items)
