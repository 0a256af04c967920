"""Looking for scans among hostile headers: each costs itself alone, all workers find the others."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data.dicom_held import DAMAGED
from mim3d.data.groups import Supervision
from mim3d.data.limits import GB, Limits
from mim3d.data.listing import write_listing
from mim3d.data.prepare import prepare_store
from mim3d.data.private import open_private
from mim3d.data.search import find_images, find_scans
from mim3d.data.volume import write_nifti

Write = Callable[..., Any]
META = (b"\x02\0\x10\0UI", b"1.2.840.10008.1.2.1\0")
DEFLATED = (b"\x02\0\x10\0UI", b"1.2.840.10008.1.2.1.99\0\0")


def begun(kind: tuple[bytes, bytes]) -> bytes:
    """The beginning of a DICOM file of a transfer syntax."""
    syntax = kind[0] + struct.pack("<H", len(kind[1])) + kind[1]
    length = b"\x02\0\0\0UL\x04\0" + struct.pack("<I", len(syntax))
    return bytes(128) + b"DICM" + length + syntax


def bomb() -> bytes:
    """400 MB of zeros that stand for a header, in 0.4 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(packer.compress(bytes(10**7)) for _ in range(40))
    return begun(DEFLATED) + packed + packer.flush()


def endless(frames: int = 400_000) -> bytes:
    """A header of so many frames of which nothing is said: it takes minutes and gigabytes to read."""
    rows = b"\x28\0\x10\0US\x02\0\x10\0"
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * frames
    return begun(META) + rows + b"\x00\x52\x30\x92SQ\0\0" + struct.pack("<I", len(items)) + items


@pytest.fixture
def hostile(tmp_path: Path, write_series: Write) -> Path:
    """Two series, two files that are no scan, and two hostile headers beside one of the series."""
    raw = tmp_path / "raw"
    write_series(raw / "good", series="1.2.1")
    write_series(raw / "beside", series="1.2.2")
    (raw / "beside" / "bomb.dcm").write_bytes(bomb())
    (raw / "beside" / "endless").write_bytes(endless())
    (raw / "beside" / "notes.txt").write_text("hello")
    write_nifti(raw / "other.nii", np.zeros((2, 3, 4), np.int16), np.eye(4))
    return raw


def test_a_hostile_header_costs_itself_alone(hostile: Path, tmp_path: Path) -> None:
    limits = Limits(10.0, GB // 4)
    found = prepare_store(hostile, tmp_path / "store", spacing="native", workers=2, limits=limits)
    assert {case.note for case in found.catalog.cases} == {
        "",
        "2 damaged DICOM files beside it: slices at its ends may be missing",
    }
    assert [case.shape for case in found.catalog.cases] == [(4, 3, 4)] * 2
    origins = open_private(tmp_path / "store").origins()
    reasons = {Path(origins[scan.key].image).name: scan.reason for scan in found.rejected}
    assert reasons == {
        "bomb.dcm": f"{DAMAGED}: left out; a whole, standard file is needed: export or copy it again",
        "endless": f"{DAMAGED}: took longer than 1 s; if it needs more, raise --case-seconds",
        "other.nii": "all voxels have the same intensity, 0: nothing to learn from",
    }


def test_a_hostile_header_that_a_csv_names_costs_its_row(hostile: Path, tmp_path: Path) -> None:
    rows = [{"image": "good"}, {"image": "beside"}]
    write_listing(hostile / "cases.csv", rows, [])
    limits = Limits(1.0, GB // 4)
    found = prepare_store(hostile, tmp_path / "store", spacing="native", workers=2, limits=limits)
    assert found.made == 1
    assert [scan.reason for scan in found.rejected] == [
        "took longer than 1 s; if it needs more, raise --case-seconds"
    ]


def test_an_archive_that_cannot_be_looked_into_is_on_record(tmp_path: Path, write_series: Write) -> None:
    raw = tmp_path / "raw"
    write_series(raw / "good")
    with zipfile.ZipFile(raw / "a.zip", "w") as archive:
        archive.writestr("endless", endless())
    (raw / "b.zip").write_bytes(b"PK\x03\x04")
    supervision = Supervision(workers=2, limits=Limits(1.0, GB))
    images = {image.path.name: image.left_out for image in find_images([raw], supervision=supervision)}
    late = f"{DAMAGED}: took longer than 1 s; if it needs more, raise --case-seconds"
    assert images == {"good": "", "a.zip": late, "b.zip": ""}  # reading b.zip says why it is refused


def test_workers_find_what_one_process_finds(tmp_path: Path, write_series: Write) -> None:
    for number in range(20):
        write_series(tmp_path / f"{number:02}", series=f"1.3.{number}", places=(0.0, 1.0))
    for number in range(6):
        write_series(tmp_path / f"cd{number % 3}", series="1.4", places=[float(number)], prefix=str(number))
    told: list[tuple[int, int]] = []
    supervision = Supervision(workers=2, on_progress=lambda done, total: told.append((done, total)))
    found = find_images([tmp_path], supervision=supervision)
    here = find_images([tmp_path])
    assert sorted(found, key=lambda image: image.path) == sorted(here, key=lambda image: image.path)
    assert len(found) == 21
    assert (46, 46) in told
    assert told[-1] == (6, 6)  # of the series of cd*, once more


def test_a_folder_without_files_that_may_be_dicom_starts_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mim3d.data.pool._start", None)
    write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16), np.eye(4))
    (found,) = find_images([tmp_path], supervision=Supervision(workers=2))
    assert (found.path, found.parts) == (tmp_path / "a.nii", None)


def test_names_and_not_voxels_of_other_formats_are_read(tmp_path: Path) -> None:
    """A file that waits for ever when it is opened is found by its name."""
    for name in ("a.nii", "b.nii.gz", "c.nrrd", "d.mha"):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).chmod(0)
    assert [path.name for path in find_scans(tmp_path)] == ["a.nii", "b.nii.gz", "c.nrrd", "d.mha"]
