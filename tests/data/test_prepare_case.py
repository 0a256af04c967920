"""One scan into one case: reasons name nobody."""

from pathlib import Path

from mim3d.data.prepare_case import anonymous
from mim3d.data.sources import Source


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
