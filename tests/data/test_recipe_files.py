"""Patterns of paths: what they take, and what they leave."""

from pathlib import Path

import pytest

from mim3d.data.recipe import Part
from mim3d.data.recipe_files import _scans, matcher


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("img/img{case}.nii.gz", "img/img0001.nii.gz", {"case": "0001"}),
        ("img/img{case}.nii.gz", "img/deep/img0001.nii.gz", None),
        ("img/img{case}.nii.gz", "img/img0001xniixgz", None),
        ("{case}/{case}_ct.nii.gz", "a/a_ct.nii.gz", {"case": "a"}),
        ("{case}/{case}_ct.nii.gz", "a/b_ct.nii.gz", None),
        ("Test*/{patient}/*/{case}", "Testing/p/x/c", {"patient": "p", "case": "c"}),
        ("Test*/{patient}/*/{case}", "Test/p/x/y/c", None),
    ],
)
def test_a_pattern_is_of_whole_names(pattern: str, path: str, fields: dict[str, str] | None) -> None:
    match = matcher(pattern).fullmatch(path)
    assert (match.groupdict() if match else None) == fields


def test_hidden_files_and_files_for_folders_are_left(tmp_path: Path) -> None:
    for name in ("a/1.nii.gz", "a/._1.nii.gz", ".b/2.nii.gz", "c/3.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "c" / "4.nii.gz").mkdir()
    found = list(_scans(Part(images="*/{case}.nii.gz", labels="labels/{case}.nii.gz"), tmp_path))
    assert [scan.fields["case"] for scan in found] == ["1", "3"]
    assert [scan.label for scan in found] == [tmp_path / "labels" / f"{n}.nii.gz" for n in (1, 3)]
    assert not any(scan.labelled for scan in found)
    assert [scan.image.name for scan in _scans(Part(images="{x}/4*", series=True), tmp_path)] == ["4.nii.gz"]
