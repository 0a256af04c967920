"""One enhanced image in several files: put together, or refused if one of them is missing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.datasets import discover
from mim3d.data.dicom_stacks import UNCOUNTED
from mim3d.data.prepare import prepare_store
from mim3d.data.search import find_scans
from mim3d.data.sources import Source
from mim3d.data.volume import read_parts, read_volume
from mim3d.errors import DataError

VALUES = np.random.default_rng(0).integers(0, 4096, (6, 4, 5))
Write = Callable[..., None]


@pytest.fixture
def write_parts(write_enhanced: Write) -> Write:
    """Writes three files of two frames each; `total`: how many they say they are; `each`: by frame."""

    def write(folder: Path, *, total: int | None = 3, image: str = "1.5", **elements: Any) -> None:
        each = elements.pop("each", lambda _: {})
        places = elements.pop("places", [2.5 * frame for frame in range(6)])
        for number in range(3):
            first = 2 * number
            write_enhanced(
                folder / f"{number}.dcm",
                VALUES[first : first + 2],
                places=places[first : first + 2],
                each=lambda frame, first=first: each(first + frame),
                SOPInstanceUID=f"{image}.{number}",
                ConcatenationUID=image,
                InConcatenationNumber=number + 1,
                InConcatenationTotalNumber=total,
                **elements,
            )

    return write


def array_of(source: Source) -> NDArray[Any]:
    assert source.parts is not None
    return read_parts(source.image, source.parts).array


def test_its_files_make_one_volume(tmp_path: Path, write_parts: Write) -> None:
    write_parts(tmp_path / "a")
    (source,) = discover(tmp_path).sources
    assert (source.key, source.note, source.left_out) == ("a", "", "")
    np.testing.assert_array_equal(array_of(source), VALUES.T - 1024)
    for path in (tmp_path / "a", tmp_path / "a" / "1.dcm"):  # any of its files stands for it
        np.testing.assert_array_equal(read_volume(path).array, VALUES.T - 1024)


def test_volumes_within_it_are_told_apart(tmp_path: Path, write_parts: Write) -> None:
    write_parts(
        tmp_path,
        places=[0.0, 2.5, 5.0] * 2,
        each=lambda frame: {"FrameContent": {"TemporalPositionIndex": 1 + frame // 3}},
    )
    sources = discover(tmp_path).sources
    assert [source.key for source in sources] == ["0.dcm", "1.dcm"]
    np.testing.assert_array_equal(array_of(sources[0]), VALUES[:3].T - 1024)
    np.testing.assert_array_equal(array_of(sources[1]), VALUES[3:].T - 1024)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_file_is_said(tmp_path: Path, write_parts: Write, write_series: Write, gone: int) -> None:
    write_parts(tmp_path / "raw" / "a")
    write_series(tmp_path / "raw" / "good")
    (tmp_path / "raw" / "a" / f"{gone}.dcm").unlink()
    reason = (
        "an enhanced image in 3 files, of which 1 cannot be found or read; all are needed: export the series "
        "again"
    )
    with pytest.raises(DataError, match=rf"^a: {reason}$"):
        read_volume(tmp_path / "raw" / "a")
    found = prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    assert found.made == 1
    assert [scan.reason for scan in found.rejected] == [reason]


def test_a_whole_volume_beside_a_broken_one_is_read(
    tmp_path: Path, write_parts: Write, write_series: Write
) -> None:
    write_parts(tmp_path)
    (tmp_path / "1.dcm").unlink()
    write_series(tmp_path, series="1.9", prefix="whole")
    assert find_scans(tmp_path) == [tmp_path]
    assert read_volume(tmp_path).shape == (4, 3, 4)


def test_a_damaged_file_is_a_missing_one(tmp_path: Path, write_parts: Write) -> None:
    write_parts(tmp_path)
    (tmp_path / "1.dcm").write_bytes((tmp_path / "1.dcm").read_bytes()[:300])
    assert "in 3 files, of which 1 cannot" in discover(tmp_path).sources[0].left_out


def test_a_gap_is_seen_where_the_number_of_files_is_not_told(tmp_path: Path, write_parts: Write) -> None:
    write_parts(tmp_path, total=None)
    (source,) = discover(tmp_path).sources
    assert (source.note, source.left_out) == (UNCOUNTED, "")
    assert read_volume(tmp_path).note == UNCOUNTED
    (tmp_path / "1.dcm").unlink()
    assert "in 3 files, of which 1 cannot" in discover(tmp_path).sources[0].left_out


def scatter(folder: Path) -> None:
    """Put each file into a folder of its own."""
    for number in range(3):
        (folder / f"DIR{number}").mkdir()
        shutil.move(folder / f"{number}.dcm", folder / f"DIR{number}" / "IM1")


def test_volumes_in_files_in_several_folders_are_whole(tmp_path: Path, write_parts: Write) -> None:
    """Of which each lies in two of three folders."""
    write_parts(
        tmp_path,
        places=[0.0, 2.5, 5.0] * 2,
        each=lambda frame: {"FrameContent": {"TemporalPositionIndex": 1 + frame // 3}},
    )
    scatter(tmp_path)
    sources = discover(tmp_path).sources
    assert [(source.key, source.left_out) for source in sources] == [("DIR0/IM1", ""), ("DIR1/IM1", "")]


def test_files_in_several_folders_are_put_together(tmp_path: Path, write_parts: Write) -> None:
    write_parts(tmp_path)
    scatter(tmp_path)
    (source,) = discover(tmp_path).sources
    assert (source.key, source.left_out) == ("DIR0/IM1", "")
    np.testing.assert_array_equal(array_of(source), VALUES.T - 1024)


def test_a_copy_does_not_lend_what_is_missing(tmp_path: Path, write_parts: Write) -> None:
    for name, gone in (("a", 1), ("b", 2)):
        write_parts(tmp_path / name)
        (tmp_path / name / f"{gone}.dcm").unlink()
    left_out = [source.left_out for source in discover(tmp_path).sources]
    assert len(left_out) == 2
    assert all("in 3 files, of which 1 cannot" in reason for reason in left_out)


def test_two_images_of_one_series_are_not_mixed(tmp_path: Path, write_parts: Write) -> None:
    write_parts(tmp_path / "a")
    write_parts(tmp_path / "b", image="1.6", places=[2.5 * frame + 1.25 for frame in range(6)])
    for path in (tmp_path / "b").iterdir():
        shutil.move(path, tmp_path / "a" / f"b{path.name}")
    sources = discover(tmp_path).sources
    assert [len(source.parts.names) for source in sources if source.parts is not None] == [6, 6]
