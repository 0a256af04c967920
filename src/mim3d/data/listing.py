"""Data sets listed in a CSV: one scan a row, and what its labels mean in a label_sets.json beside it."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mim3d.data.channels import Choice
from mim3d.data.csv_table import named_rows, read_csv
from mim3d.data.dicom import holds_dicom
from mim3d.data.dicom_zip import on_disk
from mim3d.data.grids import joined
from mim3d.data.groups import Supervision, in_groups
from mim3d.data.images import Image, image_at
from mim3d.data.labels import LabelSet
from mim3d.data.sources import (
    SPLITS,
    DataSet,
    Source,
    Split,
    as_modality,
    read_json,
    require_unique,
    safe_name,
)
from mim3d.data.targets import PREFIX, targets_of_row
from mim3d.errors import ConfigError, DataError

LABEL_SETS = "label_sets.json"
COLUMNS = (
    "case",
    "patient",
    "image",
    "label",
    "labels",
    "annotated",
    "split",
    "fold",
    "channel",
    "modality",
    "note",
)
"""What may be listed, besides columns `target:NAME`; `image` must be, other columns are left alone."""


def read_listing(path: Path, supervision: Supervision | None = None) -> DataSet:
    """Scans of a CSV with the columns of `COLUMNS`; paths are relative to it, `annotated` is joined by `;`.

    A row whose image or label map is not there is kept: reading it fails, and says so.

    Args:
        path: Of the CSV.
        supervision: Who reads headers of DICOM; None: this process, with nobody watching.

    Raises:
        DataError: If the CSV has no `image` column or no row, no image is there, or a row is broken.
    """
    label_sets = read_label_sets(path.with_name(LABEL_SETS))
    sources = [_source(path, number, row, label_sets) for number, row in _rows(path)]
    if not sources:
        raise DataError(f"{path.name}: lists no scan; a row a scan is needed")
    if all(first_missing([one.image]) for one in sources):
        raise DataError(
            f"{path.name}: none of its images is there, the first {sources[0].key}; paths are relative to it"
        )
    return DataSet(require_unique(path.name, list(_identified(sources, supervision))), label_sets)


def first_missing(files: Iterable[Path | None]) -> Path | None:
    """The first of the files that a list names and that is not there."""
    return next((one for one in files if one is not None and not on_disk(one).exists()), None)


def write_listing(path: Path, rows: Sequence[Mapping[str, str]], label_sets: Sequence[LabelSet]) -> None:
    """Write rows of `COLUMNS` as a CSV, and the label sets they name beside it: what `read_listing` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sets = {one.name: {"structures": one.structures, "colours": one.colours} for one in label_sets}
    path.with_name(LABEL_SETS).write_text(json.dumps(sets, indent=1), encoding="utf-8")


def has_images(path: Path) -> bool:
    """Whether a file is a CSV with an `image` column."""
    return path.is_file() and "image" in read_csv(path)[0]


def read_label_sets(path: Path) -> dict[str, LabelSet]:
    """Label sets by name: `{"organs": {"structures": {"liver": 5}, "colours": {"liver": "#aa3322"}}}`.

    Raises:
        DataError: If the file is there, but not of this form.
    """
    sets = read_json(path) if path.is_file() else {}
    try:
        return {
            name: LabelSet(
                name,
                {str(key): int(value) for key, value in content["structures"].items()},
                dict(content.get("colours", {})),
                None if content.get("ignore") is None else int(content["ignore"]),
            )
            for name, content in sets.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f'{path.name}: each label set needs {{"structures": {{name: value}}}} ({error}); mend the file'
        ) from error


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by column name, numbered from 1."""
    header, rows = read_csv(path)
    if "image" not in header:
        raise DataError(
            f"{path.name}: columns are {', '.join(header) or 'none'}; `image` is needed, known are "
            f"{', '.join(COLUMNS)}, {PREFIX}NAME"
        )
    yield from enumerate(named_rows(header, rows), start=1)


def _source(path: Path, number: int, row: dict[str, str], label_sets: dict[str, LabelSet]) -> Source:
    where = f"{path.name}, row {number}"
    given = row.get("image", "")
    files = _files(path.parent, given)
    if "" in files:
        raise DataError(f"{where}: image is {given!r}; a file for each channel, joined by `;`, is needed")
    image, *more = (path.parent / name for name in files)
    labels = row.get("labels") or "labels"
    annotated = tuple(name.strip() for name in row.get("annotated", "").split(";") if name.strip())
    if annotated and labels in label_sets:
        label_sets[labels].values(annotated)
    return Source(
        image=image,
        key=given,
        case=safe_name(row["case"]) if row.get("case") else None,
        patient=row.get("patient") or None,
        split=_require_split(where, row.get("split", "")),
        label=path.parent / row["label"] if row.get("label") else None,
        labels=labels,
        annotated=annotated or None,
        more=tuple(more),
        channel=_channel(where, row.get("channel", "")),
        modalities=_modalities(where, row.get("modality", ""), 1 + len(more)),
        note=row.get("note", ""),
        targets=targets_of_row(where, row),
        fold=_fold(where, row.get("fold", "")),
    )


def _identified(sources: Sequence[Source], supervision: Supervision | None) -> Iterator[Source]:
    """Sources with what headers of DICOM tell of them; of one that cannot be read, reading it says why."""
    paths = [one.image for one in sources if one.image.is_dir() or holds_dicom(one.image)]
    images = dict(in_groups(image_at, paths, supervision, most=1))
    for source in sources:
        image = images.get(source.image)
        yield (
            source
            if not isinstance(image, Image)
            else replace(
                source,
                parts=image.parts,
                patient=source.patient or image.of_patient,
                study=image.study or None,
                note=joined(source.note, image.note),
            )
        )


def _require_split(where: str, value: str) -> Split | None:
    for split in SPLITS:
        if value == split:
            return split
    if value:
        raise DataError(f"{where}: split is {value!r}; train, val, test or nothing is needed")
    return None


def _fold(where: str, value: str) -> int | None:
    if value and not value.isdecimal():
        raise DataError(f"{where}: fold is {value!r}; a number from 0, or nothing is needed")
    return int(value) if value else None


def _files(folder: Path, value: str) -> list[str]:
    """Files of the channels of a case, joined by `;` where there are several."""
    if ";" not in value or (folder / value).exists():
        return [value]
    return [name.strip() for name in value.split(";")]


def _channel(where: str, value: str) -> Choice:
    """The number of a channel, or all; nothing where none is said."""
    if value == "all":
        return "all"
    if value and not value.isdecimal():
        raise DataError(f"{where}: channel is {value!r}; a number from 0, all, or nothing is needed")
    return int(value) if value else None


def _modalities(where: str, value: str, files: int) -> tuple[str, ...]:
    """Modalities of the channels, joined by `;`: one for all, or one each."""
    try:
        found = tuple(as_modality(word) for word in value.split(";")) if value else ()
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from error
    if files > 1 and len(found) not in (0, 1, files):
        raise DataError(
            f"{where}: {len(found)} modalities for {files} images; one for all, or one each, is needed"
        )
    return found
