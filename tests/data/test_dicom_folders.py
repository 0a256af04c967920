"""Series in several folders: put together where that gives whole volumes; copies are told, never mixed."""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data.datasets import discover
from mim3d.data.dicom_folders import APART, COPY
from mim3d.data.prepare import prepare_store
from mim3d.data.sources import Source
from mim3d.data.volume import read_parts

Write = Callable[..., Any]
STEP = 2.5


def spread(write_series: Write, folder: Path, *cut: Sequence[int], **elements: Any) -> None:
    """Write slices of one series, by their number, into folders DIR000, DIR001 ..."""
    for number, slices in enumerate(cut):
        places = [STEP * one for one in slices]
        each = {"each": lambda k, slices=slices: {"SOPInstanceUID": f"1.2.3.{slices[k] + 1}"}} | elements
        write_series(folder / f"DIR{number:03}", places=places, suffix="", **each)


def found(folder: Path) -> dict[str, Source]:
    return {source.key: source for source in discover(folder).sources}


def places_of(source: Source) -> list[float]:
    """Where the slices of a volume lie along z, mm."""
    assert source.parts is not None
    affine = read_parts(source.image, source.parts).affine
    return [float(affine[2, 3] + n * affine[2, 2]) for n in range(len(source.parts.names))]


def test_pieces_of_a_series_become_one_volume(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path, [4, 1], [0, 5, 2], [3])
    ((key, source),) = found(tmp_path).items()
    assert key == "DIR001/2"  # of the first slice
    assert source.parts is not None
    assert source.parts.folder == tmp_path
    assert source.parts.names == ("DIR001/2", "DIR000/0", "DIR001/0", "DIR002/0", "DIR000/1", "DIR001/1")
    assert places_of(source) == [STEP * n for n in range(6)]
    assert (source.note, source.left_out, source.patient) == ("", "", "Doe^Jane")


def test_voxels_of_pieces_are_those_of_their_slices(tmp_path: Path, write_series: Write) -> None:
    lower = write_series(tmp_path / "raw" / "a", places=(0.0, 2.5))
    upper = write_series(tmp_path / "raw" / "b", places=(5.0, 7.5), add=100)
    (source,) = found(tmp_path / "raw").values()
    assert source.parts is not None
    array = read_parts(source.image, source.parts).array
    np.testing.assert_array_equal(array, np.concatenate([lower, upper]).T - 1024)


def test_phases_cut_anywhere_are_volumes_of_their_own(tmp_path: Path, write_series: Write) -> None:
    for phase in (1, 2):
        for number, slices in enumerate(([0, 1, 2, 3], [4, 5]) if phase == 1 else ([0], [1, 2, 3, 4, 5])):
            write_series(
                tmp_path / f"DIR{number}",
                prefix=f"{phase}-",
                places=[STEP * one for one in slices],
                TemporalPositionIdentifier=phase,
            )
    sources = list(found(tmp_path).values())
    assert [places_of(source) for source in sources] == [[STEP * n for n in range(6)]] * 2
    assert [source.note for source in sources] == ["", ""]


def test_an_archive_of_pieces_is_one_volume(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path / "in", [0, 1], [2, 3])
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "a.zip", "w") as archive:
        for path in (tmp_path / "in").rglob("DIR*/*"):
            archive.write(path, path.relative_to(tmp_path / "in"))
    (source,) = found(tmp_path / "raw").values()
    assert source.key == "a.zip"
    assert places_of(source) == [0.0, 2.5, 5.0, 7.5]


def test_pieces_of_which_one_is_missing_are_refused_together(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path / "raw", [0, 1], [2], [4, 5])
    write_series(tmp_path / "raw" / "whole", series="1.2.4")
    prepared = prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    (rejected,) = prepared.rejected
    assert prepared.made == 1
    missing = "slices are 2.5 to 5 mm apart (1 of 6 missing, after the one at 5.00 mm)"
    assert missing in rejected.reason


def test_whole_stacks_that_do_not_join_stay_apart_and_say_so(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path, range(8), range(20, 28))
    sources = found(tmp_path)
    assert list(sources) == ["DIR000", "DIR001"]
    assert [source.note for source in sources.values()] == [APART, APART]
    assert [len(places_of(source)) for source in sources.values()] == [8, 8]


@pytest.mark.parametrize(
    "other",
    [
        {"PatientID": "Roe^John"},
        {"StudyInstanceUID": "1.7"},
        {"PixelSpacing": [0.6, 2.0]},
        {"ImageOrientationPatient": [0, 1, 0, -1, 0, 0]},
        {"FrameOfReferenceUID": "1.8"},
        {"ConvolutionKernel": "B70f"},
        {"EchoTime": "9.1"},
        {"series": ""},
        {"each": lambda number: {"ImagePositionPatient": [-9.0, -20.0, STEP * (4 + number)]}},
    ],
)
def test_what_may_be_of_another_scan_is_not_put_together(
    tmp_path: Path, write_series: Write, other: dict[str, Any]
) -> None:
    series = {"series": ""} if "series" in other else {}
    write_series(tmp_path / "a", **series)
    write_series(tmp_path / "b", places=[STEP * n for n in range(4, 8)], **other)
    assert list(found(tmp_path)) == ["a", "b"]


def test_pieces_of_two_slices_alone_are_not_put_together(tmp_path: Path, write_series: Write) -> None:
    """Any two slices lie at equal distances."""
    spread(write_series, tmp_path, [0], [40])
    assert list(found(tmp_path)) == ["DIR000", "DIR001"]


def test_acquisitions_of_one_volume_may_have_numbers_of_their_own(
    tmp_path: Path, write_series: Write
) -> None:
    for number in range(4):
        write_series(tmp_path / str(number), places=[STEP * number], AcquisitionNumber=number)
    assert [places_of(source) for source in found(tmp_path).values()] == [[0.0, 2.5, 5.0, 7.5]]


