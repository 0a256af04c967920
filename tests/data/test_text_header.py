"""NRRD and MetaImage as they come: detached data, units, kinds; what gives no spacing is refused."""

import gzip
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mim3d.data.guard import require_within
from mim3d.data.text_header import data_files
from mim3d.data.volume import files_beside, read_volume
from mim3d.errors import DataError

VOXELS = np.arange(60).reshape(3, 4, 5).astype("<i2")
RAW = VOXELS.T.tobytes()
RAS = ("space: right-anterior-superior", "space directions: (0.7,0,0) (0,0.7,0) (0,0,2.5)")
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "DimSize": "3 4 5",
    "ElementType": "MET_SHORT",
    "ElementSpacing": "0.7 0.7 2.5",
}


def nrrd(path: Path, *fields: str, sizes: str = "3 4 5", data: bytes = RAW, encoding: str = "raw") -> Path:
    """An NRRD with the voxels in it, or, as a .nhdr, none."""
    lines = [
        "NRRD0005",
        "type: int16",
        f"dimension: {len(sizes.split())}",
        f"sizes: {sizes}",
        "endian: little",
    ]
    text = "\n".join([*lines, f"encoding: {encoding}", *fields]) + "\n"
    path.write_bytes(text.encode() if path.suffix == ".nhdr" else (text + "\n").encode() + data)
    return path


def meta(path: Path, data: str = "voxels.raw", without: str = "", **fields: str) -> Path:
    """A MetaImage header."""
    lines = [f"{name} = {value}" for name, value in {**META, **fields}.items() if name != without]
    path.write_text("\n".join([*lines, f"ElementDataFile = {data}"]) + "\n")
    return path


@pytest.mark.parametrize("key", ["data file", "datafile"])
def test_detached_nrrd(tmp_path: Path, key: str) -> None:
    (tmp_path / "voxels.raw").write_bytes(RAW)
    header = nrrd(tmp_path / "a.nhdr", *RAS, f"{key}: voxels.raw")
    volume = read_volume(header)
    np.testing.assert_array_equal(volume.array, VOXELS)
    np.testing.assert_allclose(volume.affine, np.diag([0.7, 0.7, 2.5, 1]))
    assert volume.note == ""
    assert files_beside(header) == [tmp_path / "voxels.raw"]


def test_detached_nrrd_compressed(tmp_path: Path) -> None:
    (tmp_path / "voxels.raw.gz").write_bytes(gzip.compress(RAW))
    header = nrrd(tmp_path / "a.nhdr", *RAS, "data file: voxels.raw.gz", encoding="gzip")
    np.testing.assert_array_equal(read_volume(header).array, VOXELS)


def test_nrrd_of_a_list_of_slices(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"slice{number}.raw").write_bytes(VOXELS[:, :, number].T.tobytes())
    listed = "\n".join(["data file: LIST", *(f"slice{number}.raw" for number in range(5))])
    header = nrrd(tmp_path / "a.nhdr", *RAS, listed)
    np.testing.assert_array_equal(read_volume(header).array, VOXELS)
    assert len(data_files(header)) == 5


def test_detached_meta_image(tmp_path: Path) -> None:
    (tmp_path / "voxels.raw").write_bytes(RAW)
    header = meta(tmp_path / "a.mhd")
    volume = read_volume(header)
    np.testing.assert_array_equal(volume.array, VOXELS)
    np.testing.assert_allclose(volume.affine, np.diag([-0.7, -0.7, 2.5, 1]))
    assert files_beside(header) == [tmp_path / "voxels.raw"]


def test_detached_meta_image_compressed(tmp_path: Path) -> None:
    (tmp_path / "voxels.zraw").write_bytes(zlib.compress(RAW))
    header = meta(tmp_path / "a.mhd", "voxels.zraw", CompressedData="True")
    np.testing.assert_array_equal(read_volume(header).array, VOXELS)


def test_data_that_are_gone_are_refused(tmp_path: Path) -> None:
    for header in (
        nrrd(tmp_path / "a.nhdr", *RAS, "data file: gone.raw"),
        meta(tmp_path / "a.mhd", "gone.raw"),
    ):
        with pytest.raises(DataError, match=r"its data file beside it"):
            read_volume(header)
        assert files_beside(header) == []


def test_units_of_nrrd(tmp_path: Path) -> None:
    space = ("space: right-anterior-superior", "space directions: (700,0,0) (0,700,0) (0,0,2500)")
    origin = "space origin: (1000,0,0)"
    volume = read_volume(nrrd(tmp_path / "a.nrrd", *space, origin, 'space units: "um" "um" "um"'))
    np.testing.assert_allclose(volume.affine[:3], [[0.7, 0, 0, 1], [0, 0.7, 0, 0], [0, 0, 2.5, 0]])
    assert volume.note == "its header is in um: converted to mm"
    plain = read_volume(nrrd(tmp_path / "b.nrrd", "spacings: 70 70 250", 'units: "cm" "cm" "cm"'))
    assert plain.spacing == pytest.approx((700, 700, 2500))
    with pytest.raises(DataError, match=r"its unit of length is mm, um; one of mm, cm, m, um for all axes"):
        read_volume(nrrd(tmp_path / "c.nrrd", *space, 'space units: "um" "mm" "um"'))
    with pytest.raises(DataError, match=r"its unit of length is pixel"):
        read_volume(nrrd(tmp_path / "c.nrrd", *space, 'space units: "pixel" "pixel" "pixel"'))


