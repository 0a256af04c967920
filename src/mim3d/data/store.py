"""The store: any box of any case, at any resolution, in intensities, labels or places.

Boxes are on the case's working grid (`geometry.Box`), results are (X, Y, Z). Files keep z, y, x; that order
does not leave this module. Handles are opened when first used, once per process.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.arrays import name_of, open_array, read_view, remedy, turned
from mim3d.data.case_channels import slopes_of
from mim3d.data.catalog import INDEX, Case, Catalog, joined, read_index
from mim3d.data.cells import TOLERANCE, cells_of, sampled_at, scale_of, scaled_box, steps_of
from mim3d.data.foreground import voxels_of
from mim3d.data.labels import LabelSet
from mim3d.data.layout import case_folder, read_description
from mim3d.data.mixture import Member, filtered, is_mixture, read_mixture
from mim3d.data.place import Place, place_of
from mim3d.data.resample import needed_range, sample_nearest
from mim3d.data.seal import seal_holds, written_at
from mim3d.errors import StoreError
from mim3d.geometry import Box, Triple, Vector


@dataclass(frozen=True)
class Store:
    """A prepared store, open for reading; small to pickle, safe to use in any process."""

    path: Place
    spacing: Vector | None
    """Of the working grid, mm; None if every case keeps its own."""
    catalog: Catalog
    label_sets: dict[str, LabelSet]
    members: tuple[Member, ...] = ()
    """The stores of a mixture, whose cases are named `member/case`; none of a plain store."""

    @property
    def hash(self) -> str:
        """Of the catalog; of a mixture also of its weights and conditions."""
        if not self.members:
            return self.catalog.hash
        said = [[member.name, member.weight, list(map(astuple, member.where))] for member in self.members]
        return hashlib.sha256(json.dumps([sorted(said), self.catalog.hash]).encode()).hexdigest()

    def case(self, name: str) -> Case:
        """What the catalog says of a case.

        Raises:
            StoreError: If there is no such case.
        """
        found = self.catalog.by_name.get(name)
        if found is None:
            count = len(self.catalog.cases)
            raise StoreError(
                f"{self.path}: no case {name!r} among its {count}; `catalog.by_name` has them all"
            )
        return found

    def folder(self, case: str) -> Place:
        """Where a case lies."""
        if not self.members:
            return case_folder(self.path, case)
        name, _, own = case.partition("/")
        return case_folder(next(member.path for member in self.members if member.name == name), own)

    def read(
        self,
        case: str,
        box: Box,
        shape: Triple,
        out: NDArray[np.float32] | None = None,
        *,
        finer: bool = True,
    ) -> NDArray[np.float32]:
        """Intensities of a box, at the centres of `shape` equal cells.

        Read from the coarsest scale that is not coarser than asked, or from the finer original where that is
        asked and kept; interpolated linearly; where cells hold several voxels, their mean.

        Args:
            case: Name of the case.
            box: Where to look, voxels of the working grid.
            shape: Cells per axis (X, Y, Z).
            out: Where to put the result; None: a new array.
            finer: Whether the finer original is read, where that is asked and kept.

        Returns:
            (C, X, Y, Z), HU for CT; outside the volume the case's padding (-1024 HU). In memory as in the
            files: X is next to X, not Z next to Z.

        Raises:
            StoreError: If there is no such case, or its data are damaged.
        """
        entry = self.case(case)
        name, voxel = _choose(entry if finer else replace(entry, native=None), box, shape)
        whole = scaled_box(box, voxel)
        array, ours, origin = self._cut(case, name, whole, sampled_at(whole, shape))
        x, y, z = (n / v - o for n, v, o in zip(entry.shape, voxel, origin, strict=True))
        channels = slopes_of(entry)
        parts = [array] if array.ndim == 3 else [array[..., number] for number in range(len(channels))]
        if out is None:
            out = turned(np.empty((len(parts), *shape[::-1]), np.float32))  # (C, X, Y, Z)
        for place, part, (slope, padding) in zip(out, parts, channels, strict=True):
            cells_of(part, ours, shape, padding / slope, (x, y, z), place)
            if slope != 1.0:
                np.multiply(place, np.float32(slope), out=place)
        return out

    def read_labels(self, case: str, labels: str, box: Box, shape: Triple) -> NDArray[np.uint16]:
        """Label values of a box, each of `shape` equal cells from the voxel that holds its centre.

        Args:
            case: Name of the case.
            labels: Name of the label set.
            box: Where to look, voxels of the working grid.
            shape: Cells per axis (X, Y, Z).

        Returns:
            (X, Y, Z), 0 outside the volume.

        Raises:
            StoreError: If the case does not have these labels, or its data are damaged.
        """
        self._require(case, labels)
        array, ours, _ = self._cut(case, f"labels/{labels}/0", box, shape)
        return np.ascontiguousarray(sample_nearest(array, ours, shape)).astype(np.uint16, copy=False)

    def foreground(self, case: str, labels: str | None) -> dict[int, NDArray[np.int32]]:
        """Random voxels (N, 3) of the working grid inside each structure that occurs, or inside the body.

        Args:
            case: Name of the case.
            labels: Name of the label set, keys are its values, up to 1000 voxels each; None: the body, key 0,
                up to 4096 voxels.

        Raises:
            StoreError: If the case does not have these labels, or its data are damaged.
        """
        number = 0
        if labels is not None:
            self._require(case, labels)
            number = 1 + sorted(self.case(case).labels).index(labels)
        folder = self.folder(case)
        found = voxels_of(_table(folder, written_at(folder)), number)
        return found if labels is not None else {0: found.get(0, np.empty((0, 3), np.int32))}

    def attributes(self, case: str) -> Mapping[str, Any]:
        """All that a case's own file says of it, with the (4, 4) `affine` of its working grid to RAS+ mm."""
        self.case(case)
        return read_attributes(self.folder(case))

    def _require(self, case: str, labels: str) -> None:
        if labels not in self.case(case).labels:
            known = ", ".join(sorted(self.case(case).labels)) or "none"
            raise StoreError(f"case {case}: no label set {labels!r}; it has: {known}")

    def _cut(self, case: str, name: str, box: Box, shape: Triple) -> tuple[NDArray[Any], Box, Vector]:
        """The part of an array (X, Y, Z, ...) that a box needs, the box within it, where the part starts."""
        handle = open_array(self.folder(case), name)
        z, y, x = handle.shape[-3:]
        (x0, x1), (y0, y1), (z0, z1) = needed_range(box, shape, (x, y, z))
        part = read_view(self.folder(case), name, handle[..., z0:z1, y0:y1, x0:x1]).T
        start = (box.start[0] - x0, box.start[1] - y0, box.start[2] - z0)
        return part, Box(start, box.size), (float(x0), float(y0), float(z0))


