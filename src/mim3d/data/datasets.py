"""Data sets as they lie on disk: which files are scans, what labels them, and what the labels mean."""

from pathlib import Path

from mim3d.data.dataset_json import is_datalist, read_dataset_json
from mim3d.data.listing import has_images, identity_of, read_listing
from mim3d.data.sources import DataSet, Source, Split, read_json
from mim3d.data.targets import TARGETS, with_targets
from mim3d.data.volume import READABLE, find_images
from mim3d.errors import DataError

__all__ = ["DataSet", "Source", "Split", "discover"]


def discover(raw: Path, *, derived: bool = False) -> DataSet:
    """Find the scans of a data set, read nothing but lists and DICOM headers.

    Args:
        raw: A CSV file with an `image` column, or a JSON that lists `training` and perhaps `validation` and
            `test` files; or a folder with a dataset.json (nnU-Net, Medical Segmentation Decathlon), else with
            a cases.csv that has an `image` column, else with scans at any depth. `:2` at the end of a JSON's
            or folder's name is the fold to validate on, where there are folds. A targets.csv in the folder,
            or beside the file, adds what scans are classified by.
        derived: Of scans at any depth, take derived, reformatted and burned-in DICOM images too.

    Raises:
        DataError: If there is nothing, or nothing that looks like a scan, or a list is broken.
    """
    raw, fold = _with_fold(raw)
    if not raw.exists():
        raise DataError(f"{raw}: no such file or folder; a folder of scans or a CSV is needed")
    return with_targets(_listed(raw, fold, derived), (raw if raw.is_dir() else raw.parent) / TARGETS)


def _listed(raw: Path, fold: int | None, derived: bool) -> DataSet:
    """Scans and label sets, by what describes them."""
    if raw.is_file():
        return _of_file(raw, fold)
    if (raw / "dataset.json").is_file():
        return read_dataset_json(raw / "dataset.json", fold)
    if fold is not None:
        raise DataError(f"{raw}: fold {fold} is asked, but without a dataset.json there are no folds")
    if has_images(raw / "cases.csv"):
        return read_listing(raw / "cases.csv")
    return DataSet(tuple(_loose(raw, derived)))


def _with_fold(raw: Path) -> tuple[Path, int | None]:
    """`dataset_0.json:2` is fold 2 of dataset_0.json."""
    name, colon, fold = raw.name.rpartition(":")
    if raw.exists() or not colon or not name or not fold.isdecimal():
        return raw, None
    return raw.with_name(name), int(fold)


def _of_file(raw: Path, fold: int | None) -> DataSet:
    suffix = raw.suffix.lower()
    if suffix == ".csv" and fold is None:
        return read_listing(raw)
    if raw.name == "dataset.json" or (suffix == ".json" and is_datalist(read_json(raw))):
        return read_dataset_json(raw, fold)
    raise DataError(
        f"{raw.name}: a single file; a folder of scans, a CSV, a dataset.json or a JSON with a list "
        "`training` is needed"
    )


def _loose(raw: Path, derived: bool) -> list[Source]:
    """Scans of a folder that says nothing about them; nameless, since file names may hold patients' names."""
    images = find_images(raw, derived=derived)
    sources = [_source(raw, scan, left_out) for scan, left_out in images]  # one place after the other
    if not sources:
        files = sum(path.is_file() for path in raw.rglob("*"))
        found = f"none of its {files} files is a scan" if files else "an empty folder"
        raise DataError(f"{raw}: {found}; what can be read is {READABLE}")
    return sorted(sources, key=lambda source: source.image)


def _source(raw: Path, scan: Path, left_out: str) -> Source:
    patient, study = identity_of(scan)
    key = scan.relative_to(raw).as_posix()
    return Source(image=scan, key=key, patient=patient, study=study, left_out=left_out)