def test_units_of_meta_image(tmp_path: Path) -> None:
    (tmp_path / "voxels.raw").write_bytes(RAW)
    volume = read_volume(meta(tmp_path / "a.mhd", ElementSpacing="700 700 2500", DistanceUnits="um"))
    assert volume.spacing == pytest.approx((0.7, 0.7, 2.5))
    assert volume.note == "its header is in um: converted to mm"


@pytest.mark.parametrize("kind", ["list", "vector", "RGB-color"])
@pytest.mark.parametrize("first", [True, False])
def test_kinds_that_are_channels(tmp_path: Path, kind: str, first: bool) -> None:
    channels = np.stack([VOXELS + 100 * number for number in range(3)], axis=0 if first else -1)
    sizes = "3 3 4 5" if first else "3 4 5 3"
    axes = ["(1,0,0)", "(0,1,0)", "(0,0,2)"]
    kinds = ["domain"] * 3
    axes.insert(0 if first else 3, "none")
    kinds.insert(0 if first else 3, kind)
    fields = ("space: RAS", f"space directions: {' '.join(axes)}", f"kinds: {' '.join(kinds)}")
    path = nrrd(tmp_path / "a.nrrd", *fields, sizes=sizes, data=channels.astype("<i2").T.tobytes())
    np.testing.assert_array_equal(read_volume(path, 2).array, VOXELS + 200)
    with pytest.raises(DataError, match=r"3 channels or time points in \(3, 4, 5, 3\)"):
        read_volume(path)


def test_time_in_nrrd_is_refused(tmp_path: Path) -> None:
    fields = (
        "space: RAS",
        "space directions: (1,0,0) (0,1,0) (0,0,2) none",
        "kinds: domain domain domain time",
    )
    with pytest.raises(DataError, match=r"^a\.nrrd: one of its axes is of the kind `time`.*`list` is needed"):
        read_volume(nrrd(tmp_path / "a.nrrd", *fields, sizes="3 4 5 1"), 0)


def test_nrrd_without_orientation_is_said(tmp_path: Path) -> None:
    note = "its header states no orientation: axes taken as left, posterior, superior"
    assert read_volume(nrrd(tmp_path / "a.nrrd", "spacings: 1 1 2")).note == note
    axes = "space directions: (1,0,0) (0,1,0) (0,0,2)"
    assert read_volume(nrrd(tmp_path / "b.nrrd", "space: scanner-xyz", axes)).note == note
    with pytest.raises(
        DataError, match=r"its space is 3d-left-handed, which does not say which side is left"
    ):
        read_volume(nrrd(tmp_path / "c.nrrd", "space: 3D-left-handed", axes))


def test_no_spacing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "voxels.raw").write_bytes(RAW)
    with pytest.raises(DataError, match=r"^a\.nrrd: its header has no spacing; `space directions` or"):
        read_volume(nrrd(tmp_path / "a.nrrd"))
    with pytest.raises(DataError, match=r"^a\.mhd: its header has no spacing; `ElementSpacing` is needed"):
        read_volume(meta(tmp_path / "a.mhd", without="ElementSpacing"))


@pytest.mark.parametrize("side", ["0", "-1", "nan", "inf", "x"])
def test_spacing_that_is_none_is_refused(tmp_path: Path, side: str) -> None:
    (tmp_path / "voxels.raw").write_bytes(RAW)
    with pytest.raises(DataError, match=rf"^a\.mhd: its spacing is {side} x 1 x 2; positive, finite"):
        read_volume(meta(tmp_path / "a.mhd", ElementSpacing=f"{side} 1 2"))
    with pytest.raises(DataError, match=rf"^a\.nrrd: its spacing is {side} x 1 x 2; positive, finite"):
        read_volume(nrrd(tmp_path / "a.nrrd", f"spacings: {side} 1 2"))


def test_an_axis_of_channels_has_no_spacing(tmp_path: Path) -> None:
    data = np.stack([VOXELS, VOXELS + 100]).T.tobytes()
    fields = ("spacings: nan 1 1 2", "kinds: list domain domain domain")
    volume = read_volume(nrrd(tmp_path / "a.nrrd", *fields, sizes="2 3 4 5", data=data), 1)
    assert volume.spacing == (1, 1, 2)
    np.testing.assert_array_equal(volume.array, VOXELS + 100)


@pytest.mark.parametrize("tail", [" a" + " " * 60_000 + "b", " " * 60_000, " " + "a" * 5000])
def test_a_hostile_name_of_the_data_file_ends_nothing(tmp_path: Path, tail: str) -> None:
    """Names were looked for in a time that grew with the square of their spaces; a long one ended it all."""
    text = f"ObjectType = Image\nElementSpacing = 1 1 1\nElementDataFile ={tail}\n"
    (tmp_path / "a.mhd").write_text(text)
    started = time.monotonic()
    assert data_files(tmp_path / "a.mhd") == []
    with suppress(OSError):  # of a name that is too long, which whoever asks bears
        require_within(tmp_path / "a.mhd", tmp_path)
    assert time.monotonic() - started < 5