def open_store(path: Place | str) -> Store:
    """Open a store, or a mixture of stores, in a folder or at a URL, for reading.

    Raises:
        StoreError: If this is no store, one of another version, or a damaged one; or no mixture, or one of
            stores that do not go together.
        UnreachableError: If its object store cannot be reached.
    """
    path = place_of(path)
    if is_mixture(path):
        return _open_mixture(path)
    settings, label_sets = read_description(path)
    catalog = read_index(path) if (path / INDEX).is_file() else rebuild_catalog(path)
    return Store(path, settings.spacing, catalog, label_sets)


def _open_mixture(path: Place) -> Store:
    members = read_mixture(path)
    for member in members:
        if is_mixture(member.path):
            raise StoreError(f"{path}: member {member.name} is a mixture itself; name its stores instead")
    stores = {member.name: open_store(member.path) for member in members}
    first = members[0].name
    for name, store in stores.items():
        if store.spacing != stores[first].spacing:
            raise StoreError(
                f"{path}: {first} is at a spacing of {_mm(stores[first])}, {name} of {_mm(store)}; prepare "
                "one of them again, at the spacing of the other"
            )
    catalog = joined({member.name: filtered(stores[member.name].catalog, member) for member in members})
    return Store(path, stores[first].spacing, catalog, _shared(stores.values()), members)


def _shared(stores: Iterable[Store]) -> dict[str, LabelSet]:
    """The label sets of all stores; one that means different things in two of them cannot be used."""
    found: dict[str, LabelSet] = {}
    other = set()
    for store in stores:
        for name, labels in store.label_sets.items():
            known = found.setdefault(name, labels)
            if (known.structures, known.ignore) != (labels.structures, labels.ignore):
                other.add(name)
    return {name: labels for name, labels in found.items() if name not in other}


def _mm(store: Store) -> str:
    return "native" if store.spacing is None else f"{' x '.join(f'{side:g}' for side in store.spacing)} mm"


def rebuild_catalog(path: Place) -> Catalog:
    """The catalog as the cases themselves have it: what the index is made from.

    Raises:
        StoreError: If a case is damaged, or this is at a URL, where the index comes last.
    """
    if not isinstance(path, Path):
        raise StoreError(f"{path}: no {INDEX} there: a copy has not ended; run `mim3d copy` again")
    folders = sorted((path / "cases").glob("*.ome.zarr"))
    return Catalog(tuple(sorted((read_case(folder) for folder in folders), key=lambda case: case.case)))


def read_case(folder: Place) -> Case:
    """The case that lies in a folder, as the catalog has it.

    Raises:
        StoreError: If its zarr.json is missing, damaged or of another version.
    """
    attributes = read_attributes(folder)
    try:
        case = Case.from_attributes(attributes)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"case {name_of(folder)}: its zarr.json lacks {error}; {remedy(folder)}") from error
    if seal_holds((folder / "zarr.json").read_bytes()) is False:
        raise StoreError(
            f"case {name_of(folder)}: its zarr.json is not what was written (seal); {remedy(folder)}"
        )
    return case


def read_attributes(folder: Place) -> dict[str, Any]:
    """What a case says of itself.

    Raises:
        StoreError: If its zarr.json is missing or damaged.
    """
    try:
        attributes: dict[str, Any] = json.loads((folder / "zarr.json").read_text())["attributes"]["mim3d"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"case {name_of(folder)}: its zarr.json is missing or damaged; {remedy(folder)}"
        ) from error
    return attributes


def _choose(case: Case, box: Box, shape: Triple) -> tuple[str, Vector]:
    """Which array to read for cells this large, and the size of its voxels in voxels of the working grid."""
    steps = steps_of(box, shape)
    if case.native is not None:
        x, y, z = (n / s for n, s in zip(case.native, case.spacing, strict=True))
        if any(s < 1 and f < 1 - TOLERANCE for s, f in zip(steps, (x, y, z), strict=True)):
            return "native/0", (x, y, z)
    scale = scale_of(steps, case.scales)
    return str(scale), (2.0**scale,) * 3


@lru_cache(maxsize=64)
def _table(folder: Place, _written: int) -> NDArray[np.int32]:
    """The foreground table (N, 5) of a case."""
    return read_view(folder, "foreground", open_array(folder, "foreground"))
