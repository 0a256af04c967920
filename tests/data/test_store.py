"""The store: what is written is what is read, at every scale; what is damaged is never read."""

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mim3d.data.catalog import Case, write_index
from mim3d.data.foreground import foreground_table
from mim3d.data.intensity import Quantised, body_of, statistics
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, case_folder, num_scales, write_description
from mim3d.data.resample import halve, sample_linear
from mim3d.data.store import Store, open_store, rebuild_catalog
from mim3d.data.store_writer import Content, content_hash, write_case
from mim3d.errors import StoreError
from mim3d.geometry import Box, Triple, Vector

SHAPE = (70, 61, 40)
ORGANS = LabelSet("organs", {"liver": 5, "spleen": 7}, {"liver": "#aa3322"})
FINE = (1.0, 1.0, 3.0)
CASES = ("one", "two")


def voxels(shape: Triple = SHAPE, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1024, 3072, shape).astype(np.int16)


def label_map() -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:30, 10:30, 10:30] = 5
    labels[40:42, 5:6, 0:3] = 7
    return labels


def content(name: str, seed: int) -> Content:
    array = voxels(seed=seed)
    kept = Quantised(array, 1.0, -1024.0)
    label_maps: dict[str, NDArray[Any]] = {"organs": label_map()} if name == "one" else {}
    case = Case(
        case=name,
        patient="0" * 16,
        split="train",
        shape=SHAPE,
        spacing=(2.0, 2.0, 2.0),
        source_spacing=FINE,
        hash=content_hash(array, (2.0, 2.0, 2.0), label_maps),
        statistics=statistics(kept),
        labels=dict.fromkeys(label_maps, (5, 7)),
        scales=num_scales(SHAPE),
        native=FINE if name == "two" else None,
    )
    native = voxels((140, 122, 27), seed + 10) if name == "two" else None
    table = foreground_table(name, body_of(kept), list(label_maps.values()))
    return Content(case, array, np.diag([2.0, 2.0, 2.0, 1.0]), table, label_maps, native)


def make_store(path: Path) -> Path:
    path.mkdir()
    write_description(path, Settings((2.0, 2.0, 2.0), True), {"organs": ORGANS})
    for seed, name in enumerate(CASES):
        write_case(path, content(name, seed), {"organs": ORGANS})
    write_index(path, rebuild_catalog(path).cases)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(make_store(tmp_path_factory.mktemp("stores") / "store"))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store")


def test_store_knows_what_was_written(store: Store) -> None:
    assert store.spacing == (2.0, 2.0, 2.0)
    assert store.label_sets == {"organs": ORGANS}
    assert [case.case for case in store.catalog.cases] == ["one", "two"]
    assert store.catalog == rebuild_catalog(store.path)
    assert store.attributes("one")["affine"][0] == [2.0, 0.0, 0.0, 0.0]


def test_whole_boxes_come_back_bit_for_bit(store: Store) -> None:
    found = store.read("one", Box((3, 5, 7), (20, 30, 11)), (20, 30, 11))
    assert found.dtype == np.float32
    assert found.swapaxes(-1, -3).flags.c_contiguous
    np.testing.assert_array_equal(found, voxels()[None, 3:23, 5:35, 7:18])


@settings(max_examples=30, deadline=None)
@given(
    start=st.tuples(*[st.floats(-30, 80, width=32)] * 3),
    size=st.tuples(*[st.floats(1, 15, width=32)] * 3),
)
def test_any_box_is_what_memory_gives(store: Store, start: Vector, size: Vector) -> None:
    box, out = Box(start, size), (15, 15, 15)
    expected = sample_linear(voxels(), box, out, -1024.0)
    np.testing.assert_allclose(store.read("one", box, out)[0], expected, atol=2e-2)


def test_outside_is_padding(store: Store) -> None:
    assert (store.read("one", Box((-50, 0, 0), (40, 4, 4)), (40, 4, 4)) == -1024).all()
    partly = store.read("one", Box((66, 0, 0), (8, 4, 4)), (8, 4, 4))[0]
    np.testing.assert_array_equal(partly[:4], voxels()[66:, :4, :4])
    assert (partly[4:] == -1024).all()


def test_half_size_is_read_from_the_half_scale(store: Store) -> None:
    half = halve(voxels())
    assert store.catalog.by_name["one"].scales == 2
    found = store.read("one", Box((2, 4, 6), (64, 40, 20)), (32, 20, 10))[0]
    np.testing.assert_array_equal(found, half[1:33, 2:22, 3:13])
    quarter = store.read("one", Box((0, 0, 0), (64, 40, 20)), (16, 10, 5))[0]
    blocks = half[:32, :20, :10].astype(float).reshape(16, 2, 10, 2, 5, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(quarter, blocks, atol=1e-3)


def test_scale_is_not_coarser_than_the_finest_axis_asked(store: Store) -> None:
    found = store.read("one", Box((0, 0, 0), (64, 40, 20)), (32, 20, 20))[0]
    blocks = voxels()[:64, :40, :20].astype(float).reshape(32, 2, 20, 2, 20).mean(axis=(1, 3))
    np.testing.assert_allclose(found, blocks, atol=1e-3)


def test_half_scale_ends_where_the_volume_ends(store: Store) -> None:
    found = store.read("one", Box((0, 50, 0), (8, 16, 8)), (4, 8, 4))[0]
    assert (found[:, :5] > -1024).any()
    assert (found[:, 6:] == -1024).all()


def test_finer_is_read_from_the_original(store: Store) -> None:
    native = voxels((140, 122, 27), 11)
    fine = store.read("two", Box((5, 6, 3), (10, 10, 9)), (20, 20, 6))[0]
    np.testing.assert_array_equal(fine, native[10:30, 12:32, 2:8])
    same = store.read("two", Box((5, 6, 3), (10, 10, 9)), (10, 10, 9))[0]
    np.testing.assert_array_equal(same, voxels(seed=1)[5:15, 6:16, 3:12])


def test_labels_come_back(store: Store) -> None:
    box = Box((5, 0, -2), (40, 20, 30))
    found = store.read_labels("one", "organs", box, (40, 20, 30))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[:, :, 2:], label_map()[5:45, :20, :28])
    assert (found[:, :, :2] == 0).all()


