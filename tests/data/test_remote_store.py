"""A store at a URL reads as in a folder; what is missing, damaged or cannot be reached is told apart."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from mim3d.config import Optimisation, PretrainConfig
from mim3d.data import place
from mim3d.data.arrays import forget_arrays
from mim3d.data.copying import copy_store
from mim3d.data.layout import case_folder
from mim3d.data.overlap import with_hashes
from mim3d.data.place import Url, place_of
from mim3d.data.store import Store, open_store
from mim3d.errors import DamageError, StoreError, UnreachableError
from mim3d.geometry import Box
from mim3d.sampling.crops import read_region, select_cases
from mim3d.sampling.loader import region_batches

BOX = Box((3.3, -2.0, 5.0), (20.0, 18.0, 16.0))
SHAPE = (10, 9, 8)


@pytest.fixture(params=["memory", "http"])
def at_url(
    request: pytest.FixtureRequest, store_path: Path, memory: str, serve: Callable[[Path], Any]
) -> Store:
    """The phantoms in TensorStore's and fsspec's memory, or on a web server."""
    if request.param == "http":
        return open_store(serve(store_path).url)
    copy_store(store_path, Url(memory), workers=1)
    return open_store(memory)


@pytest.fixture
def web(serve: Callable[[Path], Any], store_path: Path, tmp_path: Path) -> Any:
    """A copy of the phantoms on a web server, to be damaged."""
    forget_arrays()
    return serve(Path(shutil.copytree(store_path, tmp_path / "store")))


def test_what_is_read_is_the_same(at_url: Store, store: Store) -> None:
    assert at_url.hash == store.hash
    for case in at_url.catalog.cases[:2]:
        name = case.case
        np.testing.assert_array_equal(at_url.read(name, BOX, SHAPE), store.read(name, BOX, SHAPE))
        ours, theirs = (one.read_labels(name, "labels", BOX, SHAPE) for one in (at_url, store))
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(at_url.foreground(name, None)[0], store.foreground(name, None)[0])
        assert at_url.attributes(name) == store.attributes(name)
    assert with_hashes(at_url, 1) == with_hashes(store, 1)


def test_workers_read_from_a_url_what_they_read_from_a_folder(
    web: Any, store: Store, pretraining: PretrainConfig
) -> None:
    config = replace(pretraining, optimisation=replace(pretraining.optimisation, steps=2))
    config = replace(config, runtime=replace(config.runtime, num_workers=1))
    remote, alone = open_store(web.url), replace(config, runtime=pretraining.runtime)
    found = region_batches(remote, select_cases(remote, "train"), config, 0, 0, 1)
    expected = region_batches(store, select_cases(store, "train"), alone, 0, 0, 1)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.cases == theirs.cases
        for one, other in zip(ours.levels, theirs.levels, strict=True):
            np.testing.assert_array_equal(one.crops.numpy(), other.crops.numpy())


def test_reading_takes_few_requests(web: Any, pretraining: PretrainConfig) -> None:
    remote = open_store(web.url)
    assert len(web.asked) == 4
    cases = select_cases(remote, "train")
    read_region(remote, cases, pretraining, 0)
    web.asked.clear()
    read_region(remote, cases, pretraining, 0)
    assert {path.partition("/c/")[1] for path in web.asked} == {"/c/"}  # chunks alone, no description


def first_case(web: Any) -> Path:
    return Path(min((web.folder / "cases").iterdir()))


def read_first(web: Any) -> None:
    remote = open_store(web.url)
    remote.read(remote.catalog.cases[0].case, BOX, SHAPE)


def test_a_flipped_bit_is_damage(web: Any) -> None:
    shard = first_case(web) / "0/c/0/0/0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    remote = open_store(web.url)
    with pytest.raises(DamageError, match=r"a chunk of its array 0 is damaged; .*run `mim3d copy` again"):
        remote.read(remote.catalog.cases[0].case, Box((0, 0, 0), (32, 29, 26)), (32, 29, 26))


@pytest.mark.parametrize("file", ["0/c/0/0/0", "0/zarr.json", "zarr.json"])
def test_a_missing_file_is_damage_and_no_padding(web: Any, file: str) -> None:
    (first_case(web) / file).unlink()
    with pytest.raises(DamageError, match="its array 0 is missing or damaged"):
        read_first(web)


def test_damage_is_treated_as_in_a_folder(web: Any, pretraining: PretrainConfig) -> None:
    remote = open_store(web.url)
    cases, heard = select_cases(remote, "train"), list[str]()
    for shard in case_folder(web.folder, cases[0].case).rglob("c/0/0/0"):
        shard.unlink()
    runtime = replace(pretraining.runtime, damaged_cases="substitute")
    config = replace(pretraining, runtime=runtime, optimisation=Optimisation(steps=2, batch_size=2))
    list(region_batches(remote, cases, config, 0, 0, 1, on_damage=lambda name, _: heard.append(name)))
    assert heard == [cases[0].case]


@pytest.mark.parametrize("file", ["0/zarr.json", "0/c/0/0/0"])
def test_what_cannot_be_reached_has_no_substitute(
    web: Any, pretraining: PretrainConfig, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "PAUSES", ())
    config = replace(pretraining, runtime=replace(pretraining.runtime, damaged_cases="substitute"))
    remote = open_store(web.url)
    web.refused = file
    with pytest.raises(UnreachableError, match="403"):
        list(region_batches(remote, select_cases(remote, "train"), config, 0, 0, 1))


def test_reading_goes_on_after_an_outage(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PAUSES", ())
    remote = open_store(web.url)
    name = remote.catalog.cases[0].case
    web.refused = "/c/"
    with pytest.raises(UnreachableError):
        remote.read(name, BOX, SHAPE)
    web.refused = ""
    assert remote.read(name, BOX, SHAPE).shape == (1, *SHAPE)


def test_no_store_and_half_a_copy_are_told_apart(web: Any) -> None:
    with pytest.raises(StoreError, match=r"/other: no store.json there, so no store; bring one there with"):
        open_store(f"{web.url}/other")
    (web.folder / "index.parquet").unlink()
    with pytest.raises(StoreError, match=r"no index.parquet there: a copy has not ended"):
        open_store(web.url)


def test_a_mixture_names_urls(store_path: Path, web: Any, tmp_path: Path) -> None:
    stores = [{"store": str(store_path), "name": "here"}, {"store": f"{web.url}/", "name": "there"}]
    file = tmp_path / "both.json"
    file.write_text(json.dumps({"format": "mim3d-mixture", "stores": stores}))
    both = open_store(file)
    assert len(both.catalog.cases) == 10
    names = [case.case for case in (both.catalog.cases[0], both.catalog.cases[5])]
    assert [name.partition("/")[0] for name in names] == ["here", "there"]
    here, there = (both.read(name, BOX, SHAPE) for name in names)
    np.testing.assert_array_equal(here, there)


def test_a_mixture_may_lie_at_a_url_itself(web: Any) -> None:
    content = {"format": "mim3d-mixture", "stores": [{"store": "../", "name": "one"}]}
    (web.folder / "mixtures").mkdir()
    (web.folder / "mixtures" / "one.json").write_text(json.dumps(content))
    mixture = open_store(f"{web.url}/mixtures/one.json")
    assert mixture.members[0].path == place_of(web.url)
    assert mixture.catalog.cases[0].case.startswith("one/")


def test_memory_changes_are_seen_when_a_case_is_opened(store_path: Path, memory: str) -> None:
    copy_store(store_path, Url(memory), workers=1)
    remote = open_store(memory)
    name = remote.catalog.cases[0].case
    fsspec.filesystem("memory").rm(f"/{memory.partition('://')[2]}/cases/{name}.ome.zarr/0/c/0/0/0")
    with pytest.raises(DamageError, match="its array 0 is missing or damaged"):
        remote.read(name, BOX, SHAPE)
