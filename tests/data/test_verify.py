"""Whatever bit of a store is flipped, whatever file is missing or too many: it is found and named."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d import cli
from mim3d.data import place as places
from mim3d.data.catalog import Case, write_index, write_rejected
from mim3d.data.foreground import foreground_table
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, case_folder, num_scales, write_description
from mim3d.data.place import place_of
from mim3d.data.seal import BLANK, KEY, case_files, seal_holds, sealed
from mim3d.data.store import open_store, rebuild_catalog
from mim3d.data.store_writer import Content, content_hash, write_case
from mim3d.data.verify import Damage, verify_store
from mim3d.errors import DamageError, StoreError, UnreachableError
from mim3d.geometry import Box

SHAPE = (33, 32, 40)
SPACING = (2.0, 2.0, 2.0)
ORGANS = LabelSet("organs", {"liver": 5})


def write(store: Path, name: str, seed: int) -> None:
    array = np.random.default_rng(seed).integers(-1024, 3072, SHAPE).astype(np.int16)
    labels = {"organs": (array > 0).astype(np.uint8) * np.uint8(5)}
    case = Case(
        case=name,
        patient="0" * 16,
        split="train",
        shape=SHAPE,
        spacing=SPACING,
        source_spacing=SPACING,
        hash=content_hash(array, SPACING, labels),
        statistics={"mean": 0.0},
        labels={"organs": (5,)},
        scales=num_scales(SHAPE),
        native=(1.0, 2.0, 2.0),
    )
    table = foreground_table(name, array > 0, [labels["organs"]])
    write_case(store, Content(case, array, np.eye(4), table, labels, array), {"organs": ORGANS})


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases with labels and a finer original."""
    path = tmp_path_factory.mktemp("good") / "store"
    path.mkdir()
    write_description(path, Settings(SPACING, True), {"organs": ORGANS})
    for seed, name in enumerate(("one", "two")):
        write(path, name, seed)
    write_index(path, rebuild_catalog(path).cases)
    write_rejected(path, [])
    return path


@pytest.fixture
def store(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "store"))


def flip(file: Path, place: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)


def damage(store: Path) -> tuple[Damage, ...]:
    return verify_store(store, workers=1).damage