def test_foreground_lies_inside(store: Store) -> None:
    found = store.foreground("one", "organs")
    assert {value: len(places) for value, places in found.items()} == {5: 1000, 7: 6}
    for value, places in found.items():
        assert places.dtype == np.int32
        assert (label_map()[tuple(places.T)] == value).all()
        assert len(np.unique(places, axis=0)) == len(places)
    body = store.foreground("one", None)[0]
    assert len(body) == 4096
    assert (voxels()[tuple(body.T)] > -500).all()


def test_foreground_hangs_on_the_name_only() -> None:
    body = voxels() > 0
    first, again = (foreground_table("one", body, [label_map()]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, foreground_table("one", np.asfortranarray(body), [label_map()]))
    assert (foreground_table("two", body, [label_map()]) != first).any()


def test_no_body_is_an_empty_list() -> None:
    assert foreground_table("one", np.zeros((3, 3, 3), bool), []).shape == (0, 5)


def test_a_pickled_store_reads_the_same(store: Store) -> None:
    box = Box((0.3, 0.1, 0.7), (9, 9, 9))
    again: Store = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read("two", box, (9, 9, 9)), store.read("two", box, (9, 9, 9)))


@pytest.mark.parametrize(("array", "word"), [("0", "array 0"), ("labels/organs/0", "array labels/organs/0")])
def test_a_flipped_byte_is_an_error(damaged: Path, array: str, word: str) -> None:
    shard = case_folder(damaged, "one") / array / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    store = open_store(damaged)
    read = store.read if array == "0" else partial(store.read_labels, labels="organs")
    with pytest.raises(StoreError, match=f"case one: a chunk of its {word} is damaged; delete its folder"):
        read(case="one", box=Box((0, 0, 0), SHAPE), shape=SHAPE)


def test_a_missing_array_is_an_error(damaged: Path) -> None:
    (case_folder(damaged, "one") / "0" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="case one: its array 0 is missing or damaged"):
        open_store(damaged).read("one", Box((0, 0, 0), (4, 4, 4)), (4, 4, 4))


def test_unknown_names_are_said(store: Store) -> None:
    box = Box((0, 0, 0), (4, 4, 4))
    with pytest.raises(StoreError, match="no case 'three' among its 2; "):
        store.read("three", box, (4, 4, 4))
    with pytest.raises(StoreError, match="case one: no label set 'lesions'; it has: organs"):
        store.read_labels("one", "lesions", box, (4, 4, 4))
    with pytest.raises(StoreError, match="case two: no label set 'organs'; it has: none"):
        store.foreground("two", "organs")


def test_without_an_index_the_cases_are_asked(damaged: Path) -> None:
    expected = open_store(damaged).catalog
    (damaged / "index.parquet").unlink()
    assert open_store(damaged).catalog == expected


def test_a_case_without_attributes_is_said(damaged: Path) -> None:
    (damaged / "index.parquet").unlink()
    (case_folder(damaged, "two") / "zarr.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"case two: its zarr\.json is missing or damaged; delete its folder"
    ):
        open_store(damaged)


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"gone: no such folder, but a store is needed; make one with `mim3d"
    ):
        open_store(tmp_path / "gone")
    with pytest.raises(StoreError, match=r"a folder without store\.json, but a store is needed"):
        open_store(tmp_path)


def test_another_version_is_said(damaged: Path) -> None:
    description = json.loads((damaged / "store.json").read_text())
    (damaged / "store.json").write_text(json.dumps({**description, "version": 2}))
    with pytest.raises(
        StoreError, match="a store of version 2, but this mim3d reads version 1; prepare it again"
    ):
        open_store(damaged)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "other"}', '{"format": "mim3d-store", "version": 1}']
)
def test_a_damaged_description_is_said(damaged: Path, text: str) -> None:
    (damaged / "store.json").write_text(text)
    with pytest.raises(
        StoreError, match=r"store\.json: not the description of a store .*format 'mim3d-store'"
    ):
        open_store(damaged)


def test_a_case_that_says_too_little_is_named(damaged: Path) -> None:
    file = case_folder(damaged, "two") / "zarr.json"
    content = json.loads(file.read_text())
    del content["attributes"]["mim3d"]["labels"]
    file.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"case two: its zarr\.json lacks 'labels'; delete its folder"):
        rebuild_catalog(damaged)


def test_a_case_that_was_made_anew_is_read_anew(damaged: Path) -> None:
    box, store = Box((0, 0, 0), SHAPE), open_store(damaged)
    before = store.read("one", box, SHAPE), store.foreground("one", None)[0]
    changed = content("one", seed=7)
    write_case(damaged, changed, {"organs": ORGANS})
    np.testing.assert_array_equal(store.read("one", box, SHAPE)[0], changed.array)
    assert not np.array_equal(before[0][0], changed.array)
    assert not np.array_equal(store.foreground("one", None)[0], before[1])
