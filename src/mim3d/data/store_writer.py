"""One case into the store, whole or not at all, as an OME-Zarr 0.5 image.

Arrays in memory are (X, Y, Z), files keep z, y, x. Each array is one shard of small chunks, each chunk
compressed and then checksummed (crc32c last: a flipped bit is an error, never a voxel).
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from mim3d.data.arrays import context, turned
from mim3d.data.catalog import Case
from mim3d.data.labels import LabelSet
from mim3d.data.layout import PARTIAL, case_folder
from mim3d.data.resample import halve
from mim3d.data.seal import seal_case
from mim3d.geometry import Vector

CHUNK = 32
"""Voxels per axis of an inner chunk: what one read decompresses at least."""
OME = "0.5"


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that is written of one case."""

    case: Case
    array: NDArray[np.int16]
    """(X, Y, Z), or (C, X, Y, Z) of several channels, working grid."""
    affine: NDArray[np.float64]
    """(4, 4), voxel index of the working grid to RAS+ mm."""
    foreground: NDArray[np.int32]
    """(N, 5), see `foreground.py`."""
    label_maps: dict[str, NDArray[Any]]
    """Label set -> (X, Y, Z), working grid."""
    native: NDArray[np.int16] | None = None
    """The finer original, as `array`; None if it is not kept."""


def content_hash(array: NDArray[np.int16], spacing: Vector, label_maps: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of voxels, (X, Y, Z) or (C, X, Y, Z), spacing (mm) and label maps (X, Y, Z) of a case.

    Voxels are taken in the order of the files, Z before Y before X.
    """
    digest = hashlib.sha256(json.dumps([array.shape, spacing]).encode())
    digest.update(np.ascontiguousarray(turned(array), "<i2").data)
    for name in sorted(label_maps):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(turned(label_maps[name]), "<u2").data)
    return digest.hexdigest()


def write_case(store: Path, content: Content, label_sets: dict[str, LabelSet]) -> None:
    """Write one case aside, flush it to disk, and move it to its place; what was there before is replaced."""
    final = case_folder(store, content.case.case)
    partial = store / PARTIAL / f"{content.case.case}-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    _write_image(partial, content)
    _write_labels(partial / "labels", content, label_sets)
    _create(partial, "foreground", content.foreground, sharded=False)
    seal_case(partial)
    put_in_place(partial, final)


def put_in_place(partial: Path, final: Path) -> None:
    """Flush the folder of a case to disk, and move it to its place; what was there before is replaced."""
    _flush(partial)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        old = partial.with_name(partial.name + "-old")
        os.replace(final, old)
        os.replace(partial, final)
        shutil.rmtree(old)
    else:
        os.replace(partial, final)
    _flush_one(final.parent)


def _write_image(folder: Path, content: Content) -> None:
    case, array = content.case, content.array
    spacings = [_times(case.spacing, 2.0**scale) for scale in range(case.scales)]
    attributes = {
        "ome": _ome(case.case, case.spacing, spacings, channels=array.ndim > 3),
        "mim3d": {**case.attributes(), "affine": content.affine.tolist()},
    }
    zarr.create_group(folder, zarr_format=3, attributes=attributes)
    fill = round(case.padding / case.slope)
    for scale in range(case.scales):
        array = _halved(array) if scale else array
        _create(folder, str(scale), turned(array), fill=fill)
    if content.native is not None and case.native is not None:
        channels = content.native.ndim > 3
        native = {"ome": _ome(f"{case.case} native", case.spacing, [case.native], channels=channels)}
        zarr.create_group(folder / "native", zarr_format=3, attributes=native)
        _create(folder / "native", "0", turned(content.native), fill=fill)


def _halved(array: NDArray[np.int16]) -> NDArray[np.int16]:
    """Half as large along X, Y and Z, channel by channel."""
    return halve(array) if array.ndim == 3 else np.stack([halve(channel) for channel in array])


def _write_labels(folder: Path, content: Content, label_sets: dict[str, LabelSet]) -> None:
    if not content.label_maps:
        return
    listed = {"ome": {"version": OME, "labels": sorted(content.label_maps)}}
    zarr.create_group(folder, zarr_format=3, attributes=listed)
    for name, labels in content.label_maps.items():
        spacing = content.case.spacing
        ome = {**_ome(name, spacing, [spacing]), "image-label": _image_label(label_sets[name])}
        zarr.create_group(folder / name, zarr_format=3, attributes={"ome": ome})
        _create(folder / name, "0", turned(labels))


def _create(folder: Path, name: str, array: NDArray[Any], *, fill: int = 0, sharded: bool = True) -> None:
    """Write an array, (Z, Y, X) or (C, Z, Y, X) voxels if `sharded`, else one chunk of rows."""
    beyond = array.shape[:-3] if sharded else ()
    side = (*(1 for _ in beyond), *(CHUNK,) * 3) if sharded else (max(len(array), 1), *array.shape[1:])
    shard = (*beyond, *(-(-n // CHUNK) * CHUNK for n in array.shape[-3:])) if sharded else None
    zarr.create_array(
        folder,
        name=name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=side,
        shards=shard,
        compressors=[BloscCodec(cname="lz4", clevel=9, shuffle="bitshuffle"), Crc32cCodec()],
        fill_value=fill,
        dimension_names=("c", "z", "y", "x")[-array.ndim :] if sharded else None,
        zarr_format=3,
    )
    kvstore = {"driver": "file", "path": str((folder / name).resolve())}  # it knows no `..`
    written = tensorstore.open(
        {"driver": "zarr3", "kvstore": kvstore}, open=True, context=context(1)
    ).result()
    try:
        written[...].write(np.ascontiguousarray(array)).result()
    except ValueError as error:  # so TensorStore says that a disk is full
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(folder / name)) from error


def _ome(name: str, working: Vector, spacings: list[Vector], *, channels: bool = False) -> dict[str, Any]:
    """Multiscales metadata: `spacings` (X, Y, Z) of the scales, mm, with the outer edges of `working`."""
    first = [1.0] if channels else []
    datasets = []
    for number, spacing in enumerate(spacings):
        translation = [0.5 * (s - w) for s, w in zip(spacing, working, strict=True)]
        transformations = [
            {"type": "scale", "scale": [*first, *spacing[::-1]]},
            {"type": "translation", "translation": [*(0.0 for _ in first), *translation[::-1]]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    return {"version": OME, "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}


def _image_label(labels: LabelSet) -> dict[str, Any]:
    """Colours and names of a label set, as viewers expect them."""
    colours, properties = [], []
    for name, value in sorted(labels.structures.items(), key=lambda item: item[1]):
        rgb = bytes.fromhex(labels.colour(name).removeprefix("#"))
        colours.append({"label-value": value, "rgba": [*rgb, 255]})
        properties.append({"label-value": value, "name": name})
    return {"colors": colours, "properties": properties, "source": {"image": "../../"}}


def _times(values: Vector, factor: float) -> Vector:
    return (values[0] * factor, values[1] * factor, values[2] * factor)


def _flush(folder: Path) -> None:
    """Have the system write a folder with all that is in it to disk."""
    for path in (*folder.rglob("*"), folder):
        _flush_one(path)


def _flush_one(path: Path) -> None:
    """Have the system write a file to disk, or the list of what a folder holds."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
