"""Compressed NRRD and MetaImage: damage is told, of whichever kind, and never waited for."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from mim3d.data.volume import read_volume
from mim3d.errors import DataError

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (16, 17, 18)).astype("<i2")
RAW = VOXELS.T.tobytes()
DAMAGED = "its compressed voxels are damaged or cut off"
FEWER = rf"promises voxels of {16 * 17 * 19 * 2} bytes, but unpacked there are {len(RAW)} bytes of them;"
ZLIB, GZIP = zlib.compress(RAW), gzip.compress(RAW)
Damage = Callable[[bytes], bytes]


def metaimage(sides: str = "16 17 18", data: str = "LOCAL", **fields: int) -> bytes:
    lines = {"ObjectType": "Image", "NDims": 3, "BinaryData": True, "CompressedData": True}
    lines |= {"ElementSpacing": "1 1 2", "DimSize": sides, "ElementType": "MET_SHORT"}
    lines |= {"CompressedDataSize": len(ZLIB), **fields, "ElementDataFile": data}
    return "".join(f"{name} = {value}\n" for name, value in lines.items()).encode()


def nrrd(sides: str = "16 17 18", *fields: str, end: str = "\n") -> bytes:
    lines = ["NRRD0005", "type: int16", "dimension: 3", f"sizes: {sides}", "endian: little", "encoding: gzip"]
    lines += ["space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,2)", *fields]
    return end.join([*lines, "", ""]).encode()


def flipped(stream: bytes, place: int) -> bytes:
    broken = bytearray(stream)
    broken[place] ^= 0x55
    return bytes(broken)


KINDS: dict[str, tuple[Callable[..., bytes], bytes]] = {".mha": (metaimage, ZLIB), ".nrrd": (nrrd, GZIP)}


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda stream: b"x LOCAL\n" * 80, DAMAGED),  # MetaIO never came back from these
        (lambda stream: b"x LOCAL\n" + stream, DAMAGED),
        (lambda stream: flipped(stream, len(stream) // 2), DAMAGED),
        (lambda stream: flipped(stream, -6), DAMAGED),
        (lambda stream: stream[: len(stream) // 2], rf"{DAMAGED} \(the stream has no end\)"),
        (lambda stream: stream[:-2], rf"{DAMAGED} \(the stream has no end\)"),
        (lambda stream: bytes(len(stream)), DAMAGED),
        (lambda stream: b"", rf"{DAMAGED} \(the stream has no end\)"),
    ],
)
def test_damage_is_told(tmp_path: Path, suffix: str, damage: Damage, reason: str) -> None:
    head, stream = KINDS[suffix]
    (tmp_path / f"a{suffix}").write_bytes(head() + damage(stream))
    with pytest.raises(DataError, match=rf"^a{suffix}: {reason}"):
        read_volume(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_voxels_that_are_not_there_are_told(tmp_path: Path, suffix: str) -> None:
    head, stream = KINDS[suffix]
    (tmp_path / f"a{suffix}").write_bytes(head("16 17 19") + stream)
    with pytest.raises(DataError, match=rf"^a{suffix}: its header {FEWER}"):
        read_volume(tmp_path / f"a{suffix}")


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(metaimage(CompressedDataSize=10**6) + zlib.compress(bytes(60_000_000)))
    with pytest.raises(DataError, match=r"^a\.mha: .* but unpacked there are more than 16787008; a whole"):
        read_volume(tmp_path / "a.mha")


def test_a_length_that_cuts_the_stream_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(metaimage(CompressedDataSize=len(ZLIB) - 20) + ZLIB)
    with pytest.raises(DataError, match=rf"^a\.mha: {DAMAGED} \(the stream has no end\)"):
        read_volume(tmp_path / "a.mha")


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"a.mha": metaimage() + ZLIB}, "a.mha"),
        ({"a.mha": metaimage() + ZLIB + b"behind"}, "a.mha"),
        ({"a.mhd": metaimage(data="a.zraw"), "a.zraw": ZLIB}, "a.mhd"),
        ({"a.mhd": metaimage(data="a.zraw", CompressedDataSize=0), "a.zraw": ZLIB}, "a.mhd"),
        ({"a.nrrd": nrrd() + GZIP}, "a.nrrd"),
        ({"a.nhdr": nrrd("16 17 18", "data file: a.gz"), "a.gz": GZIP}, "a.nhdr"),
        ({"a.nrrd": nrrd(end="\r\n") + GZIP}, "a.nrrd"),
    ],
)
def test_what_is_whole_is_read(tmp_path: Path, files: dict[str, bytes], name: str) -> None:
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    np.testing.assert_array_equal(read_volume(tmp_path / name).array, VOXELS)


@pytest.mark.parametrize("length", [0, -1])
def test_what_metaio_would_read_wrong_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.mha").write_bytes(metaimage(CompressedDataSize=length) + ZLIB)
    with pytest.raises(DataError, match=r"^a\.mha: its header does not say how long its compressed voxels"):
        read_volume(tmp_path / "a.mha")
    (tmp_path / "b.mhd").write_bytes(metaimage(data="b.zraw", HeaderSize=7))
    (tmp_path / "b.zraw").write_bytes(b"1234567" + ZLIB)
    with pytest.raises(DataError, match=r"^b\.mhd: .* a header of their own \(`HeaderSize = 7`\), and would"):
        read_volume(tmp_path / "b.mhd")


@pytest.mark.parametrize("data", ["gone.zraw", "a\0b", "b" * 300])
def test_voxels_that_cannot_be_opened_are_refused_as_ever(tmp_path: Path, data: str) -> None:
    """Found by mutating files: the name with a zero byte ended the reader with an error of another kind."""
    (tmp_path / "a.mhd").write_bytes(metaimage(data=data))
    with pytest.raises(DataError, match=r"^a\.mhd: not a readable \.mhd file"):
        read_volume(tmp_path / "a.mhd")


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def test_what_itk_writes_is_whole(tmp_path: Path, name: str) -> None:
    vectors = SimpleITK.GetImageFromArray(np.stack([VOXELS, VOXELS], axis=-1), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / name), True)
    np.testing.assert_array_equal(read_volume(tmp_path / name, 1).array, VOXELS.T)
    data = {"a.mhd": "a.zraw", "a.nhdr": "a.raw.gz"}.get(name, name)
    whole = (tmp_path / data).read_bytes()
    (tmp_path / data).write_bytes(flipped(whole, -30))
    with pytest.raises(DataError, match=DAMAGED):
        read_volume(tmp_path / name, 1)