def test_volumes_end_to_end_stay_so_over_folders(tmp_path: Path, write_series: Write) -> None:
    """A copy of all of them beside."""
    for copy in ("a", "b"):
        for number, start, name in ((1, 0, "0"), (1, 4, "1"), (2, 20, "1"), (2, 28, "2")):
            spread(
                write_series,
                tmp_path / copy / name,
                range(start, start + (4 if number == 1 else 8)),
                prefix=f"{number}-",
                AcquisitionNumber=number,
            )
    sources = found(tmp_path).values()
    assert [(len(places_of(one)), one.left_out, one.note) for one in sources] == [
        (8, "", ""),
        (16, "", ""),
        (8, COPY, ""),
        (16, COPY, ""),
    ]


def test_a_copy_of_a_series_is_told(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path / "a", range(4))
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "again")
    sources = found(tmp_path)
    assert {key: source.left_out for key, source in sources.items()} == {
        "a/DIR000": "",
        "b/again/DIR000/3": COPY,
    }


def test_of_a_copy_that_was_broken_off_the_whole_is_kept(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path / "a", range(3))
    spread(write_series, tmp_path / "b", range(5))
    sources = found(tmp_path)
    assert {key: source.left_out for key, source in sources.items()} == {"a/DIR000/2": COPY, "b/DIR000": ""}


def test_copies_of_a_disc_are_never_mixed(tmp_path: Path, write_series: Write) -> None:
    """The first copy lacks its last folder, and the second one could lend it: another version, perhaps."""
    spread(write_series, tmp_path / "cd1", range(8), range(8, 16))
    spread(write_series, tmp_path / "cd2", range(8), range(8, 16), range(16, 24))
    sources = found(tmp_path)
    assert {key: source.left_out for key, source in sources.items()} == {
        "cd1/DIR000/7": COPY,
        "cd2/DIR000/7": "",
    }
    whole = sources["cd2/DIR000/7"]
    assert whole.parts is not None
    assert {name.split("/")[0] for name in whole.parts.names} == {"DIR000", "DIR001", "DIR002"}
    assert whole.parts.folder == tmp_path / "cd2"


def test_broken_copies_that_complete_each_other_stay_apart(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path / "cd1", range(8), range(8, 16))
    spread(write_series, tmp_path / "cd2", range(8), [], range(16, 24))
    sources = found(tmp_path)
    assert {key: (source.left_out, source.note) for key, source in sources.items()} == {
        "cd1/DIR000/7": ("", APART),
        "cd2/DIR000/7": (COPY, ""),
        "cd2/DIR002": ("", APART),
    }


def test_versions_with_identifiers_of_their_own_stay_apart(tmp_path: Path, write_series: Write) -> None:
    """Of one series, at one place, with nothing that tells them apart but their folders."""
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", add=9)
    sources = found(tmp_path)
    assert {key: (source.left_out, source.note) for key, source in sources.items()} == {
        "a": ("", ""),
        "b": ("", ""),
    }


def test_slices_that_two_volumes_share_are_said(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path / "a", range(8))
    spread(write_series, tmp_path / "b", range(4, 14))
    assert [source.note for source in found(tmp_path).values()] == [APART, APART]


def test_an_archive_beside_what_was_unpacked_from_it_is_a_copy(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "A.zip", "w") as archive:
        for path in (tmp_path / "a").iterdir():
            archive.write(path, f"a/{path.name}")
    for path in (tmp_path / "a").iterdir():
        path.touch()
    shutil.copy(tmp_path / "A.zip", tmp_path / "B.zip")
    left_out = {key: source.left_out for key, source in found(tmp_path).items()}
    assert left_out == {"a": "", "A.zip/a/3.dcm": COPY, "B.zip/a/3.dcm": COPY}


def test_damage_in_any_folder_of_a_volume_is_said(tmp_path: Path, write_series: Write) -> None:
    spread(write_series, tmp_path, [0, 1], [2, 3])
    (tmp_path / "DIR001" / "broken.dcm").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "broken.dcm").write_text("x")
    note = found(tmp_path)["DIR000/1"].note
    assert note == "1 damaged DICOM files beside it: slices at its ends may be missing"


def test_damage_in_an_archive_is_said(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "in")
    (tmp_path / "raw").mkdir()
    write_series(tmp_path / "raw", series="1.2.9")
    with zipfile.ZipFile(tmp_path / "raw" / "a.zip", "w") as archive:
        for path in (tmp_path / "in").iterdir():
            archive.write(path, f"a/{path.name}")
        archive.writestr("b/broken.dcm", b"x")
    notes = {key: source.note for key, source in found(tmp_path / "raw").items() if not source.left_out}
    assert notes == {
        "a.zip": "1 damaged DICOM files beside it: slices at its ends may be missing",
        ".": "",
    }


def test_a_volume_of_several_folders_is_watched_for_changes(tmp_path: Path, write_series: Write) -> None:
    raw, store = tmp_path / "raw", tmp_path / "store"
    spread(write_series, raw, [0, 1], [2, 3])
    assert prepare_store(raw, store, spacing="native", workers=1).catalog.cases[0].shape == (4, 3, 4)
    (raw / "notes.txt").write_text("hello")
    again = prepare_store(raw, store, spacing="native", workers=1)
    assert (again.made, again.kept) == (0, 1)
    write_series(raw / "DIR001", places=[10.0], prefix="z")
    more = prepare_store(raw, store, spacing="native", workers=1)
    assert (more.made, more.kept) == (1, 0)
    assert more.catalog.cases[0].shape == (4, 3, 5)
