"""Which slices make one volume: phases, time points, end-to-end acquisitions, copies and gaps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data.dicom import look
from mim3d.data.search import find_images, find_scans
from mim3d.data.volume import read_volume
from mim3d.errors import DataError

Write = Callable[..., Any]


def left_out_of(folder: Path, *, derived: bool = False) -> dict[Path, str]:
    """What is left out of a folder, and what it is."""
    return {image.path: image.left_out for image in find_images([folder], derived=derived) if image.left_out}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
        ({"EchoTime": "2.3"}, {"EchoTime": "4.6"}),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}),
        ({"AcquisitionTime": "101500.25"}, {"AcquisitionTime": "101501"}),
        ({"InstanceNumber": 5}, {"InstanceNumber": 50}),
    ],
)
def test_phases_that_share_a_series_are_told_apart(
    tmp_path: Path, write_series: Write, first: dict[str, Any], second: dict[str, Any]
) -> None:
    one = write_series(tmp_path, prefix="a", SOPInstanceUID=None, **first)
    other = write_series(tmp_path, prefix="b", add=500, SOPInstanceUID=None, **second)
    scans = find_scans(tmp_path)
    assert [scan.name for scan in scans] == ["a3.dcm", "b3.dcm"]
    np.testing.assert_array_equal(read_volume(scans[0]).array, one.T - 1024)
    np.testing.assert_array_equal(read_volume(scans[1]).array, other.T - 1024)


def test_phases_stay_whole_where_each_has_several_acquisitions(tmp_path: Path, write_series: Write) -> None:
    """Step and shoot: numbers tell slabs apart, times tell phases apart."""
    for phase in (0, 2):
        write_series(
            tmp_path,
            prefix=f"{phase}-",
            add=phase,
            each=lambda number, phase=phase: {
                "AcquisitionNumber": phase + number // 2,
                "AcquisitionTime": f"10{phase}{number}00",
            },
        )
    arrays = [read_volume(scan).array for scan in find_scans(tmp_path)]
    assert [array.shape for array in arrays] == [(4, 3, 4), (4, 3, 4)]
    np.testing.assert_array_equal(arrays[1], arrays[0] + 2)


def test_acquisitions_of_one_pass_stay_one_volume(tmp_path: Path, write_series: Write) -> None:
    write_series(
        tmp_path, each=lambda number: {"AcquisitionNumber": number, "AcquisitionTime": f"1000{number}0"}
    )
    assert read_volume(tmp_path).shape == (4, 3, 4)


def test_acquisitions_end_to_end_are_volumes_of_their_own(tmp_path: Path, write_series: Write) -> None:
    for number, start, spacing in ((1, 0.0, 2.0), (2, 30.0, 5.0)):
        places = [start + spacing * k for k in range(8)]
        write_series(tmp_path, prefix=str(number), places=places, AcquisitionNumber=number)
    assert [read_volume(scan).spacing[2] for scan in find_scans(tmp_path)] == pytest.approx([2.0, 5.0])


def test_studies_and_patients_are_never_mixed(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, prefix="a", StudyInstanceUID="1.1", places=(0.0, 5.0))
    write_series(tmp_path, prefix="b", StudyInstanceUID="1.2", places=(2.5, 7.5))
    write_series(tmp_path, prefix="c", StudyInstanceUID="1.2", places=(0.0, 5.0), PatientID="Roe^John")
    assert [read_volume(scan).shape for scan in find_scans(tmp_path)] == [(4, 3, 2)] * 3


def test_copies_with_new_uids_are_dropped(tmp_path: Path, write_series: Write) -> None:
    stored = write_series(tmp_path, prefix="a", places=(0.0, 2.5, 5.0))
    write_series(tmp_path, prefix="b", places=(0.0, 2.5))
    np.testing.assert_array_equal(read_volume(tmp_path).array, stored.T - 1024)


def test_one_uid_in_all_files_is_no_copy(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, SOPInstanceUID="1.2.3.4")
    assert read_volume(tmp_path).shape == (4, 3, 4)


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ((0.0, 2.5, 7.5, 10.0), r"1 of 5 missing, after the one at 2\.50 mm"),
        ((0.0, 1.0, 2.0, 6.0, 7.0, 9.0), r"4 of 10 missing, after the one at 2\.00, 7\.00 mm"),
        ((0.0, 2.5, 2.5, 5.0), r"several lie at 2\.50 mm, and nothing in their headers tells them apart"),
        ((0.0, 2.0, 4.0, 6.0, 9.0, 12.0), r"other than 2 mm after the one at 6\.00, 9\.00 mm"),
    ],
)
def test_what_makes_slices_uneven_is_said_and_where(
    tmp_path: Path, write_series: Write, places: tuple[float, ...], reason: str
) -> None:
    write_series(tmp_path / "scan", places=places)
    with pytest.raises(DataError, match=rf"^scan: slices are .* mm apart \({reason}\); equal distances"):
        read_volume(tmp_path / "scan")


def test_a_slice_beside_the_line_of_the_others_is_refused(tmp_path: Path, write_series: Write) -> None:
    places = {2: [-10.0, -14.0, 5.0]}
    write_series(
        tmp_path,
        each=lambda number: {"ImagePositionPatient": places.get(number, [-10.0, -20.0, 2.5 * number])},
    )
    with pytest.raises(
        DataError, match=r"slice 3 of 4 lies 6\.00 mm off the line of the others in its plane"
    ):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "a derived image"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "a reformatted image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CSA MPR"]}, "a reformatted image"),
        ({"BurnedInAnnotation": "YES"}, "an image with burned-in annotation"),
    ],
)
def test_what_is_no_scan_is_left_out_unless_asked_for(
    tmp_path: Path, write_series: Write, elements: dict[str, Any], reason: str
) -> None:
    write_series(tmp_path)
    write_series(tmp_path, series="1.2.9", prefix="other", add=7, **elements)
    assert find_scans(tmp_path) == [tmp_path]
    assert left_out_of(tmp_path) == {tmp_path / "other3.dcm": reason}
    assert read_volume(tmp_path / "other1.dcm").array[0, 0, 0] == 1007 - 1024
    asked = [] if reason == "a localizer" else [tmp_path / "other3.dcm"]
    assert find_scans(tmp_path, derived=True) == [tmp_path, *asked]
    assert list(left_out_of(tmp_path, derived=True)) == ([] if asked else [tmp_path / "other3.dcm"])


def test_a_folder_of_one_derived_series_is_read_if_named(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, ImageType=["DERIVED", "PRIMARY"])
    assert find_scans(tmp_path) == []
    assert read_volume(tmp_path).shape == (4, 3, 4)


def test_images_without_a_place_are_on_record(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path, suffix="", ImagePositionPatient=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    assert find_scans(tmp_path) == []
    assert left_out_of(tmp_path) == {tmp_path / "0": "an image without a place in space"}


def test_elements_of_odd_lengths_are_damage(tmp_path: Path, write_series: Write) -> None:
    """Found by mutating files: pydicom raised an error of a kind of its own, which ended the whole search."""
    write_series(tmp_path)
    content = (tmp_path / "0.dcm").read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00"
    assert rows in content
    (tmp_path / "0.dcm").write_bytes(content.replace(rows, rows[:-2] + b"\x03\x00"))
    assert left_out_of(tmp_path) == {tmp_path / "0.dcm": "a DICOM file whose header cannot be read"}
    volume = read_volume(tmp_path)
    assert volume.shape == (4, 3, 3)
    assert volume.note == "1 damaged DICOM files beside it: slices at its ends may be missing"


def test_what_a_folder_holds_is_remembered_until_a_file_changes(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path)
    first = look(tmp_path)
    assert look(tmp_path / "1.dcm") is first
    write_series(tmp_path, places=[10.0], prefix="z")
    assert len(look(tmp_path).stacks[0].slices) == 5
