"""One scan into one case: what a worker does. All it needs is in its task; nothing it says names a source."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.catalog import Case, Rejected
from mim3d.data.foreground import foreground_table
from mim3d.data.guard import require_volume, require_working_grid
from mim3d.data.intensity import Quantised, body_of, quantise, statistics
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, num_scales
from mim3d.data.resample import labels_to_grid, to_spacing
from mim3d.data.rtstruct import label_map, read_rtstruct
from mim3d.data.sources import Source, Split
from mim3d.data.store_writer import Content, content_hash, write_case
from mim3d.data.volume import Volume, canonical, read_volume
from mim3d.errors import DataError, MimError, StoreError
from mim3d.geometry import Vector

SAME_PLACE = 0.1
"""Corners of two grids this share of a voxel apart are the same: headers round differently."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One scan to prepare."""

    source: Source
    case: str
    patient: str
    """Keyed hash."""
    key: str
    """Keyed hash of the source: its name among the rejected."""
    split: Split
    block: bool
    fingerprint: str
    label_set: LabelSet | None
    """Of the source's label map, if it has one."""
    store: Path
    settings: Settings


def prepare_case(task: Task) -> Case | Rejected:
    """Write one case into the store, or say why it cannot be one.

    Raises:
        MemoryError: If there is too little.
        StoreError: If the store cannot be written.
    """
    try:
        content = _load(task)
    except (AssertionError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # readers of broken files raise whatever they like: the scan is rejected, others go on
        reason = str(error) if isinstance(error, MimError) else f"{type(error).__name__}: {error}"
        return Rejected(key=task.key, reason=anonymous(reason, task.source))
    label_sets = {} if task.label_set is None else {task.label_set.name: task.label_set}
    try:
        write_case(task.store, content, label_sets)
    except OSError as error:
        raise StoreError(
            f"{task.store}: case {task.case} could not be written ({error.strerror}); nothing of it is kept: "
            "make room or mend the permissions, then run the same command again"
        ) from error
    return content.case


SHORTEST_NAME = 3
"""Letters of a name that is taken out of a reason: shorter ones tell nobody anything, and are words."""


def anonymous(reason: str, source: Source) -> str:
    """The reason in one line without the names of the files, folders and people it is about."""
    reason = " ".join(reason.split())
    words = {source.patient: "the patient"} if source.patient else {}
    for path, word in ((source.label, "the label map"), (source.image, "the scan")):
        if path is not None:
            folder = path if path.is_dir() else path.parent
            children = []
            with suppress(OSError):  # of a folder that may not be listed
                children = [child.name for child in folder.iterdir()]
            words = {**dict.fromkeys(children, "a file"), str(folder): "the folder", **words}
            words.update({str(path): word, path.name: word})
    telling = [name for name in words if len(name) >= SHORTEST_NAME]
    for name in sorted(telling, key=len, reverse=True):
        reason = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", words[name], reason)
    return reason


def _load(task: Task) -> Content:
    """Read, canonicalise, resample and measure a scan and its label map."""
    stored = read_volume(task.source.image)
    volume = canonical(stored)
    require_volume("the scan", volume.shape, volume.spacing)
    require_working_grid(volume.shape, volume.spacing, task.settings.spacing or volume.spacing)
    kept = quantise(volume.array, volume.modality)
    volume = replace(volume, array=kept.array)
    label_maps = _read_labels(task, stored, volume)
    target = task.settings.spacing or volume.spacing
    working = to_spacing(volume, target)
    label_maps = {name: labels_to_grid(one, volume.spacing, target) for name, one in label_maps.items()}
    finer = any(source < 0.999 * wanted for source, wanted in zip(volume.spacing, target, strict=True))
    native = volume if task.settings.keep_native and finer else None
    measured = Quantised(working.array, kept.slope, kept.padding)
    return _content(task, measured, working.affine, label_maps, (volume, native))


def _content(
    task: Task,
    kept: Quantised,
    affine: NDArray[np.float64],
    label_maps: dict[str, NDArray[Any]],
    volumes: tuple[Volume, Volume | None],
) -> Content:
    """What is written, from the working grid's voxels; `volumes`: the scan as it came, and as kept beside."""
    volume, native = volumes
    spacing = task.settings.spacing or volume.spacing
    shape = (kept.array.shape[0], kept.array.shape[1], kept.array.shape[2])
    body = body_of(kept, volume.modality)
    case = Case(
        case=task.case,
        patient=task.patient,
        split=task.split,
        shape=shape,
        spacing=spacing,
        source_spacing=volume.spacing,
        hash=content_hash(kept.array, spacing, label_maps),
        statistics=statistics(kept, body),
        labels={name: _annotated(task) for name in label_maps},
        scales=num_scales(shape),
        native=None if native is None else native.spacing,
        modality=volume.modality,
        slope=kept.slope,
        padding=kept.padding,
        block=task.block,
        note=task.source.note,
        fingerprint=task.fingerprint,
    )
    table = foreground_table(task.case, body, [label_maps[name] for name in sorted(label_maps)])
    return Content(case, kept.array, affine, table, label_maps, None if native is None else native.array)


def _annotated(task: Task) -> tuple[int, ...]:
    """Values of the structures that were annotated in this case."""
    assert task.label_set is not None
    named = task.label_set.structures if task.source.annotated is None else task.source.annotated
    return tuple(sorted(task.label_set.values(named)))


def _read_labels(task: Task, stored: Volume, volume: Volume) -> dict[str, NDArray[Any]]:
    """Label maps (X, Y, Z) on the canonical grid of the scan, none if the source has none."""
    path, label_set = task.source.label, task.label_set
    if path is None or label_set is None:
        return {}
    if path.suffix.lower() == ".dcm":
        filled = label_map(read_rtstruct(path, stored), label_set, stored.shape)
        labels = canonical(Volume(filled, stored.affine))
    else:
        labels = canonical(read_volume(path))
    require_same_grid(volume, labels)
    return {label_set.name: checked_labels(labels.array, label_set)}


def require_same_grid(scan: Volume, labels: Volume) -> None:
    """Raise unless a label map lies voxel by voxel on its scan (both canonical)."""
    if scan.shape != labels.shape:
        raise DataError(
            f"the label map has {labels.shape} voxels, its scan {scan.shape}; both must lie on one grid: "
            "resample the label map to the scan (nearest neighbour)"
        )
    distance = _largest_distance(scan, labels)
    if distance > max(1e-3, SAME_PLACE * min(scan.spacing)):
        raise DataError(
            f"the label map lies up to {distance:.2f} mm off its scan ({_mm(labels.spacing)} against "
            f"{_mm(scan.spacing)} mm voxels); both must lie on one grid: give the scan that was annotated"
        )


def checked_labels(labels: NDArray[Any], label_set: LabelSet) -> NDArray[Any]:
    """Label values (X, Y, Z) as uint8 or uint16, whichever holds all of the set.

    Raises:
        DataError: If a value is not a whole number, or has no name in the set.
    """
    known = {0, *label_set.structures.values()} | (
        {label_set.ignore} if label_set.ignore is not None else set()
    )
    found = np.unique(labels)
    unknown = [float(value) for value in found if value not in known]
    if unknown:
        shown = ", ".join(f"{value:g}" for value in unknown[:5])
        raise DataError(
            f"the label map holds the values {shown}, which label set {label_set.name} does not name; name "
            "them in the data set's description, or correct the map"
        )
    return labels.astype(np.uint8 if max(known) < 256 else np.uint16)


def _largest_distance(one: Volume, other: Volume) -> float:
    """How far apart the corners of two grids of one shape lie, mm."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * one.shape - 0.5  # (8, 3)
    places = np.column_stack([corners, np.ones(8)])  # (8, 4)
    difference = places @ (one.affine - other.affine).T
    return float(np.linalg.norm(difference[:, :3], axis=1).max())


def _mm(spacing: Vector) -> str:
    return " x ".join(f"{side:.4g}" for side in spacing)
