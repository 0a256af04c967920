"""The same scan has the same identity wherever it lies and whatever it is called; another one has another."""

import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from mim3d.data.case_channels import source_of
from mim3d.data.identity import ENDS, identity
from mim3d.data.images import image_at
from mim3d.data.sources import Source
from mim3d.data.volume import write_nifti

Write = Callable[..., Any]


def of(*paths: Path) -> str | None:
    return identity(source_of(Path(";".join(map(str, paths)))))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of which the middle is not read."""
    (tmp_path / "Doe.nii").write_bytes(bytes(range(256)) * 64)
    return tmp_path / "Doe.nii"


def changed(file: Path, place: int) -> Path:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    return file


def test_a_copy_by_another_name_is_the_same_scan(file: Path, tmp_path: Path) -> None:
    found = of(file)
    assert found is not None
    assert len(found) == 16
    assert int(found, 16) >= 0
    copied = tmp_path / "elsewhere" / "Smith.nii"
    copied.parent.mkdir()
    shutil.copyfile(file, copied)
    os.utime(copied, (0, 0))
    assert of(copied) == found


@pytest.mark.parametrize("place", [0, ENDS - 1, -ENDS, -1])
def test_a_change_at_either_end_is_seen(file: Path, place: int) -> None:
    before = of(file)
    assert of(changed(file, place)) != before


def test_a_change_of_size_is_seen(file: Path) -> None:
    before = of(file)
    content = file.read_bytes()
    file.write_bytes(content[:ENDS] + b"one more" + content[ENDS:])
    assert of(file) != before


@pytest.mark.parametrize("place", [ENDS, -ENDS - 1])
def test_a_change_in_the_middle_alone_is_not_seen(file: Path, place: int) -> None:
    before = of(file)
    assert of(changed(file, place)) == before


def test_but_that_of_a_compressed_file_is(tmp_path: Path) -> None:
    """Its checksum is at its end."""
    voxels = np.random.default_rng(0).integers(-1000, 1000, (40, 30, 20)).astype(np.int16)
    write_nifti(tmp_path / "a.nii.gz", voxels, np.eye(4))
    voxels[20, 15, 10] += 1
    write_nifti(tmp_path / "b.nii.gz", voxels, np.eye(4))
    assert of(tmp_path / "a.nii.gz") != of(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("size", [0, 1, ENDS - 1, ENDS, ENDS + 1, 2 * ENDS])
def test_short_files_are_read_whole(tmp_path: Path, size: int) -> None:
    found = set()
    for place in {0, size // 2, size - 1} & set(range(size)):
        content = bytearray(size)
        content[place] = 1
        (tmp_path / "scan.nii").write_bytes(content)
        found.add(of(tmp_path / "scan.nii"))
    (tmp_path / "scan.nii").write_bytes(bytes(size))
    assert of(tmp_path / "scan.nii") not in found
    assert len(found) == min(size, 3)


@pytest.mark.parametrize("names", [("scan.mhd", "scan.raw"), ("scan.nhdr", "scan.raw")])
def test_data_beside_a_header_belong_to_it(tmp_path: Path, names: tuple[str, str]) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    SimpleITK.WriteImage(image, str(tmp_path / names[0]))
    before = of(tmp_path / names[0])
    assert before is not None
    changed(tmp_path / names[1], -1)
    assert of(tmp_path / names[0]) != before


def test_both_files_of_a_pair_are_read_from_either(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_bytes(b"header")
    (tmp_path / "a.img").write_bytes(b"voxels")
    before = of(tmp_path / "a.hdr")
    assert of(tmp_path / "a.img") == before
    changed(tmp_path / "a.img", 0)
    assert of(tmp_path / "a.hdr") != before


def test_the_order_of_channels_counts(file: Path, tmp_path: Path) -> None:
    other = changed(Path(shutil.copyfile(file, tmp_path / "other.nii")), 0)
    assert len({of(file), of(other), of(file, other), of(other, file)}) == 4


def test_so_does_which_of_several_is_meant(file: Path) -> None:
    source = source_of(file)
    assert len({identity(replace(source, channel=channel)) for channel in (None, 0, 1)}) == 3
    assert identity(replace(source, channel="all")) == identity(source)


def test_slices_count_in_any_order_and_by_any_name(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "Doe")
    found = of(tmp_path / "Doe")
    assert found is not None
    (tmp_path / "copied").mkdir()
    for number, path in enumerate(sorted((tmp_path / "Doe").iterdir(), reverse=True)):
        shutil.copyfile(path, tmp_path / "copied" / f"{number * 7 % 4}.dcm")
    assert of(tmp_path / "copied") == found
    assert of(tmp_path / "copied" / "0.dcm") == found
    changed(tmp_path / "copied" / "2.dcm", -1)
    assert of(tmp_path / "copied") != found


def test_what_lies_beside_the_slices_does_not_count(tmp_path: Path, write_series: Write) -> None:
    """Else a prediction that is written among them would make another scan of it."""
    write_series(tmp_path / "scan")
    found = of(tmp_path / "scan")
    (tmp_path / "scan" / "labels.nii.gz").write_bytes(b"labels")
    assert of(tmp_path / "scan") == found


def test_series_of_one_archive_are_told_apart(tmp_path: Path, write_series: Write) -> None:
    for number in range(2):
        write_series(tmp_path / "in" / str(number), series=f"1.2.{number}", add=number)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as packed:
        for path in (tmp_path / "in").rglob("*.dcm"):
            packed.write(path, path.relative_to(tmp_path / "in"))
    series = [tmp_path / "study.zip" / str(number) / "0.dcm" for number in range(2)]
    found = [of(path) for path in series]
    assert None not in found
    assert found[0] != found[1]
    assert of(Path(shutil.copyfile(tmp_path / "study.zip", tmp_path / "b.zip")) / "1" / "0.dcm") == found[1]
    assert of(tmp_path / "study.zip") is None  # it does not say which of the two


def test_what_was_found_by_headers_is_what_a_folder_stands_for(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "scan")
    image = image_at(tmp_path / "scan")
    assert image is not None
    found = Source(image=tmp_path / "scan", key="", parts=image.parts)
    assert identity(found) == of(tmp_path / "scan")


def test_frames_of_one_file_are_told_apart(tmp_path: Path, write_enhanced: Write) -> None:
    write_enhanced(tmp_path / "frames.dcm", np.arange(48).reshape(4, 3, 4))
    image = image_at(tmp_path / "frames.dcm")
    assert image is not None
    assert image.parts is not None
    some = replace(image.parts, names=image.parts.names[1:], frames=image.parts.frames[1:])
    one, other = (Source(image=image.path, key="", parts=parts) for parts in (image.parts, some))
    assert None not in (identity(one), identity(other))
    assert identity(one) != identity(other)


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    (tmp_path / "link.nii").symlink_to(tmp_path / "gone.nii")
    os.mkfifo(tmp_path / "pipe.nii")
    for name in ("gone.nii", "nothing", "broken.zip", "link.nii", "pipe.nii"):
        assert of(tmp_path / name) is None, name
