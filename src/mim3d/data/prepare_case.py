"""One scan into one case: what a worker does. All it needs is in its task; nothing it says names a source."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mim3d.data.case_channels import (
    channels_as_text,
    measured,
    modality_of,
    notes_of,
    quantised,
    read_source,
    stacked,
)
from mim3d.data.catalog import Case, Rejected
from mim3d.data.dicom_folders import COPY
from mim3d.data.dicom_held import DAMAGED, PLACELESS
from mim3d.data.dicom_kinds import ASKED_FOR, LOCALIZER
from mim3d.data.dicom_labels import is_drawn, read_drawn
from mim3d.data.dicom_study import Study
from mim3d.data.dicom_zip import on_disk
from mim3d.data.foreground import foreground_table
from mim3d.data.grids import joined
from mim3d.data.guard import require_volume
from mim3d.data.intensity import Quantised
from mim3d.data.label_check import checked_labels, labels_note, require_same_grid
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, num_scales
from mim3d.data.mask_folder import is_mask_folder, read_masks
from mim3d.data.perceptual import perceptual_hash
from mim3d.data.resample import labels_to_grid
from mim3d.data.sources import Source, Split
from mim3d.data.store_writer import Content, content_hash, write_case
from mim3d.data.straighten import straightened
from mim3d.data.targets import targets_text
from mim3d.data.volume import Volume, canonical, read_volume
from mim3d.data.working_grid import on_working_grid
from mim3d.errors import MimError, StoreError
from mim3d.geometry import Vector


@dataclass(frozen=True, kw_only=True)
class Task:
    """One scan to prepare."""

    source: Source
    case: str
    patient: str
    """Keyed hash."""
    study: str = ""
    """Keyed hash, empty if not known."""
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
    if task.source.left_out:
        return Rejected(key=task.key, reason=_left_out(task.source.left_out))
    try:
        content = _load(task)
    except (AssertionError, MemoryError):
        raise
    except Exception as error:  # readers of broken files raise whatever they like; others go on
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


_REMEDIES = {
    **dict.fromkeys(ASKED_FOR, ", no scan: left out; `--derived` takes it, and so does a CSV that names it"),
    LOCALIZER: ", no scan: left out; a CSV takes what it names",
    COPY: ": left out; a CSV takes what it names",
    PLACELESS: ", no scan: left out, as it cannot be a slice",
    DAMAGED: ": left out; a whole, standard file is needed: export or copy it again",
}
"""What is said behind the name of something that is found, but not read."""


def _left_out(what: str) -> str:
    return what + _REMEDIES.get(what, "")


SHORTEST_NAME = 3
"""Letters of a name that is taken out of a reason: shorter ones tell nobody anything, and are words."""


def anonymous(reason: str, source: Source) -> str:
    """The reason in one line without the names of the files, folders and people it is about."""
    reason = " ".join(reason.split())
    words = {source.patient: "the patient"} if source.patient else {}
    for name in source.parts.names if source.parts is not None else ():
        words.update(dict.fromkeys(name.split("/"), "a file"))
    files = ((source.label, "the label map"), *((file, "the scan") for file in (*source.more, source.image)))
    for path, word in files:
        if path is not None:
            held = on_disk(path)
            words[held.name] = "the archive"
            folder = held if held.is_dir() else held.parent
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
    """Read, canonicalise, set upright, resample and measure the channels of a scan and its label map."""
    stored = read_source(task.source)
    volumes = [canonical(one) for one in stored]
    for one in volumes:
        require_volume("the scan", one.shape, one.spacing)
    label_maps, said = _read_labels(task, stored[0], volumes[0])
    read = notes_of(stored)
    study = stored[0].study
    del stored  # a scan of floats is twice as large as what is kept of it
    kept = quantised(volumes)
    volumes = [replace(volume, array=one.array) for volume, one in zip(volumes, kept, strict=True)]
    found = on_working_grid(volumes, kept, task.settings.spacing)
    spacing = found.straight[0].spacing
    target = task.settings.spacing or spacing
    label_maps = {
        name: labels_to_grid(
            straightened(replace(volumes[0], array=one), found.grid, outside=0, order=0), spacing, target
        )
        for name, one in label_maps.items()
    }
    finer = any(source < 0.999 * wanted for source, wanted in zip(spacing, target, strict=True))
    native = found.straight if task.settings.keep_native and finer else []
    note = joined(task.source.note, read, found.grid.note, said)
    return _content(task, found.kept, found.working, label_maps, _Source(spacing, native, note, study))


@dataclass(frozen=True, eq=False)
class _Source:
    """What is kept of a scan beside its working grid."""

    spacing: Vector
    """As it came, canonical axes, mm."""
    native: list[Volume]
    """Its channels, if the finer original is kept."""
    note: str
    study: Study


def _content(
    task: Task,
    kept: list[Quantised],
    working: list[Volume],
    label_maps: dict[str, NDArray[Any]],
    source: _Source,
) -> Content:
    """What is written, from the working grid's voxels, channel by channel."""
    spacing = task.settings.spacing or source.spacing
    array = stacked([one.array for one in kept])
    channels, body = measured(kept, working, task.source.channels)
    first = channels[0]
    case = Case(
        case=task.case,
        patient=task.patient,
        split=task.split,
        shape=working[0].shape,
        spacing=spacing,
        source_spacing=source.spacing,
        hash=content_hash(array, spacing, label_maps),
        statistics=first.statistics,
        labels={name: _annotated(task) for name in label_maps},
        scales=num_scales(working[0].shape),
        native=source.native[0].spacing if source.native else None,
        modality=modality_of(channels),
        slope=first.slope,
        padding=first.padding,
        channels=channels_as_text(channels),
        block=task.block,
        note=source.note,
        targets=targets_text(task.source.targets),
        fold=task.source.fold,
        study=task.study,
        **source.study.columns(),
        fingerprint=task.fingerprint,
        perceptual_hash=perceptual_hash(kept[0].array, spacing, channels[0].modality),
    )
    table = foreground_table(task.case, body, [label_maps[name] for name in sorted(label_maps)])
    native = stacked([one.array for one in source.native]) if source.native else None
    return Content(case, array, working[0].affine, table, label_maps, native)


def _annotated(task: Task) -> tuple[int, ...]:
    """Values of the structures that were annotated in this case."""
    assert task.label_set is not None
    named = task.label_set.structures if task.source.annotated is None else task.source.annotated
    return tuple(sorted(task.label_set.values(named)))


def _read_labels(task: Task, stored: Volume, volume: Volume) -> tuple[dict[str, NDArray[Any]], str]:
    """Label maps (X, Y, Z) on the scan's canonical grid, none without a source; what to say of them."""
    path, label_set = task.source.label, task.label_set
    if path is None or label_set is None:
        return {}, ""
    drawn = ""
    if is_drawn(path):
        array, drawn = read_drawn(path, stored, label_set)
        labels = canonical(Volume(array, stored.affine))
    elif is_mask_folder(path):
        labels = canonical(read_masks(path, label_set))
    else:
        labels = canonical(read_volume(path))
    require_same_grid(volume, labels)
    checked = checked_labels(labels.array, label_set)
    return {label_set.name: checked}, joined(drawn, labels_note(checked, label_set, _annotated(task)))
