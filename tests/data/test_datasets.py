from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.datasets import Source, discover
from mim3d.data.labels import LabelSet
from mim3d.data.listing import read_listing, write_listing
from mim3d.errors import DataError

Write = Callable[..., Any]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def table(folder: Path, text: str, name: str = "cases.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_listing(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "dicom")
    touch(tmp_path, "a.nii", "a-organs.nii", "rs.dcm")
    path = table(
        tmp_path,
        "case,image,label,split,patient,labels,annotated,note,age\n"
        "A 1,a.nii,a-organs.nii,train,Doe,organs,liver; spleen,half of one,55\n\n"
        "B,dicom,rs.dcm,test,,tumour,,,\n"
        ",a.nii,,,,,,,\n",
    )
    (tmp_path / "label_sets.json").write_text(
        '{"organs": {"structures": {"liver": 5, "spleen": 6}, "colours": {"liver": "#aa3322"}, "ignore": 9},'
        ' "tumour": {"structures": {"gtv": 1}}}'
    )
    data = discover(tmp_path)
    first, second, third = data.sources
    assert first == Source(
        image=tmp_path / "a.nii",
        key="a.nii",
        case="A_1",
        patient="Doe",
        split="train",
        label=tmp_path / "a-organs.nii",
        labels="organs",
        annotated=("liver", "spleen"),
        note="half of one",
    )
    assert (second.case, second.patient, second.split, second.annotated) == ("B", "Doe^Jane", "test", None)
    assert (third.case, third.patient, third.split, third.labels) == (None, None, None, "labels")
    organs = LabelSet("organs", {"liver": 5, "spleen": 6}, {"liver": "#aa3322"}, ignore=9)
    assert data.label_sets == {"organs": organs, "tumour": LabelSet("tumour", {"gtv": 1})}
    assert discover(path) == data


def test_a_listing_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    (tmp_path / "mine.csv").write_bytes("\ufeffimage;split\r\na.nii;val\r\n".encode())
    assert discover(tmp_path / "mine.csv").sources[0].split == "val"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    organs = LabelSet("organs", {"liver": 5}, {"liver": "#aa3322"})
    write_listing(tmp_path / "cases.csv", [{"case": "a", "image": "a.nii", "labels": "organs"}], [organs])
    data = read_listing(tmp_path / "cases.csv")
    assert data.label_sets == {"organs": organs}
    assert (data.sources[0].case, data.sources[0].labels, data.sources[0].split) == ("a", "organs", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,file\na,b\n", "columns are case, file; `image` is needed, known are case,"),
        ("", "columns are none; `image` is needed"),
        ("image\n", "lists no scan; a row a scan is needed"),
        ("image\ngone.nii\n", r"none of its images is there, the first gone\.nii; paths are relative to it"),
        ("case,image\nx,\n", "row 1: image is ''; a file for each channel, joined by `;`, is needed"),
        ("image,case\na.nii;,x\n", "row 1: image is 'a.nii;'; a file for each channel"),
        ("image,fold\na.nii,one\n", "row 1: fold is 'one'; a number from 0, or nothing is needed"),
        ("image,split\na.nii,dev\n", "row 1: split is 'dev'; train, val, test or nothing is needed"),
        (f"image,note\na.nii,{'x' * 200_000}\n", "not readable as a CSV"),
        ("image,case\na.nii,x\na.nii,x\n", "case x comes twice; give each scan a name of its own"),
    ],
)
def test_broken_listings(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.nii")
    with pytest.raises(DataError, match=rf"^list\.csv(: |, ){message}"):
        discover(table(tmp_path, text, "list.csv"))


def test_annotated_structures_must_be_in_the_set(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    table(tmp_path, "image,labels,annotated\na.nii,organs,heart\n")
    (tmp_path / "label_sets.json").write_text('{"organs": {"structures": {"liver": 5}}}')
    with pytest.raises(DataError, match="label set organs has no structure heart; it has: liver"):
        discover(tmp_path)


def test_label_sets_need_structures(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    table(tmp_path, "image\na.nii\n")
    (tmp_path / "label_sets.json").write_text('{"organs": {"liver": 5}}')
    with pytest.raises(DataError, match=r"^label_sets\.json: each label set needs"):
        discover(tmp_path)


def test_a_listing_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"^list\.csv: not readable as text"):
        discover(tmp_path / "list.csv")


def test_loose_folders_name_no_case(tmp_path: Path, write_series: Write) -> None:
    touch(tmp_path, "Doe Jane.nii.gz", "deep/b.nrrd", "notes.txt")
    table(tmp_path, "case,phase\na,venous\n")  # no list of images: a table about something else
    write_series(tmp_path / "deep" / "series")
    data = discover(tmp_path)
    assert [(source.key, source.case, source.patient, source.split) for source in data.sources] == [
        ("Doe Jane.nii.gz", None, None, None),
        ("deep/b.nrrd", None, None, None),
        ("deep/series", None, "Doe^Jane", None),
    ]
    assert data.label_sets == {}


def test_folders_without_scans(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: an empty folder; what can be read is NIfTI"):
        discover(tmp_path / "empty")
    touch(tmp_path, "other/a.txt", "other/deep/b.pdf")
    with pytest.raises(DataError, match=r"other: none of its 2 files is a scan; what can be read is NIfTI"):
        discover(tmp_path / "other")


def test_paths_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: no such file or folder; a folder of scans or a CSV is needed"):
        discover(tmp_path / "gone")
    touch(tmp_path, "a.nii")
    with pytest.raises(
        DataError, match=r"^a\.nii: a single file; a folder of scans, a CSV, a dataset\.json or a JSON with a"
    ):
        discover(tmp_path / "a.nii")


def test_volumes_of_one_study_share_it_and_their_patient(
    tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    for number, kernel in enumerate(("B30f", "B70f")):
        write_series(tmp_path, series=f"1.2.{number}", prefix=kernel, StudyInstanceUID="1.9", PatientID=None)
    write_series(tmp_path / "other", StudyInstanceUID="1.8")
    write_series(tmp_path, series="1.7", prefix="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    found = {
        source.key: (source.patient, source.study, source.left_out) for source in discover(tmp_path).sources
    }
    assert found == {
        "B30f3.dcm": ("study 1.9", "1.9", ""),
        "B70f3.dcm": ("study 1.9", "1.9", ""),
        "other": ("Doe^Jane", "1.8", ""),
        "scout3.dcm": ("Doe^Jane", None, "a localizer"),
    }
