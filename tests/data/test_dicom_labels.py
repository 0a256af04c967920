"""DICOM SEG on its scan's grid, and what cannot be a label map refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SegmentationStorage

from mim3d.data.dicom_labels import FRACTIONS, is_drawn, read_drawn
from mim3d.data.labels import LabelSet
from mim3d.data.listing import write_listing
from mim3d.data.prepare import prepare_store
from mim3d.data.search import find_images, find_scans
from mim3d.data.store import open_store
from mim3d.data.volume import Volume, canonical, read_volume
from mim3d.errors import DataError
from mim3d.geometry import Box

Write = Callable[..., Any]
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 0], [0, 0, 0, 1]])
VOLUME = Volume(np.zeros((5, 3, 4), np.int16), AFFINE)
ORGANS = LabelSet("organs", {"liver": 5, "spleen": 300})


def drawn(path: Path, volume: Volume = VOLUME) -> NDArray[Any]:
    """What is drawn on a scan; nothing has to be said of it."""
    labels, note = read_drawn(path, volume, ORGANS)
    assert note == ""
    return labels


def left_out_of(folder: Path) -> dict[Path, str]:
    """What is left out of a folder, and what it is."""
    return {image.path: image.left_out for image in find_images([folder]) if image.left_out}


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def write_seg(
    path: Path,
    frames: list[tuple[int, float, NDArray[Any]]],
    labels: tuple[str, ...] = ("Liver", "Spleen"),
    shift: float = 0.0,
    **elements: Any,
) -> Path:
    """Write a SEG of frames (segment, z in mm, mask (Y, X)) on the grid of `VOLUME`, `shift` mm beside it."""
    rows, columns = frames[0][2].shape
    dataset = item(
        SOPClassUID=SegmentationStorage,
        SOPInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.9",
        Modality="SEG",
        SegmentationType="BINARY",
        Rows=rows,
        Columns=columns,
        NumberOfFrames=len(frames),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        PixelRepresentation=0,
    )
    dataset.SegmentSequence = [
        item(SegmentNumber=number, SegmentLabel=label) for number, label in enumerate(labels, start=1)
    ]
    measures = item(PixelSpacing=[0.5, 2.0], SliceThickness=2.5)
    plane = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    dataset.SharedFunctionalGroupsSequence = [
        item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[plane])
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10.0 + shift, -20.0, z])],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
        )
        for segment, z, _ in frames
    ]
    dataset.PixelData = pack_bits(np.concatenate([mask.ravel() for _, _, mask in frames]).astype(bool))
    dataset["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def mask(*places: tuple[int, int]) -> NDArray[np.bool_]:
    """A frame (Y, X) of 3 x 5 voxels, which fill no whole number of bytes."""
    frame = np.zeros((3, 5), bool)
    for row, column in places:
        frame[row, column] = True
    return frame


def test_segments_lie_on_the_voxels_that_they_were_drawn_on(tmp_path: Path) -> None:
    frames = [(2, 7.5, mask((2, 4))), (1, 0.0, mask((0, 1), (0, 2))), (1, 2.5, mask((1, 1)))]
    path = write_seg(tmp_path / "seg", frames, shift=0.05)
    assert is_drawn(path)
    expected = np.zeros((5, 3, 4), np.uint16)
    expected[1:3, 0, 0] = expected[1, 1, 1] = 5
    expected[4, 2, 3] = 300
    np.testing.assert_array_equal(drawn(path), expected)
    turned = canonical(VOLUME)
    np.testing.assert_array_equal(drawn(path, turned), expected[::-1, ::-1])


def test_segments_that_the_set_does_not_name_are_left_out(tmp_path: Path) -> None:
    frames = [(1, 0.0, mask((0, 1))), (2, 0.0, mask((0, 1))), (3, 0.0, mask((0, 0)))]
    path = write_seg(tmp_path / "seg", frames, ("Body", "Spleen 1", "spleen-2"))
    assert np.argwhere(drawn(path)).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_overlapping_segments_are_refused(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "seg", [(1, 0.0, mask((0, 1))), (2, 0.0, mask((0, 1)))])
    with pytest.raises(DataError, match="segments overlap: 1 voxels or more are both liver and spleen; one"):
        drawn(path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"SegmentationType": "LABELMAP"}, "a segmentation that is neither of type BINARY nor FRACTIONAL"),
        ({"SegmentationType": "FRACTIONAL"}, r"an element of it is missing or broken \(AttributeError\)"),
        (
            {"SegmentationType": "FRACTIONAL", "MaximumFractionalValue": 0},
            "a segmentation by fractions of 0; a MaximumFractionalValue of 1 or more is needed",
        ),
        (
            {"labels": ("Body", "Doe Jane")},
            r"organs names liver, spleen, but the segments are of Body, 1 of other",
        ),
        ({"shift": 0.5}, r"a segment lies 0\.25 voxels off the grid of the scan"),
        ({"shift": 20.0}, "a segment lies outside the scan"),
        ({"NumberOfFrames": 2}, r"an element of it is missing or broken \(ValueError\)"),
        ({"SegmentSequence": None}, "the segments are of nothing"),
    ],
)
def test_what_cannot_be_a_label_map_is_refused(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    path = write_seg(tmp_path / "seg", [(1, 0.0, mask((0, 1)))], **changed)
    with pytest.raises(DataError, match=rf"^seg: .*{reason}"):
        drawn(path)


def write_fractions(
    path: Path, frames: list[tuple[int, float, NDArray[Any]]], most: int, kind: str, **elements: Any
) -> Path:
    """Write a SEG of fractions, stored values (Y, X) by frame, `most` for all of a voxel."""
    stored = np.concatenate([values.ravel() for _, _, values in frames]).astype(np.uint8).tobytes()
    return write_seg(
        path,
        frames,
        SegmentationType="FRACTIONAL",
        SegmentationFractionalType=kind,
        MaximumFractionalValue=most,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=stored + bytes(len(stored) % 2),
        **elements,
    )


@pytest.mark.parametrize("kind", ["PROBABILITY", "OCCUPANCY"])
@pytest.mark.parametrize(("most", "least"), [(255, 128), (100, 50), (1, 1), (3, 2)])
def test_of_fractions_the_larger_half_is_labelled(tmp_path: Path, kind: str, most: int, least: int) -> None:
    values = np.zeros((3, 5))
    values[0], values[1, 1] = (0, least - 1, least, most, 0), least
    path = write_fractions(tmp_path / "seg", [(1, 2.5, values)], most, kind)
    labels, note = read_drawn(path, VOLUME, ORGANS)
    assert np.argwhere(labels == 5).tolist() == [[1, 1, 1], [2, 0, 1], [3, 0, 1]]
    assert np.count_nonzero(labels) == 3
    assert note == FRACTIONS.format(kind.lower())


def test_just_half_of_a_voxel_gives_way_to_more(tmp_path: Path) -> None:
    liver, spleen = np.zeros((3, 5)), np.zeros((3, 5))
    liver[0], spleen[0] = (50, 50, 50, 30, 60), (0, 50, 51, 80, 40)
    frames = [(1, 0.0, liver), (2, 0.0, spleen)]
    labels, _ = read_drawn(write_fractions(tmp_path / "a", frames, 100, "OCCUPANCY"), VOLUME, ORGANS)
    assert labels[:, 0, 0].tolist() == [5, 5, 300, 300, 5]
    labels, _ = read_drawn(write_fractions(tmp_path / "b", frames[::-1], 100, "OCCUPANCY"), VOLUME, ORGANS)
    assert labels[:, 0, 0].tolist() == [5, 300, 300, 300, 5]
    spleen[0, 4] = 51
    path = write_fractions(tmp_path / "c", [(1, 0.0, liver), (2, 0.0, spleen)], 100, "PROBABILITY")
    with pytest.raises(DataError, match="segments overlap: 1 voxels or more are both liver and spleen"):
        read_drawn(path, VOLUME, ORGANS)


def test_compressed_fractions_are_read(tmp_path: Path) -> None:
    values = np.arange(15).reshape(3, 5)
    path = write_fractions(tmp_path / "seg", [(1, 0.0, values), (1, 2.5, values[::-1])], 14, "PROBABILITY")
    whole = pydicom.dcmread(path)
    whole.compress(RLELossless, generate_instance_uid=False)
    whole.save_as(path)
    labels, _ = read_drawn(path, VOLUME, ORGANS)
    np.testing.assert_array_equal(labels[..., 0].T == 5, values >= 7)
    np.testing.assert_array_equal(labels[..., 1].T == 5, values[::-1] >= 7)


def test_fractions_are_said_in_the_catalog(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "raw" / "scan")
    values = np.full((3, 4), 200)
    write_fractions(tmp_path / "raw" / "seg.dcm", [(1, 0.0, values)], 255, "PROBABILITY")
    rows = [{"case": "a", "image": "scan", "label": "seg.dcm", "labels": "organs"}]
    write_listing(tmp_path / "raw" / "cases.csv", rows, [ORGANS])
    found = prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    assert [case.note for case in found.catalog.cases] == [FRACTIONS.format("probability")]
    store = open_store(tmp_path / "store")
    box = Box((0, 0, 0), (4, 3, 4))
    assert np.count_nonzero(store.read_labels("a", "organs", box, (4, 3, 4)) == 5) == 12


def test_a_segmentation_is_no_scan(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg", [(1, 0.0, np.ones((3, 4)))])
    assert find_scans(tmp_path) == [tmp_path]
    assert left_out_of(tmp_path) == {}
    labels = drawn(tmp_path / "seg", read_volume(tmp_path))
    assert (labels[..., 0] == 5).all()
    assert not labels[..., 1:].any()
    assert not is_drawn(tmp_path / "0.dcm")
    assert not is_drawn(tmp_path)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_outlines_within_outlines_leave_holes(tmp_path: Path, write_rtstruct: Write, kind: str) -> None:
    volume = Volume(np.zeros((9, 9, 4), np.int16), np.diag([-1.0, -1, 2.5, 1]))
    squares = [
        [(low, low, 2.5), (high, low, 2.5), (high, high, 2.5), (low, high, 2.5)]
        for low, high in ((0.5, 7.5), (2.5, 5.5))
    ]
    path = write_rtstruct(tmp_path / "rs.dcm", {"Liver": squares}, kind=kind)
    assert is_drawn(path)
    labels = drawn(path, volume)
    expected = np.zeros((9, 9, 4), int)
    expected[1:8, 1:8, 1] = 5
    expected[3:6, 3:6, 1] = 0
    np.testing.assert_array_equal(labels, expected)


def test_reasons_repeat_no_name_that_may_be_somebody_s(tmp_path: Path, write_rtstruct: Write) -> None:
    corners = [(0.0, 0.0, 900.0), (1.0, 0.0, 900.0), (1.0, 1.0, 900.0)]
    path = write_rtstruct(tmp_path / "rs.dcm", {"Tumour of Jane Doe": [corners]})
    with pytest.raises(DataError, match=r"^rs\.dcm: structure 1 of other names: all outlines lie outside"):
        drawn(path)
    header = pydicom.dcmread(path)
    header.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3"]
    header.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = None
    header.StructureSetROISequence[0].ROINumber = None
    header.save_as(path)
    with pytest.raises(DataError, match=r"an element of it is missing or broken \(TypeError\)"):
        drawn(path)


def test_outlines_of_a_tilted_scan_lie_on_the_upright_one(
    tmp_path: Path, write_series: Write, write_rtstruct: Write
) -> None:
    """Outlines around one beam of the patient, on slices that drift 2 voxels each."""
    write_series(
        tmp_path / "scan",
        each=lambda number: {"ImagePositionPatient": [-10.0, -20.0 + number, 2.5 * number]},
    )
    volume = read_volume(tmp_path / "scan")
    assert volume.shape == (4, 3 + 6, 4)
    beam = [
        (-9.0, -18.3),
        (-5.0, -18.3),
        (-5.0, -17.2),
        (-9.0, -17.2),
    ]  # LPS mm
    outlines = [[(x, y, 2.5 * number) for x, y in beam] for number in range(4)]
    path = write_rtstruct(tmp_path / "rs.dcm", {"Liver": outlines})
    labels = drawn(path, volume)
    assert np.argwhere(labels[..., 0]).tolist() == [[1, 4], [1, 5], [2, 4], [2, 5]]
    assert (labels == labels[..., :1]).all()
