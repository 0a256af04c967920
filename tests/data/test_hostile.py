"""Broken and hostile scans beside good ones: each is rejected for its own reason, the good become cases."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from mim3d.data.dicom_header import read_header
from mim3d.data.limits import GB, Limits
from mim3d.data.prepare import prepare_store
from mim3d.data.private import open_private
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import DataError

SHAPE = (8, 9, 10)
NIFTI_DIM = 40
"""Where in a NIfTI-1 header the number of axes stands, then the voxels per axis, all int16."""


def noise(seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def nifti(array: np.ndarray[Any, Any], affine: Any = None) -> bytes:
    image = nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine)
    return bytes(image.to_bytes())


def claiming(shape: tuple[int, int, int], body: bytes) -> bytes:
    """A NIfTI of int16 whose header promises a shape, whatever follows."""
    whole = bytearray(nifti(noise()))
    struct.pack_into("<4h", whole, NIFTI_DIM, 3, *shape)
    return bytes(whole[:352]) + body


def nrrd(shape: tuple[int, int, int]) -> bytes:
    sizes = " ".join(map(str, shape))
    return f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: raw\nendian: little\n\n".encode()


def metaimage(axes: str) -> bytes:
    """What MetaIO does not survive."""
    lines = ("ObjectType = Image", f"NDims = {axes}", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 0 0 0")
    more = ("DimSize = 6 7 8", "ElementType = MET_SHORT", "ElementDataFile = LOCAL", "")
    return "\n".join([*lines, *more]).encode() + bytes(672)


def long_extension() -> bytes:
    """A NIfTI whose header is followed by an extension of 2 GB, as it says."""
    whole = bytearray(nifti(noise()))
    struct.pack_into("<f", whole, 108, 2.0**31)
    return bytes(whole[:348]) + b"\1\0\0\0" + struct.pack("<ii", 2**31 - 16, 6) + bytes(1440)


def bomb() -> bytes:
    """3.6 GB of zeros in 3.5 MB, and a header that owns up to them."""
    return gzip.compress(claiming((1200, 1200, 1200), b"")) + b"".join([gzip.compress(bytes(10**8))] * 36)


GZIPPED = gzip.compress(nifti(noise()))
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "truncated gzip": (
        "a.nii.gz",
        GZIPPED[: len(GZIPPED) // 2],
        "the scan: a gzip file that was cut off; a whole",
    ),
    "gzip truncated in its voxels": (
        "a.nii.gz",
        gzip.compress(nifti(noise()), 0)[:1500],
        "not a readable NIfTI file (Compressed file ended before the end-of-stream marker was reached)",
    ),
    "damaged gzip": ("a.nii.gz", GZIPPED[:500] + bytes(50) + GZIPPED[550:], "not a readable NIfTI file ("),
    "flipped bits in a gzip": (
        "a.nii.gz",
        gzip.compress(nifti(noise()), 0)[:800] + b"!" + gzip.compress(nifti(noise()), 0)[801:],
        "not a readable NIfTI file (CRC check failed",
    ),
    "much behind the voxels": (
        "a.nii.gz",
        gzip.compress(nifti(noise()) + bytes(60 << 20), 1),
        "the scan: more than 16 MB lie behind the voxels that its header promises",
    ),
    "axes below zero": ("a.mha", metaimage("-1"), "gives '-1' as the number of axes; 3 is needed"),
    "axes beyond all": (
        "a.mha",
        metaimage("3999999999999"),
        "gives '3999999999999' as the number of axes; 3",
    ),
    "axes that are none": ("a.mha", metaimage("1e308"), "gives '1e308' as the number of axes; 3 is needed"),
    "no place of voxels": (
        "a.mha",
        metaimage("3").replace(b"ElementDataFile = L", b"ElementDataFile\0\0\0\0"),
        "its header does not say where its voxels are; `ElementDataFile` is needed",
    ),
    "a header of 2 GB": ("a.nii", long_extension(), "its header alone asks for more memory than there is"),
    "32767^3 voxels": (
        "a.nii.gz",
        gzip.compress(claiming((32767,) * 3, bytes(1440))),
        "its header promises 32767x32767x32767 voxels, 7.04e+04 GB, but the file holds",
    ),
    "32767^3 voxels, nrrd": (
        "a.nrrd",
        nrrd((32767,) * 3),
        "promises 32767x32767x32767 voxels, 7.04e+04 GB, but",
    ),
    "more voxels than bytes": (
        "a.nii",
        claiming((8, 9, 11), bytes(1440)),
        "holds 0.00144 MB at most; a whole",
    ),
    "gzip bomb": ("a.nii.gz", bomb(), "promises 1200x1200x1200 voxels, 3.46 GB, but 0."),
    "negative sides": ("a.nii", claiming((-8, 9, 10), bytes(1440)), "the scan: "),
    "no side": ("a.nii", claiming((0, 9, 10), bytes(1440)), "the scan: "),
    "text": (
        "a.nii.gz",
        b"Patient will bring the scan on Monday.\n" * 20,
        "ends in .gz, but it is no gzip file; a whole",
    ),
    "zero bytes": ("a.nii.gz", b"", "the scan: an empty file of 0 bytes; a whole one is needed"),
    "NaN only": ("a.nii", nifti(np.full(SHAPE, np.nan, np.float32)), "no voxel has a finite intensity"),
    "NaN and Inf only": (
        "a.nii",
        nifti(np.array([np.nan, np.inf, -np.inf] * 240, np.float32).reshape(SHAPE)),
        "no voxel has a finite intensity",
    ),
    "one slice": (
        "a.nii",
        nifti(noise()[:, :, :1]),
        "the scan: a scan of one slice, 8x9x1 voxels; at least two",
    ),
    "constant": ("a.nii", nifti(np.full(SHAPE, 7, np.int16)), "all voxels have the same intensity, 7"),
    "voxels of a metre": (
        "a.nii",
        nifti(noise(), np.diag([2000.0, 2, 2, 1])),
        "voxels of 2e+03 x 2 x 2 mm; 0.001",
    ),
    "voxels of a micrometre": (
        "a.nii",
        nifti(noise(), np.diag([2e-4, 2, 2, 1])),
        "0.001 to 1000 mm are needed",
    ),
    "thinner than the grid": (
        "a.nii",
        nifti(noise(), np.diag([0.1, 2, 2, 1])),
        "only 1x9x10 voxels of 2 x 2 x 2",
    ),
    "larger than memory on the grid": (
        "a.nii",
        nifti(noise(), np.diag([900.0, 900, 900, 1])),
        "it takes 3600x4050x4500 voxels of 2 x 2 x 2 mm on the working grid, 131 GB, but 0.",
    ),
}


def expected_reasons(tmp_path: Path, raw: Path) -> dict[str, str]:
    """Write everything hostile, each in a folder of its own; gives part of the reason by folder."""
    expected = {}
    for number, (name, content, reason) in enumerate(HOSTILE.values()):
        (raw / str(number)).mkdir(parents=True)
        (raw / str(number) / name).write_bytes(content)
        expected[str(number)] = reason
    write_nifti(tmp_path / "outside" / "a.nii", noise(8), np.eye(4))
    for name, target in (("out", tmp_path / "outside" / "a.nii"), ("gone", raw / "nowhere.nii")):
        (raw / name).mkdir()
        (raw / name / "a.nii").symlink_to(target)
    expected |= {
        "out": "the scan: a symbolic link that leaves the data folder; copy what it means",
        "gone": "the scan: no such file or folder; a scan is",
    }
    (raw / "pipe").mkdir()
    os.mkfifo(raw / "pipe" / "a.nii.gz")
    expected["pipe"] = "the scan: neither a file nor a folder; leave it out"
    if os.geteuid():
        write_nifti(raw / "forbidden" / "a.nii", noise(9), np.eye(4))
        (raw / "forbidden" / "a.nii").chmod(0)
        expected["forbidden"] = "the scan: cannot be opened (Permission denied); mend its permissions"
    return expected


@pytest.mark.parametrize("workers", [1, 2])
def test_each_is_rejected_for_its_own_reason_and_the_others_proceed(tmp_path: Path, workers: int) -> None:
    raw, store = tmp_path / "raw", tmp_path / "store"
    expected = expected_reasons(tmp_path, raw)
    for name in ("good", "zgood"):
        write_nifti(raw / name / "a.nii.gz", noise(len(name)), np.diag([2.0, 2.0, 2.0, 1.0]))
    (raw / "good" / "link.nii.gz").symlink_to("a.nii.gz")
    found = prepare_store(raw, store, spacing=(2.0,) * 3, workers=workers, limits=Limits(30, GB // 2))
    origins = open_private(store).origins()
    reasons = {Path(origins[scan.key].image).parent.name: scan.reason for scan in found.rejected}
    assert reasons.keys() == expected.keys()
    assert found.made == 3
    for folder, reason in expected.items():
        assert reason in reasons[folder], folder
        assert "\n" not in reasons[folder]
        assert str(tmp_path) not in reasons[folder]


def test_a_header_that_names_an_impossible_file_is_rejected(tmp_path: Path) -> None:
    write_nifti(tmp_path / "raw" / "good.nii", noise(), np.eye(4))
    (tmp_path / "raw" / "a.mhd").write_bytes(b"ObjectType = Image\nNDims = 3\nElementDataFile = a\0b\n")
    (tmp_path / "raw" / "b.mhd").write_bytes(
        b"ObjectType = Image\nNDims = 3\nElementDataFile = " + b"a" * 5000
    )
    found = prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    assert found.made == 1
    reasons = " | ".join(sorted(scan.reason for scan in found.rejected))
    assert "the scan: its header names a file that cannot be; a whole header is needed" in reasons
    assert "the scan: its header has no spacing; `ElementSpacing` is needed" in reasons


def test_reading_anything_is_guarded(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(claiming((32767,) * 3, b""))
    with pytest.raises(DataError, match=r"a\.nii: its header promises 32767x32767x32767 voxels"):
        read_volume(tmp_path / "a.nii")


def test_headers_of_odd_elements_are_no_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(4) + (25).to_bytes(4, "little") + bytes(25))
    assert read_header(tmp_path / "a.dcm") is None

    def greedy(*_: object, **__: object) -> None:
        raise MemoryError  # as an element does that claims 4 GB, where memory is limited

    monkeypatch.setattr("pydicom.dcmread", greedy)
    assert read_header(tmp_path / "a.dcm") is None


def test_what_readers_say_is_not_shown(tmp_path: Path) -> None:
    read = "import pathlib; from mim3d.data.dicom_header import read_header; from mim3d.data import guard"
    (tmp_path / "a.dcm").write_bytes(bytes(4) + (25).to_bytes(4, "little") + b"Doe^Jane".ljust(25))
    code = f"{read}; read_header(pathlib.Path({str(tmp_path / 'a.dcm')!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
