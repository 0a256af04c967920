"""SEG on the slices of its source: the same voxels read back, by us, pydicom and highdicom."""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from mim3d.data.case_channels import source_of
from mim3d.data.dicom_labels import read_drawn
from mim3d.data.dicom_seg import DESCRIPTION, Maker, cautions, slices_of, write_seg
from mim3d.data.labels import LabelSet
from mim3d.data.volume import Volume, read_volume
from mim3d.errors import ConfigError, DataError

Write = Callable[..., NDArray[Any]]
MAKER = Maker(version="0.1.0", weights="ab" * 32)
ORGANS = {"liver": (1,), "left kidney": (2,), "region 7": (3,)}
UIDS: dict[str, Any] = {"StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.2.77", "PatientName": "Doe^Jane"}


def labels_for(volume: Volume) -> NDArray[np.uint8]:
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:3, 0:2, 0], labels[0, 2, 1], labels[-1, -1, -1] = 1, 2, 2
    return labels


def write(folder: Path, labels: NDArray[Any], volume: Volume) -> tuple[str, ...]:
    """Into `seg.dcm`, on the series in `scan`."""
    source = source_of(folder / "scan")
    return write_seg(folder / "seg.dcm", labels, volume.affine, source, ORGANS, MAKER)


def read_back(path: Path, volume: Volume) -> NDArray[Any]:
    found, _ = read_drawn(path, volume, LabelSet("found", {name: own[0] for name, own in ORGANS.items()}))
    return found


