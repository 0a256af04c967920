"""Looking for scans among hostile headers: each costs itself alone, all workers find the others."""

import os
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
from mim3d.data.listing import read_listing, write_listing
from mim3d.data.prepare import prepare_store
from mim3d.data.search import CLOSED, find_images, find_scans
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
    """200 MB of zeros that stand for a header, in 0.2 MB."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(packer.compress(bytes(10**7)) for _ in range(20))
    return begun(DEFLATED) + packed + packer.flush()


def endless(frames: int = 400_000) -> bytes:
    """A header of so many frames of which nothing is said: it takes minutes and gigabytes to read."""
    rows = b"\x28\0\x10\0US\x02\0\x10\0"
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * frames
    return begun(META) + rows + b"\x00\x52\x30\x92SQ\0\0" + struct.pack("<I", len(items)) + items


@pytest.mark.parametrize(
    ("header", "limits", "reason"),
    [
        (
            bomb,
            Limits(600.0, GB // 8),
            ": left out; a whole, standard file is needed: export or copy it again",
        ),
        (endless, Limits(20.0, 4 * GB), ": took longer than 2 s; if it needs more, raise --case-seconds"),
    ],
)
def test_a_hostile_header_costs_itself_alone(
    tmp_path: Path, write_series: Write, header: Callable[[], bytes], limits: Limits, reason: str
) -> None:
    raw = tmp_path / "raw"
    write_series(raw / "good", series="1.2.1")
    write_series(raw / "beside", series="1.2.2")
    (raw / "beside" / "hostile.dcm").write_bytes(header())
    (raw / "beside" / "notes.txt").write_text("hello")
    found = prepare_store(raw, tmp_path / "store", spacing="native", workers=2, limits=limits)
    assert {case.note for case in found.catalog.cases} == {
        "",
        "1 damaged DICOM files beside it: slices at its ends may be missing",
    }
    assert [case.shape for case in found.catalog.cases] == [(4, 3, 4)] * 2
    assert [scan.reason for scan in found.rejected] == [f"{DAMAGED}{reason}"]


def test_a_hostile_header_that_a_csv_names_costs_its_row(tmp_path: Path, write_series: Write) -> None:
    write_series(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "endless").write_bytes(endless())
    write_listing(tmp_path / "cases.csv", [{"image": "good"}, {"image": "bad"}], [])
    supervision = Supervision(workers=1, limits=Limits(2.0))
    good, bad = read_listing(tmp_path / "cases.csv", supervision).sources
    assert (good.patient, good.parts is None) == ("Doe^Jane", False)
    assert (bad.patient, bad.parts) == (None, None)  # reading it says why


def test_an_archive_that_cannot_be_looked_into_is_on_record(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("endless", endless())
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04")
    supervision = Supervision(workers=2, limits=Limits(2.0))
    images = {image.path.name: image.left_out for image in find_images([tmp_path], supervision=supervision)}
    late = f"{DAMAGED}: took longer than 2 s; if it needs more, raise --case-seconds"
    assert images == {"a.zip": late, "b.zip": ""}  # reading b.zip says why it is refused


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


def test_a_folder_that_may_not_be_opened_is_on_record(
    tmp_path: Path, write_series: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "raw" / "good")
    (tmp_path / "raw" / "closed").mkdir()

    def refusing(listed: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any) -> Any:
            if str(path).endswith("closed"):
                raise PermissionError(13, "Permission denied", str(path))
            return listed(path)

        return refuse

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    found = prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    assert found.made == 1
    assert [scan.reason for scan in found.rejected] == [CLOSED]


def test_names_and_not_voxels_of_other_formats_are_read(tmp_path: Path) -> None:
    """A file that waits for ever when it is opened is found by its name."""
    for name in ("a.nii", "b.nii.gz", "c.nrrd", "d.mha"):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).chmod(0)
    assert [path.name for path in find_scans(tmp_path)] == ["a.nii", "b.nii.gz", "c.nrrd", "d.mha"]
