"""What a preparation has to do: names, keys, splits and label sets of all scans, and what is done already."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mim3d.data.catalog import Case
from mim3d.data.dicom_header import is_dicom
from mim3d.data.dicom_zip import on_disk
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings
from mim3d.data.prepare_case import Task
from mim3d.data.private import Origin, Private
from mim3d.data.sources import Source, Split
from mim3d.data.splits import BLOCK, Row, Shares, assign_splits
from mim3d.data.targets import require_classes, targets_text
from mim3d.data.volume import files_beside
from mim3d.errors import DataError

PIPELINE = 3
"""Raised when the same scan and settings give other voxels: then cases are made anew."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class PlanInto:
    """The store that a preparation adds to."""

    store: Path
    settings: Settings
    private: Private
    existing: Mapping[str, Case]


@dataclass(frozen=True)
class Plan:
    """What a preparation has to do."""

    tasks: tuple[Task, ...]
    """Scans to prepare."""
    kept: tuple[str, ...]
    """Cases that are in the store as they should be, but perhaps for their targets."""
    reclassified: tuple[Case, ...]
    """Those of them whose targets have changed, with the new ones."""
    keys: frozenset[str]
    """Keyed hashes of all scans of the data set."""
    origins: tuple[Origin, ...]
    """For the private file."""


def make_plan(
    sources: Sequence[Source], label_sets: Mapping[str, LabelSet], into: PlanInto, shares: Shares
) -> Plan:
    """What is to be done to bring `sources` into a store, and what is done already.

    Raises:
        DataError: If cases share a name, a name cannot be a folder, a label set is not defined, a target has
            no classes, or a patient would be in two splits.
    """
    _require_label_sets(sources, label_sets)
    require_classes(sources)
    prints = _fingerprints(sources)
    names = _names(sources, prints, into)
    patients = [source.patient or f"case {name}" for source, name in zip(sources, names, strict=True)]
    splits = _splits(sources, names, patients, into, shares)
    tasks = [
        Task(
            source=source,
            case=name,
            patient=into.private.hash("patient", patient),
            study=into.private.hash("study", source.study) if source.study else "",
            key=into.private.hash("scan", _image(source)),
            split=splits[name],
            block=BLOCK in source.note,
            fingerprint=_fingerprint(source, files, splits[name], label_sets, into),
            label_set=label_sets[source.labels] if source.label is not None else None,
            store=into.store,
            settings=into.settings,
        )
        for source, name, patient, files in zip(sources, names, patients, prints, strict=True)
    ]
    kept = {task.case for task in tasks if _is_done(task, into.existing)}
    return Plan(
        tuple(task for task in tasks if task.case not in kept),
        tuple(sorted(kept)),
        tuple(_reclassified(tasks, {name: into.existing[name] for name in kept})),
        frozenset(task.key for task in tasks),
        tuple(
            _origin(task, files, name)
            for task, files in zip(tasks, prints, strict=True)
            for name in (task.case, task.key)
        ),
    )


def _image(source: Source) -> str:
    """What stands for a scan in the private file: its files, and which channel of them."""
    files = ";".join(str(file.absolute()) for file in (source.image, *source.more))
    return files if source.channel is None else f"{files}#{source.channel}"


def _is_done(task: Task, existing: Mapping[str, Case]) -> bool:
    return task.case in existing and existing[task.case].fingerprint == task.fingerprint


def _reclassified(tasks: Sequence[Task], kept: Mapping[str, Case]) -> Iterator[Case]:
    """Cases that are made from what they should be made from, but are classified or dealt otherwise."""
    for task in tasks:
        text, fold = targets_text(task.source.targets), task.source.fold
        if task.case in kept and (kept[task.case].targets, kept[task.case].fold) != (text, fold):
            yield replace(kept[task.case], targets=text, fold=fold)


def _origin(task: Task, files: str, name: str) -> Origin:
    source = task.source
    label = str(source.label.absolute()) if source.label is not None else ""
    return Origin(name, _image(source), label, source.patient or "", files)


