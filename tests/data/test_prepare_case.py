"""One scan into one case: which label maps fit, and that reasons name nobody."""

from pathlib import Path

import numpy as np
import pytest

from mim3d.data.labels import LabelSet
from mim3d.data.prepare_case import anonymous, checked_labels, require_same_grid
from mim3d.data.sources import Source
from mim3d.data.volume import Volume
from mim3d.errors import DataError

ORGANS = LabelSet("organs", {"liver": 1, "spleen": 3}, ignore=9)


def volume(shift: float = 0.0, spacing: float = 2.0, shape: tuple[int, int, int] = (5, 6, 7)) -> Volume:
    affine = np.diag([spacing, 2.0, 3.0, 1.0])
    affine[0, 3] = shift
    return Volume(np.zeros(shape, np.int16), affine)


def test_grids_that_differ_by_rounding_are_one() -> None:
    require_same_grid(volume(), volume(shift=0.01))
    require_same_grid(volume(), volume(spacing=2.0001))


def test_grids_that_differ_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"the label map has \(5, 6, 8\) voxels, its scan \(5, 6, 7\); both must lie"
    ):
        require_same_grid(volume(), volume(shape=(5, 6, 8)))
    with pytest.raises(DataError, match=r"lies up to 1\.00 mm off its scan \(2 x 2 x 3 against 2 x 2 x 3 mm"):
        require_same_grid(volume(), volume(shift=1.0))
    with pytest.raises(
        DataError, match=r"lies up to 0\.45 mm off its scan \(2\.1 x 2 x 3 against 2 x 2 x 3 mm"
    ):
        require_same_grid(volume(), volume(spacing=2.1))


def test_label_values_must_be_named() -> None:
    assert checked_labels(np.array([0.0, 1.0, 3.0, 9.0]), ORGANS).dtype == np.uint8
    assert checked_labels(np.array([0]), LabelSet("many", {"a": 300})).dtype == np.uint16
    with pytest.raises(
        DataError, match=r"holds the values -1, 0\.5, 2, which label set organs does not name"
    ):
        checked_labels(np.array([0, 0.5, 1, 2, -1]), ORGANS)


def test_reasons_name_no_file_and_nobody(tmp_path: Path) -> None:
    for name in ("scan0.nii", "scan4.nii", "label0.nii"):
        (tmp_path / name).touch()
    source = Source(image=tmp_path / "scan0.nii", key="k", label=tmp_path / "label0.nii", patient="Jane Doe")
    reason = f"scan0.nii: of\nJane Doe in {tmp_path / 'scan0.nii'}, label0.nii, {tmp_path / 'scan4.nii'}"
    assert (
        anonymous(reason, source) == "the scan: of the patient in the scan, the label map, the folder/a file"
    )


def test_reasons_name_no_slice_of_a_series(tmp_path: Path) -> None:
    (tmp_path / "Doe^Jane").mkdir()
    (tmp_path / "Doe^Jane" / "IM0007").touch()
    source = Source(image=tmp_path / "Doe^Jane", key="k")
    assert anonymous("Doe^Jane: IM0007 is missing", source) == "the scan: a file is missing"