def test_the_same_voxels_are_read_back(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", **UIDS)  # names against the order of slices
    volume = read_volume(tmp_path / "scan")
    labels = labels_for(volume)
    unknown = write(tmp_path, labels, volume)
    assert unknown == ("region 7",)
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", volume), labels)
    assert not list(tmp_path.glob(".*"))


def test_highdicom_finds_segments_on_the_slices_they_belong_to(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", **UIDS)
    volume = read_volume(tmp_path / "scan")
    labels = labels_for(volume)
    write(tmp_path, labels, volume)
    found = hd.seg.segread(tmp_path / "seg.dcm")
    slices = slices_of(source_of(tmp_path / "scan"))
    frames = found.get_pixels_by_source_instance(
        [one.uid for one in slices], combine_segments=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(frames.transpose(2, 1, 0), labels)
    liver, kidney, region = (found.get_segment_description(number) for number in (1, 2, 3))
    assert liver.segmented_property_type.meaning == "Liver"
    (side,) = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert side.CodeMeaning == "Left"
    assert (region.segment_label, region.segmented_property_type.meaning) == ("region 7", "Tissue")
    assert liver.algorithm_type.value == "AUTOMATIC"
    assert liver.algorithm_identification[0].AlgorithmVersion == "0.1.0"


def test_the_header_repeats_the_source_and_warns(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", **UIDS)
    volume = read_volume(tmp_path / "scan")
    write(tmp_path, labels_for(volume), volume)
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (header.PatientID, str(header.PatientName)) == ("Doe^Jane", "Doe^Jane")
    assert (header.StudyInstanceUID, header.FrameOfReferenceUID) == ("1.2", "1.2.77")
    assert header.ContentDescription == DESCRIPTION
    assert "not for clinical use" in DESCRIPTION
    assert (header.SegmentationType, header.Modality) == ("BINARY", "SEG")
    assert header.SeriesInstanceUID != "1.2.3"
    assert header.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"  # by which OHIF finds the source
    assert header["ContentCreatorName"].is_empty  # nobody, but the standard wants the element


def test_slices_without_a_thickness_are_as_thick_as_they_are_apart(
    tmp_path: Path, write_series: Write
) -> None:
    write_series(tmp_path / "scan", SliceThickness=None, **UIDS)
    volume = read_volume(tmp_path / "scan")
    write(tmp_path, labels_for(volume), volume)
    (shared,) = pydicom.dcmread(tmp_path / "seg.dcm").SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].SliceThickness == 2.5


def test_reversed_slices_and_an_archive(tmp_path: Path, write_series: Write) -> None:
    turned = [1, 0, 0, 0, -1, 0]  # the normal points down
    write_series(tmp_path / "scan", ImageOrientationPatient=turned, **UIDS)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in (tmp_path / "scan").iterdir():
            archive.write(file, f"inner/{file.name}")
    for source in (tmp_path / "scan", tmp_path / "scan.zip"):
        volume = read_volume(source)
        labels = labels_for(volume)
        write_seg(tmp_path / "seg.dcm", labels, volume.affine, source_of(source), ORGANS, MAKER)
        np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", volume), labels)


def test_on_a_tilted_series_it_lies_on_the_tilted_slices(tmp_path: Path, write_series: Write) -> None:
    write_series(
        tmp_path / "scan",
        each=lambda number: {"ImagePositionPatient": [-10.0, -20.0 + number * 1.0, number * 2.5]},
        **UIDS,
    )
    volume = read_volume(tmp_path / "scan")
    assert "gantry tilt" in volume.note
    labels = np.zeros(volume.shape, np.uint8)
    labels[volume.array > -1000] = 1  # all that is no air, as on the slices themselves
    write(tmp_path, labels, volume)
    found = hd.seg.segread(tmp_path / "seg.dcm")
    places = [f.PlanePositionSequence[0].ImagePositionPatient for f in found.PerFrameFunctionalGroupsSequence]
    assert sorted(map(list, places)) == [[-10.0, -20.0 + n, n * 2.5] for n in range(4)]
    assert found.pixel_array.mean() > 0.9
    assert [one for one in cautions(tmp_path / "seg.dcm") if "tilted" in one]


def test_what_others_make_of_a_seg_is_told(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", **UIDS)
    volume = read_volume(tmp_path / "scan")
    write(tmp_path, labels_for(volume), volume)
    header = pydicom.dcmread(tmp_path / "seg.dcm")
    odd = "slices of 9 x 7 pixels are no multiple of 8: OHIF shows only some of them"
    for rows, expected in ((8, []), (9, [odd])):
        header.Rows, header.Columns = rows, 7
        header.save_as(tmp_path / "other.dcm")
        assert list(cautions(tmp_path / "other.dcm")) == expected


def test_overlapping_structures_share_voxels(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", **UIDS)
    volume = read_volume(tmp_path / "scan")
    labels, nested = labels_for(volume), {"whole": (1, 2), "core": (2,)}
    write_seg(tmp_path / "seg.dcm", labels, volume.affine, source_of(tmp_path / "scan"), nested, MAKER)
    found = hd.seg.segread(tmp_path / "seg.dcm")
    counts = {1: 0, 2: 0}
    frames = found.pixel_array.reshape(-1, 3, 4)
    for groups, frame in zip(found.PerFrameFunctionalGroupsSequence, frames, strict=True):
        counts[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber] += int(frame.sum())
    assert counts == {1: int((labels > 0).sum()), 2: int((labels == 2).sum())}
    assert found.SegmentsOverlap == "YES"


def test_nothing_found_is_a_segmentation_too(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", **UIDS)
    volume = read_volume(tmp_path / "scan")
    empty = np.zeros(volume.shape, np.uint8)
    write_seg(tmp_path / "seg.dcm", empty, volume.affine, source_of(tmp_path / "scan"), ORGANS, MAKER)
    assert not hd.seg.segread(tmp_path / "seg.dcm").pixel_array.any()


def test_a_source_that_lacks_what_must_be_repeated_is_refused(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan", StudyInstanceUID="1.2")
    volume = read_volume(tmp_path / "scan")
    with pytest.raises(DataError, match="its headers have no FrameOfReferenceUID, which a SEG must"):
        write_seg(
            tmp_path / "seg.dcm",
            labels_for(volume),
            volume.affine,
            source_of(tmp_path / "scan"),
            ORGANS,
            MAKER,
        )
    assert not (tmp_path / "seg.dcm").exists()


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match=r"pip install 'mim3d\[dicom\]', or leave --dicom-seg out"):
        write_seg(
            tmp_path / "seg.dcm", np.zeros((1, 1, 1), np.uint8), np.eye(4), source_of(tmp_path), ORGANS, MAKER
        )
