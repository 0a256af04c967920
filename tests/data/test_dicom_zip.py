"""ZIP archives: what is in them is read like a folder, and what is too much or leads out is refused."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data import dicom_zip
from mim3d.data.dicom_held import CROWDED
from mim3d.data.dicom_zip import members, on_disk
from mim3d.data.images import image_at
from mim3d.data.search import find_images, find_scans
from mim3d.data.volume import read_volume
from mim3d.errors import DataError

Write = Callable[..., Any]


def left_out_of(folder: Path) -> dict[Path, str]:
    """What is left out of a folder, and what it is."""
    return {image.path: image.left_out for image in find_images([folder]) if image.left_out}


def pack(archive: Path, folder: Path, **names: bytes) -> Path:
    """Pack all files of a folder, and others by name."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))
        for name, content in names.items():
            packed.writestr(name, content)
    return archive


def test_an_archive_of_one_volume_is_read_like_a_folder(tmp_path: Path, write_series: Write) -> None:
    stored = write_series(
        tmp_path / "in" / "Doe^Jane", suffix="", StudyInstanceUID="1.9", Manufacturer="SIEMENS"
    )
    archive = pack(tmp_path / "a.zip", tmp_path / "in", notes=b"hello")
    assert find_scans(tmp_path)[0] == archive
    volume = read_volume(archive)
    np.testing.assert_array_equal(volume.array, stored.T - 1024)
    np.testing.assert_array_equal(volume.affine, read_volume(tmp_path / "in" / "Doe^Jane").affine)
    assert volume.study.manufacturer == "Siemens"
    image = image_at(archive)
    assert image is not None
    assert (image.patient, image.study) == ("Doe^Jane", "1.9")


def test_each_volume_of_an_archive_has_a_path(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "in" / "one", series="1.1")
    write_series(tmp_path / "in" / "two", series="1.2", add=7)
    write_series(
        tmp_path / "in" / "two", series="1.3", prefix="scout", ImageType=["ORIGINAL", "X", "LOCALIZER"]
    )
    archive = pack(tmp_path / "a.zip", tmp_path / "in")
    for path in (tmp_path / "in").rglob("*.dcm"):
        path.unlink()
    scans = find_scans(tmp_path)
    assert scans == [archive / "one" / "3.dcm", archive / "two" / "3.dcm"]
    assert [read_volume(scan).array[0, 0, 0] for scan in scans] == [-24, -17]
    assert read_volume(archive / "two").array[0, 0, 0] == -17
    assert left_out_of(tmp_path) == {archive / "two" / "scout3.dcm": "a localizer"}
    assert on_disk(scans[0]) == archive
    with pytest.raises(DataError, match=r"^a\.zip: 2 DICOM series in one folder, one is needed"):
        read_volume(archive)
    with pytest.raises(DataError, match=r"^gone: no slice of a DICOM volume"):
        read_volume(archive / "gone")


def test_an_archive_of_too_many_volumes_is_refused(
    tmp_path: Path, write_series: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mim3d.data.dicom_held.MOST_VOLUMES", 2)
    for number in range(3):
        write_series(tmp_path / "in" / str(number), series=f"1.{number}", places=[0.0, 1.0])
    (tmp_path / "raw").mkdir()
    archive = pack(tmp_path / "raw" / "a.zip", tmp_path / "in")
    assert left_out_of(tmp_path / "raw") == {archive: CROWDED}
    with pytest.raises(DataError, match=r"^a\.zip: no slice of a DICOM volume"):
        read_volume(archive)


def test_other_archives_hold_no_scan(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    pack(tmp_path / "a.zip", tmp_path / "empty", notes=b"hello")
    assert find_scans(tmp_path) == []
    assert left_out_of(tmp_path) == {}


@pytest.mark.parametrize("name", ["../out.dcm", "/etc/out.dcm", "a/../../out.dcm", "..\\out.dcm"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    archive = pack(tmp_path / "a.zip", tmp_path / "empty", **{name: b"x"})
    assert find_scans(tmp_path) == [archive]
    with pytest.raises(DataError, match=r"^a\.zip: the name of one of its files leads out of it"):
        read_volume(archive)


def test_links_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    archive = pack(
        tmp_path / "a.zip", tmp_path / "empty", **{".hidden": b"x", "__MACOSX/a": b"x", "seen": b"x"}
    )
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert list(members(archive)) == [archive / "seen"]


def test_a_bomb_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    archive = pack(tmp_path / "a.zip", tmp_path / "empty", bomb=bytes(1_000_000))
    with pytest.raises(DataError, match=r"^a\.zip: it unpacks to \d+ times its size, at most 200 are taken"):
        read_volume(archive)


def test_no_more_is_unpacked_than_an_archive_declares(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "in", places=[0.0])
    (tmp_path / "in" / "0.dcm").write_bytes((tmp_path / "in" / "0.dcm").read_bytes() + bytes(500_000))
    archive = pack(tmp_path / "a.zip", tmp_path / "in")
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (700).to_bytes(4, "little")  # its size, unpacked
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"^a\.zip: a file in it is damaged"):
        read_volume(archive)


@pytest.mark.parametrize(
    ("bound", "value", "reason"),
    [
        ("MOST_MEMBERS", 3, "it holds 4 files, at most 3 are taken"),
        ("MOST_BYTES", 2**10, r"it unpacks to 0\.0 GiB, at most"),
    ],
)
def test_bounds_hold(
    tmp_path: Path, write_series: Write, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, reason: str
) -> None:
    write_series(tmp_path / "in")
    archive = pack(tmp_path / "a.zip", tmp_path / "in")
    monkeypatch.setattr(dicom_zip, bound, value)
    with pytest.raises(DataError, match=reason):
        read_volume(archive)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    archive = pack(tmp_path / "a.zip", tmp_path / "empty", secret=b"x")
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption in the directory
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"^a\.zip: it is encrypted, an open archive is needed"):
        read_volume(archive)


def test_damage_is_said(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "in")
    whole = pack(tmp_path / "a.zip", tmp_path / "in").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        start = opened.infolist()[2].header_offset
        size = opened.infolist()[2].compress_size
    (tmp_path / "a.zip").write_bytes(
        whole[: start + 40 + size - 12] + b"\xff" * 4 + whole[start + 44 + size - 12 :]
    )
    with pytest.raises(DataError, match=r"^a\.zip: a file in it is damaged"):
        read_volume(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"^a\.zip: not a readable ZIP archive"):
        read_volume(tmp_path / "a.zip")
