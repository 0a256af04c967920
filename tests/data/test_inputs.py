from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.inputs import find_inputs, read_names, write_names
from mim3d.errors import DataError

Write = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Empty files: only names count."""
    for name in ("b.nii.gz", "deep/a.nrrd", "notes.txt"):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).touch()
    return tmp_path / "scans"


def named(found: Any) -> dict[str, list[str]]:
    return {one.name: [path.name for path in (one.source.image, *one.source.more)] for one in found.scans}


def test_files_of_a_folder_keep_their_names(folder: Path) -> None:
    found = find_inputs(folder)
    assert named(found) == {"b": ["b.nii.gz"], "deep/a": ["a.nrrd"]}
    assert not found.alone


def test_a_file_is_one_scan_and_so_are_files_joined(folder: Path) -> None:
    (folder / "c.nii.gz").touch()
    for given, files in (
        (folder / "b.nii.gz", ["b.nii.gz"]),
        (Path(f"{folder / 'b.nii.gz'};{folder / 'c.nii.gz'}"), ["b.nii.gz", "c.nii.gz"]),
    ):
        found = find_inputs(given)
        assert found.alone
        assert named(found) == {"b": files}


def test_numbers_of_channels_are_no_part_of_names(tmp_path: Path) -> None:
    for name in ("one_0000.nii.gz", "one_0001.nii.gz", "two_0000.nii.gz", "two_0001.nii.gz"):
        (tmp_path / name).touch()
    assert named(find_inputs(tmp_path, channels=2)) == {
        "one": ["one_0000.nii.gz", "one_0001.nii.gz"],
        "two": ["two_0000.nii.gz", "two_0001.nii.gz"],
    }
    (tmp_path / "one_0001.nii.gz").unlink()
    (tmp_path / "two_0001.nii.gz").unlink()
    assert named(find_inputs(tmp_path)) == {"one": ["one_0000.nii.gz"], "two": ["two_0000.nii.gz"]}
    (tmp_path / "three.nii").touch()
    assert list(named(find_inputs(tmp_path))) == ["one_0000", "three", "two_0000"]


def test_a_list_names_its_cases(folder: Path) -> None:
    (folder / "list.csv").write_text("image,case\nb.nii.gz,first\ndeep/a.nrrd,\n")
    found = find_inputs(folder / "list.csv")
    assert named(found) == {"first": ["b.nii.gz"], "deep/a": ["a.nrrd"]}
    assert not found.alone


def test_names_must_differ(folder: Path) -> None:
    (folder / "b.mha").touch()
    with pytest.raises(DataError, match=r"^b: several scans have this name, and each needs its own"):
        find_inputs(folder)


@pytest.mark.parametrize("given", ["nowhere", "b.nii.gz;nowhere"])
def test_what_is_not_there_is_refused(folder: Path, given: str) -> None:
    several = ";".join(str(folder / name) for name in given.split(";"))
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; name a scan, a folder of scans"):
        find_inputs(Path(several))


def test_a_folder_without_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing in it is a scan; what can be read is NIfTI"):
        find_inputs(tmp_path)


def test_dicom_series_are_numbered_and_keep_their_numbers(tmp_path: Path, write_series: Write) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    out.mkdir()
    write_series(raw / "Doe^Jane", series="1.2.5")
    write_series(raw / "Roe^John" / "two", series="1.2.6", prefix="x")
    write_series(raw / "Roe^John" / "two", series="1.2.7", prefix="y", add=500)
    write_series(
        raw / "Roe^John" / "two", series="1.2.8", prefix="z", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    found = find_inputs(raw)
    assert [one.name for one in found.scans] == ["series_0001", "series_0002", "series_0003"]
    assert all(one.dicom for one in found.scans)
    assert found.left_out == ("a localizer",)
    write_names(out, found.scans, {})
    assert (out / "sources.csv").stat().st_mode & 0o777 == 0o600
    before = {one.source.key: one.name for one in found.scans}
    assert read_names(out) == before
    write_series(raw / "Abc", series="1.2.9")
    after = {one.source.key: one.name for one in find_inputs(raw, known=read_names(out)).scans}
    assert after == {**before, "Abc": "series_0004"}


def test_listed_series_that_are_not_there_are_not_named_after_patients(
    tmp_path: Path, write_series: Write
) -> None:
    write_series(tmp_path / "Doe^Jane" / "CT")
    (tmp_path / "list.csv").write_text("image\nDoe^Jane/CT\nRoe^John/CT\nAbc/IM0001.dcm\n0_0000.nii.gz\n")
    scans = find_inputs(tmp_path / "list.csv", known={"Roe^John/CT": "series_0007"}).scans
    assert {one.source.key: one.name for one in scans} == {
        "Doe^Jane/CT": "series_0008",
        "Roe^John/CT": "series_0007",
        "Abc/IM0001.dcm": "series_0009",
        "0_0000.nii.gz": "0",
    }


def test_a_folder_that_is_a_series_is_one_scan(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "series")
    assert find_inputs(tmp_path / "series").alone
    assert not find_inputs(tmp_path).alone


def test_a_damaged_list_of_names_is_refused(tmp_path: Path) -> None:
    assert read_names(tmp_path) == {}
    (tmp_path / "sources.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a table of case and image; restore it, or move it away"):
        read_names(tmp_path)