def _require_label_sets(sources: Sequence[Source], label_sets: Mapping[str, LabelSet]) -> None:
    for source in sources:
        if source.label is None:
            continue
        if source.labels not in label_sets:
            known = ", ".join(sorted(label_sets)) or "none"
            raise DataError(
                f"label set {source.labels!r} is not defined (defined: {known}); say in a label_sets.json "
                f'beside the CSV which value is what: {{"{source.labels}": {{"structures": {{"liver": 1}}}}}}'
            )
        label_sets[source.labels].values(source.annotated or ())


def _names(sources: Sequence[Source], prints: Sequence[str], into: PlanInto) -> list[str]:
    """Names of the cases: the data set's own, else keyed hashes."""
    origins = {name: origin for name, origin in into.private.origins().items() if name in into.existing}
    names: list[str] = []
    for source, files in zip(sources, prints, strict=True):
        name = source.case or into.private.hash("case", source.key)
        origin, image = origins.get(name), _image(source)
        if origin is not None and origin.image != image and origin.files != files:
            if source.case is not None:
                raise DataError(
                    f"case {name}: the store has a case of this name from another file; rename it in "
                    "the data set, or prepare into a new folder"
                )
            name = into.private.hash("case", image)
        names.append(name)
    _require_names(names)
    return names


def _require_names(names: Sequence[str]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise DataError(
                f"case {name!r}: as a folder's name, it may hold letters, digits, `_`, `-`, `.`; rename it"
            )
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"case {twice[0]}: {names.count(twice[0])} scans have this name; give each its own")


def _splits(
    sources: Sequence[Source], names: Sequence[str], patients: Sequence[str], into: PlanInto, shares: Shares
) -> dict[str, Split]:
    """Split of each case, those of the store kept unless the data set states another."""
    rows = [
        Row(
            case=name,
            patient=patient,
            stated=source.split,
            labelled=source.label is not None or bool(source.targets),
            block=BLOCK in source.note,
        )
        for source, name, patient in zip(sources, names, patients, strict=True)
    ]
    restated = {row.case for row in rows if row.stated is not None}
    of_key = {into.private.hash("patient", patient): patient for patient in patients}
    known = {
        of_key[case.patient]: case.split
        for case in into.existing.values()
        if case.patient in of_key and case.case not in restated and not case.block
    }
    return assign_splits(rows, known, shares)


def _fingerprint(
    source: Source, files: str, split: Split, label_sets: Mapping[str, LabelSet], into: PlanInto
) -> str:
    """Keyed hash of all that a case is made from; targets and fold are not: they are written without that."""
    labels = asdict(label_sets[source.labels]) if source.label is not None else None
    made_from = [PIPELINE, files, split, source.annotated, source.note, labels, asdict(into.settings)]
    made_from += [
        named for named in (source.channel, source.channels, source.modalities) if named not in (None, ())
    ]
    return into.private.hash("fingerprint", json.dumps(made_from, sort_keys=True))


def _fingerprints(sources: Sequence[Source]) -> list[str]:
    """Hash of names, sizes and times of each source's files; reads no voxel."""
    folders: dict[Path, list[tuple[str, int, int]]] = {}

    def image_of(source: Source) -> list[tuple[str, int, int]]:
        parts = source.parts
        return files_of(source.image) if parts is None else [_stat(file) for file in parts.files]

    def files_of(path: Path | None) -> list[tuple[str, int, int]]:
        if path is None:
            return []
        path = on_disk(path)
        if path.is_file() and not is_dicom(path):
            return [_stat(file) for file in (path, *files_beside(path))]
        folder = path if path.is_dir() else path.parent
        if folder not in folders:
            folders[folder] = []
            with suppress(OSError):  # of a folder that is not there, or may not be opened
                folders[folder] = sorted(_stat(file) for file in folder.iterdir() if file.is_file())
        return folders[folder]

    return [
        hashlib.sha256(
            json.dumps([image_of(source), *map(files_of, (source.label, *source.more))]).encode()
        ).hexdigest()[:16]
        for source in sources
    ]


def _stat(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return path.name, found.st_size, found.st_mtime_ns
