"""Data sets as they lie on disk: which files are scans, what labels them, and what the labels mean."""

from pathlib import Path

from mim3d.data.dataset_json import read_dataset_json
from mim3d.data.listing import has_images, identity_of, read_listing
from mim3d.data.sources import DataSet, Source, Split
from mim3d.data.volume import READABLE, find_images
from mim3d.errors import DataError

__all__ = ["DataSet", "Source", "Split", "discover"]


def discover(raw: Path, *, derived: bool = False) -> DataSet:
    """Find the scans of a data set, read nothing but lists and DICOM headers.

    Args:
        raw: A CSV file with an `image` column; or a folder with a dataset.json (nnU-Net, Medical Segmentation
            Decathlon), else with a cases.csv that has an `image` column, else with scans at any depth.
        derived: Of scans at any depth, take derived, reformatted and burned-in DICOM images too.

    Raises:
        DataError: If there is nothing, or nothing that looks like a scan, or a list is broken.
    """
    if not raw.exists():
        raise DataError(f"{raw}: no such file or folder; a folder of scans or a CSV is needed")
    if raw.is_file():
        return _of_file(raw)
    if (raw / "dataset.json").is_file():
        return read_dataset_json(raw / "dataset.json")
    if has_images(raw / "cases.csv"):
        return read_listing(raw / "cases.csv")
    return DataSet(tuple(_loose(raw, derived)))


def _of_file(raw: Path) -> DataSet:
    if raw.suffix.lower() == ".csv":
        return read_listing(raw)
    if raw.name == "dataset.json":
        return read_dataset_json(raw)
    raise DataError(f"{raw.name}: a single file; a folder of scans, a CSV or a dataset.json is needed")


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
