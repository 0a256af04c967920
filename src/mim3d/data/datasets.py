"""Data sets as they lie on disk: which files are scans, what labels them, and what the labels mean."""

from collections.abc import Sequence
from pathlib import Path

from mim3d.data.dataset_json import DATASET, is_datalist, read_dataset_json
from mim3d.data.groups import Supervision
from mim3d.data.images import Image
from mim3d.data.listing import has_images, read_listing
from mim3d.data.search import find_images
from mim3d.data.sources import DataSet, Source, Split, read_json
from mim3d.data.targets import TARGETS, with_targets
from mim3d.data.volume import READABLE
from mim3d.errors import DataError

__all__ = ["DataSet", "Source", "Split", "discover"]


def discover(raw: Path, *, derived: bool = False, supervision: Supervision | None = None) -> DataSet:
    """Find the scans of a data set, read nothing but lists and DICOM headers.

    Args:
        raw: A CSV file with an `image` column, or a JSON that lists `training` and perhaps `validation` and
            `test` files; or a folder with a dataset.json (nnU-Net, Medical Segmentation Decathlon), else with
            a cases.csv that has an `image` column, else with scans at any depth. `:2` at the end of a JSON's
            or folder's name is the fold to validate on, where there are folds. A targets.csv in the folder,
            or beside the file, adds what scans are classified by.
        derived: Of scans at any depth, take derived, reformatted and burned-in DICOM images too.
        supervision: Who reads DICOM headers; None: this process, with nobody watching.

    Raises:
        DataError: If there is nothing, or nothing that looks like a scan, or a list is broken.
    """
    raw, fold = _with_fold(raw)
    if not raw.exists():
        raise DataError(f"{raw}: no such file or folder; a folder of scans or a CSV is needed")
    beside = raw if raw.is_dir() else raw.parent
    return with_targets(_listed(raw, fold, supervision, derived=derived), beside / TARGETS)


def _listed(raw: Path, fold: int | None, supervision: Supervision | None, *, derived: bool) -> DataSet:
    """Scans and label sets, by what describes them."""
    if raw.is_file():
        return _of_file(raw, fold, supervision)
    if (raw / DATASET).is_file():
        return read_dataset_json(raw / DATASET, fold)
    if fold is not None:
        raise DataError(f"{raw}: fold {fold} is asked, but without a dataset.json there are no folds")
    if has_images(raw / "cases.csv"):
        return read_listing(raw / "cases.csv", supervision)
    sources = loose(raw, [raw], derived=derived, supervision=supervision)
    if not sources:
        files = sum(path.is_file() for path in raw.rglob("*"))
        found = f"none of its {files} files is a scan" if files else "an empty folder"
        raise DataError(f"{raw}: {found}; what can be read is {READABLE}")
    return DataSet(tuple(sources))


def loose(
    raw: Path, folders: Sequence[Path], *, derived: bool = False, supervision: Supervision | None = None
) -> list[Source]:
    """Scans of folders in `raw` that say nothing about them; nameless, as files may bear patients' names."""
    images = find_images(folders, derived=derived, supervision=supervision)
    return sorted((_source(raw, image) for image in images), key=lambda source: source.image)


def _with_fold(raw: Path) -> tuple[Path, int | None]:
    """`dataset_0.json:2` is fold 2 of dataset_0.json."""
    name, colon, fold = raw.name.rpartition(":")
    if raw.exists() or not colon or not name or not fold.isdecimal():
        return raw, None
    return raw.with_name(name), int(fold)


def _of_file(raw: Path, fold: int | None, supervision: Supervision | None) -> DataSet:
    suffix = raw.suffix.lower()
    if suffix == ".csv" and fold is None:
        return read_listing(raw, supervision)
    if raw.name == DATASET or (suffix == ".json" and is_datalist(read_json(raw))):
        return read_dataset_json(raw, fold)
    raise DataError(
        f"{raw.name}: a single file; a folder of scans, a CSV, a dataset.json or a JSON with a list "
        "`training` is needed: put a scan or an archive into a folder of its own, and name that"
    )


def _source(raw: Path, image: Image) -> Source:
    return Source(
        image=image.path,
        key=image.path.relative_to(raw).as_posix(),
        parts=image.parts,
        patient=image.of_patient,
        study=image.study or None,
        left_out=image.left_out,
        note=image.note,
    )