def test_a_good_store_is_good(good: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    found = verify_store(good, 1, lambda *state: seen.append(state))
    assert (found.damage, found.cases, found.unsealed) == ((), 2, 0)
    assert found.size == sum(path.stat().st_size for path in (good / "cases").rglob("*") if path.is_file())
    assert seen == [(0, 2, 0), (1, 2, 0), (2, 2, 0)]


def test_a_case_has_at_most_16_files(good: Path) -> None:
    """With labels and a finer original, in three scales."""
    files = case_files(case_folder(good, "one"))
    assert len(files) + 2 * (3 - num_scales(SHAPE)) <= 16


def test_a_bit_flipped_in_any_kind_of_file_is_found(store: Path) -> None:
    random = np.random.default_rng(0)
    folder = case_folder(store, "one")
    for name in case_files(folder):
        good = (folder / name).read_bytes()
        for _ in range(4):
            flip(folder / name, int(random.integers(len(good))), int(random.integers(8)))
            found = damage(store)
            (folder / name).write_bytes(good)
            assert found, name
            assert {one.case for one in found} == {"one"}, name
            assert any(name.partition("/c/")[0] in one.place for one in found), (name, found)
    assert damage(store) == ()


@pytest.mark.parametrize("name", ["index.parquet", "rejected.parquet", "store.json"])
def test_a_bit_flipped_in_the_stores_own_files_is_found(store: Path, name: str) -> None:
    good = (store / name).read_bytes()
    places = range(0, len(good), 1 + len(good) // 60)
    for place in places:
        flip(store / name, place, place % 8)
        assert seal_holds((store / name).read_bytes()) is False, place
        (store / name).write_bytes(good)
    flip(store / name, len(good) // 2)
    assert [one for one in damage(store) if one.case == "" and one.place == name]


def test_the_chunk_is_named(store: Path) -> None:
    shard = case_folder(store, "two") / "0" / "c" / "0" / "0" / "0"
    data = shard.read_bytes()
    index = np.frombuffer(data[-4 - 16 * 4 : -4], "<u8").reshape(2, 1, 2, 2)  # (Z, Y, X, place and size)
    flip(shard, int(index[1, 0, 1, 0]) + 40)
    (found,) = damage(store)
    assert str(found) == (
        "case two: array 0, chunk (1, 0, 1) (voxels 32-32, 0-31, 32-39): not what was written (crc32c)"
    )


def test_a_lost_index_of_a_shard_is_named(store: Path) -> None:
    flip(case_folder(store, "two") / "0" / "c" / "0" / "0" / "0", -3)
    (found,) = damage(store)
    assert found == Damage("two", "array 0", "none of its 4 chunks can be read (index of the shard)")


def test_missing_and_foreign_files_are_found(store: Path) -> None:
    folder = case_folder(store, "one")
    (folder / "labels" / "organs" / "0" / "c" / "0" / "0" / "0").unlink()
    (folder / "1" / "zarr.json").unlink()
    (folder / "more").write_text("")
    assert [(one.place, one.what) for one in damage(store)] == [
        ("1/zarr.json", "missing"),
        ("labels/organs/0/c/0/0/0", "missing"),
        ("more", "a file that was not written with the case"),
    ]


def test_a_case_that_cannot_be_read_does_not_hide_the_others(store: Path) -> None:
    (case_folder(store, "one") / "zarr.json").write_text("{")
    flip(case_folder(store, "two") / "zarr.json", 100)
    assert {one.case for one in damage(store)} == {"one", "two"}


def test_cases_and_index_must_agree(store: Path) -> None:
    one, two = rebuild_catalog(store).cases
    write_index(store, [replace(one, split="test"), replace(two, case="three")])
    assert [str(one) for one in damage(store)] == [
        "case one: index.parquet: says otherwise of this case than the case itself",
        "case three: index.parquet: lists this case, but it is not in the store",
        "case two: index.parquet: does not list this case",
    ]
    (store / "index.parquet").write_text("no table")
    assert "cannot be read" in str(damage(store)[0])
    (store / "index.parquet").unlink()
    assert "missing" in str(damage(store)[0])


def test_unsealed_cases_are_checked_by_chunk_and_content(store: Path) -> None:
    root = case_folder(store, "one") / "zarr.json"
    content = json.loads(root.read_text())
    del content["attributes"][KEY]
    root.write_text(json.dumps(content))
    found = verify_store(store, workers=1)
    assert (found.damage, found.unsealed) == ((), 1)
    content["attributes"]["mim3d"]["spacing"] = [2.0, 2.0, 3.0]
    root.write_text(json.dumps(content))
    assert "content hash" in {one.place for one in damage(store)}


@pytest.mark.parametrize("name", ["0/zarr.json", "0/c/0/0/0"])
def test_nothing_is_read_from_an_array_whose_files_are_not_those_written(store: Path, name: str) -> None:
    file = case_folder(store, "one") / name
    if name == "0/zarr.json":
        file.write_text(re.sub(r'"fill_value": -1024', '"fill_value": -1023', file.read_text()))
    else:
        file.unlink()
    with pytest.raises(DamageError, match="case one: its array 0 is missing or damaged"):
        open_store(store).read("one", Box((0, 0, 0), (4, 4, 4)), (4, 4, 4))


def test_seals() -> None:
    data = sealed(f'{{"{KEY}": "{BLANK}"}}'.encode())
    assert seal_holds(data) is True
    assert seal_holds(data.replace(b"sha256", b"sha257")) is False
    assert seal_holds(data + b" ") is False
    assert seal_holds(b"{}") is None


def test_the_command_ends_with_status_1(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(store), "--workers", "1"]) == 0
    assert capsys.readouterr().out == ""
    shutil.rmtree(case_folder(store, "two"))
    assert cli.main(["verify", str(store), "--workers", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "case two: index.parquet: lists this case, but it is not in the store\n"
    assert "places of damage: 1, in cases: 1; delete the folders of damaged cases" in captured.err
    write_index(store, rebuild_catalog(store).cases)
    (store / "rejected.parquet").write_text("no table")
    assert cli.main(["verify", str(store), "--workers", "1"]) == 1
    assert capsys.readouterr().err.endswith(
        "places of damage: 1, none of them in a case; run `mim3d prepare` again\n"
    )
    assert cli.main(["verify", str(store / "cases")]) == 2
    assert cli.main(["verify", str(store), "--workers", "0"]) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_at_a_url_is_read_as_thoroughly(
    store: Path, serve: Callable[[Path], Any], workers: int
) -> None:
    url = place_of(serve(store).url)
    good = verify_store(store, 1)
    assert verify_store(url, workers) == good
    flip(case_folder(store, "one") / "0/c/0/0/0", 100)
    (case_folder(store, "two") / "labels/organs/0/c/0/0/0").unlink()
    flip(store / "rejected.parquet", 30)
    found = verify_store(url, workers).damage
    assert found == damage(store)
    assert len(found) == 3


def test_what_a_url_lacks_is_told(store: Path, serve: Callable[[Path], Any]) -> None:
    url = place_of(serve(store).url)
    shutil.rmtree(case_folder(store, "two"))
    assert Damage("two", "zarr.json", "its zarr.json is missing or damaged") in verify_store(url, 1).damage
    (store / "index.parquet").unlink()
    found = verify_store(url, 1)
    assert list(map(str, found.damage)) == ["index.parquet: missing; `mim3d copy` brings it"]
    assert found.cases == 0
    (store / "store.json").unlink()
    with pytest.raises(StoreError, match=r"no store.json there, so no store"):
        verify_store(url, 1)


def test_what_cannot_be_reached_is_not_damaged(
    store: Path, serve: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAUSES", ())
    web = serve(store)
    for web.refused in ("store.json", "index.parquet", "/c/"):
        with pytest.raises(UnreachableError):
            verify_store(place_of(web.url), 1)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "mixture.json").write_text("{}")
    with pytest.raises(StoreError, match="a file, but the folder of one store is needed; of a mixture, name"):
        verify_store(tmp_path / "mixture.json", 1)


def test_of_several_channels_the_chunk_and_its_channel_are_named(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(-1024, 3072, (2, *SHAPE)).astype(np.int16)
    case = Case(
        case="two-channels",
        patient="0" * 16,
        split="train",
        shape=SHAPE,
        spacing=SPACING,
        source_spacing=SPACING,
        hash=content_hash(array, SPACING, {}),
        statistics={"mean": 0.0},
        labels={},
        scales=1,
    )
    write_description(tmp_path, Settings(SPACING, False), {})
    table = foreground_table(case.case, array[0] > 0, [])
    write_case(tmp_path, Content(case, array, np.eye(4), table, {}), {})
    write_index(tmp_path, [case])
    shard = case_folder(tmp_path, case.case) / "0" / "c" / "0" / "0" / "0" / "0"
    index = np.frombuffer(shard.read_bytes()[-(8 * 16 + 4) : -4], "<u8").reshape(2, 4, 2)  # of 2 x 4 chunks
    flip(shard, int(index[1, 0, 0]))
    places = [one.place for one in damage(tmp_path)]
    assert places == ["array 0, chunk (0, 0, 0) of channel 1 (voxels 0-31, 0-31, 0-31)"]
