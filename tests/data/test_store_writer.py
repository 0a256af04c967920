"""Cases as others find them on disk: OME-Zarr 0.5, few files, nothing written for air."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from mim3d.data.catalog import Case
from mim3d.data.foreground import foreground_table
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, case_folder, num_scales, write_description
from mim3d.data.resample import halve
from mim3d.data.store import open_store
from mim3d.data.store_writer import Content, content_hash, write_case
from mim3d.errors import StoreError
from mim3d.geometry import Box

SHAPE = (40, 36, 33)
ORGANS = LabelSet("organs", {"liver": 5, "spleen": 7}, {"liver": "#aa3322"})
SPACING, FINE = (2.0, 2.0, 2.0), (1.0, 1.0, 3.0)


def voxels() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-1024, 3072, SHAPE).astype(np.int16)


def content() -> Content:
    array, labels = voxels(), (voxels() > 2000).astype(np.uint8) * np.uint8(5)
    case = Case(
        case="one",
        patient="0" * 16,
        split="train",
        shape=SHAPE,
        spacing=SPACING,
        source_spacing=FINE,
        hash=content_hash(array, SPACING, {"organs": labels}),
        statistics={"mean": 0.0},
        labels={"organs": (5, 7)},
        scales=num_scales(SHAPE),
        native=FINE,
    )
    table = foreground_table("one", array > -500, [labels])
    return Content(case, array, np.diag([2.0, 2.0, 2.0, 1.0]), table, {"organs": labels}, array[:30])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_case(tmp_path, content(), {"organs": ORGANS})
    write_description(tmp_path, Settings(SPACING), {"organs": ORGANS})
    return tmp_path


def test_others_can_read_it(store: Path) -> None:
    group = zarr.open_group(case_folder(store, "one"), mode="r")
    ome: Any = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["z", "y", "x"]
    assert {axis["unit"] for axis in image["axes"]} == {"millimeter"}
    assert image["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [4.0, 4.0, 4.0]},
        {"type": "translation", "translation": [1.0, 1.0, 1.0]},
    ]
    array: Any = group["1"]
    assert array.metadata.dimension_names == ("z", "y", "x")
    np.testing.assert_array_equal(array[...].T, halve(voxels()))


def test_others_know_the_labels(store: Path) -> None:
    labels: Any = zarr.open_group(case_folder(store, "one"), mode="r")["labels"]
    assert labels.attrs["ome"]["labels"] == ["organs"]
    shown = labels["organs"].attrs["ome"]["image-label"]
    assert shown["colors"][0] == {"label-value": 5, "rgba": [0xAA, 0x33, 0x22, 255]}
    assert shown["properties"][1] == {"label-value": 7, "name": "spleen"}


def test_the_original_beside_has_the_same_outer_edges(store: Path) -> None:
    native: Any = zarr.open_group(case_folder(store, "one"), mode="r")["native"]
    (data,) = native.attrs["ome"]["multiscales"][0]["datasets"]
    assert data["coordinateTransformations"] == [
        {"type": "scale", "scale": [3.0, 1.0, 1.0]},
        {"type": "translation", "translation": [0.5, -0.5, -0.5]},
    ]


def test_a_case_with_labels_and_original_is_few_files(store: Path) -> None:
    assert sum(path.is_file() for path in case_folder(store, "one").rglob("*")) <= 16


def test_every_chunk_is_checksummed_after_its_compression(store: Path) -> None:
    for name in ("0", "1", "native/0", "labels/organs/0"):
        array: Any = zarr.open_array(case_folder(store, "one") / name, mode="r")
        (shard,) = array.metadata.codecs
        assert [type(codec).__name__ for codec in shard.codecs] == ["BytesCodec", "BloscCodec", "Crc32cCodec"]
        assert shard.chunk_shape == (32, 32, 32)


def test_air_costs_nothing(tmp_path: Path) -> None:
    one = content()
    one.array[...] = -1024
    write_case(tmp_path, one, {"organs": ORGANS})
    files = [path for path in (case_folder(tmp_path, "one") / "0").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2000


def test_a_case_made_anew_takes_the_old_ones_place(store: Path) -> None:
    (case_folder(store, "one") / "left over").touch()
    write_case(store, content(), {"organs": ORGANS})
    assert not (case_folder(store, "one") / "left over").exists()
    assert list((store / ".partial").iterdir()) == []


def test_other_modalities_come_back_in_their_own_unit(tmp_path: Path) -> None:
    one = content()
    magnetic = replace(one.case, modality="MR", slope=0.5, padding=0.0)
    write_case(tmp_path, replace(one, case=magnetic), {"organs": ORGANS})
    write_description(tmp_path, Settings(SPACING), {})
    found = open_store(tmp_path).read("one", Box((38, 0, 0), (4, 3, 3)), (4, 3, 3))[0]
    np.testing.assert_array_equal(found[:2], voxels()[38:, :3, :3] * 0.5)
    assert (found[2:] == 0).all()


def test_a_flipped_byte_in_the_index_of_places_is_an_error(store: Path) -> None:
    (chunk,) = (
        path for path in (case_folder(store, "one") / "foreground" / "c").rglob("*") if path.is_file()
    )
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(StoreError, match="case one: a chunk of its array foreground is damaged"):
        open_store(store).foreground("one", None)


def test_files_folders_and_the_new_name_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda opened: flushed.append(Path(os.readlink(f"/proc/self/fd/{opened}")))
    )
    write_case(tmp_path, content(), {"organs": ORGANS})
    (partial,) = {path for path in flushed if path.parent.name == ".partial"}
    written = (tmp_path / "cases" / "one.ome.zarr").rglob("*")
    names = {path.relative_to(tmp_path / "cases" / "one.ome.zarr") for path in written}
    assert {path.relative_to(partial) for path in flushed[:-1]} == {*names, Path()}
    assert flushed[-1] == tmp_path / "cases"
