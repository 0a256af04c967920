"""A store copied: all of it and nothing else, whole cases, the catalog last, whatever came in between."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mim3d.data.catalog import INDEX, write_index
from mim3d.data.copying import Copied, copy_store
from mim3d.data.layout import Settings, case_folder, write_description
from mim3d.data.mixture import FORMAT
from mim3d.data.place import Place, Url, place_of
from mim3d.data.seal import KEY, case_files, seal_case
from mim3d.data.staged import require_within
from mim3d.data.store import open_store, rebuild_catalog
from mim3d.errors import DamageError, StoreError, UnreachableError

Files = dict[str, bytes]


@pytest.fixture
def store(store_path: Path, tmp_path: Path) -> Path:
    """A store of five cases, and what is private beside it."""
    shutil.copytree(store_path.with_name("store.private"), tmp_path / "lab" / "store.private")
    return Path(shutil.copytree(store_path, tmp_path / "lab" / "store"))


def in_folder(folder: Path) -> Files:
    return {name: (folder / name).read_bytes() for name in case_files(folder)}


def at(url: str) -> Files:
    """All files below a URL in memory."""
    files = fsspec.filesystem("memory")
    root = f"/{url.partition('://')[2]}/"
    return {name.removeprefix(root): files.cat_file(name) for name in files.find(root)}


def copied(source: Place, target: Place) -> Copied:
    return copy_store(source, target, workers=2)


def test_all_of_a_store_and_nothing_else_goes_there_and_back(
    store: Path, memory: str, tmp_path: Path
) -> None:
    ours = in_folder(store)
    size = sum(len(content) for name, content in ours.items() if name.startswith("cases/"))
    assert copied(store, Url(memory)) == Copied(5, 0, size)
    assert at(memory) == ours
    again = place_of(f"file://{tmp_path}/again")
    assert copied(Url(memory), again) == Copied(5, 0, size)
    assert in_folder(tmp_path / "again") == ours
    assert not list(tmp_path.glob("again.*"))
    assert copied(tmp_path / "again", tmp_path / "third") == Copied(5, 0, size)
    assert copied(Url(memory), Url(memory + "/fourth")) == Copied(5, 0, size)


def test_what_is_private_stays(store: Path, memory: str) -> None:
    copied(store, Url(memory))
    private = in_folder(store.with_name("store.private"))
    assert {"key", "sources.csv"} <= private.keys()
    files = fsspec.filesystem("memory")
    everything = b"".join(files.cat_file(name) for name in files.find("/"))
    assert private["key"] not in everything
    assert b"imagesTr" in private["sources.csv"]
    assert b"imagesTr" not in everything


def test_a_web_server_can_be_copied_from(store: Path, serve: Callable[[Path], Any], tmp_path: Path) -> None:
    copied(Url(serve(store).url), tmp_path / "again")
    assert in_folder(tmp_path / "again") == in_folder(store)
    with pytest.raises(
        StoreError, match="a web server, which cannot be written to; name s3://, gs:// or a f"
    ):
        copied(store, Url("https://host/store"))


class Written(list[str]):
    """Files that were written to URLs, those removed with a dash before them, in order."""

    stop: int | None = None
    """The network fails after so many."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    done, true = Written(), Url._ask

    def ask(self: Url, method: str, *words: Any, **more: Any) -> Any:
        if method in ("put_file", "pipe_file", "rm_file"):
            if len(done) == done.stop:
                raise UnreachableError("the network is gone")
            done.append(("-" if method == "rm_file" else "") + self.text)
        return true(self, method, *words, **more)

    monkeypatch.setattr(Url, "_ask", ask)
    return done


def names_of(written: Written, memory: str) -> list[str]:
    return [name.replace(f"{memory}/", "") for name in written]


def test_the_description_comes_first_a_cases_own_last_and_the_catalog_after_all(
    store: Path, memory: str, written: Written
) -> None:
    copy_store(store, Url(memory), workers=1)
    order = names_of(written, memory)
    assert order[0] == "store.json"
    assert order[-1] == INDEX
    for case in open_store(store).catalog.cases:
        folder = case_folder(Path(), case.case).as_posix()
        ours = [name for name in order if name.startswith(folder)]
        assert ours[-1] == f"{folder}/zarr.json"
        assert len(ours) == len(case_files(store / folder))


@pytest.mark.parametrize("after", [0, 1, 7, 30])
def test_a_copy_that_was_stopped_is_no_store_and_goes_on(
    after: int, store: Path, memory: str, written: Written
) -> None:
    written.stop = after
    with pytest.raises(UnreachableError, match="the network is gone"):
        copy_store(store, Url(memory), workers=1)
    with pytest.raises(StoreError, match=r"no (store.json|index.parquet) there"):
        open_store(memory)
    written.stop = None
    there = sum(name.endswith("ome.zarr/zarr.json") for name in written)
    found = copy_store(store, Url(memory), workers=1)
    assert (found.cases, found.kept) == (5 - there, there)
    assert at(memory) == in_folder(store)
    written.clear()
    assert copied(store, Url(memory)) == Copied(0, 5, 0)
    assert written == []


def change(store: Path, case: str) -> None:
    """Make another case of that name, one file fewer."""
    other = next(one.case for one in open_store(store).catalog.cases if one.case != case)
    folder = case_folder(store, case)
    shutil.rmtree(folder)
    shutil.copytree(case_folder(store, other), folder)
    root = folder / "zarr.json"
    content = json.loads(root.read_text())
    shutil.rmtree(folder / "labels")
    content["attributes"]["mim3d"].update(case=case, labels={})
    root.write_text(json.dumps(content))
    reseal(folder)
    write_index(store, rebuild_catalog(store).cases)


def reseal(folder: Path) -> None:
    root = folder / "zarr.json"
    content = json.loads(root.read_text())
    content["attributes"].pop(KEY, None)
    root.write_text(json.dumps(content))
    seal_case(folder)


def test_a_case_that_was_made_anew_is_replaced_while_nobody_can_begin_to_read(
    store: Path, memory: str, written: Written, tmp_path: Path
) -> None:
    copied(store, Url(memory))
    copied(store, tmp_path / "other")
    change(store, "phantom_0001")
    written.clear()
    found = copied(store, Url(memory))
    assert (found.cases, found.kept) == (1, 4)
    assert at(memory) == in_folder(store)
    order = names_of(written, memory)
    root = "cases/phantom_0001.ome.zarr/zarr.json"
    assert order[:2] == [f"-{INDEX}", f"-{root}"]
    assert order[-2:] == [root, INDEX]
    assert "-cases/phantom_0001.ome.zarr/labels/labels/0/zarr.json" in order
    assert copied(store, tmp_path / "other").cases == 1
    assert in_folder(tmp_path / "other") == in_folder(store)


def test_new_cases_join_old_ones(store: Path, memory: str, written: Written, tmp_path: Path) -> None:
    late = case_folder(store, "phantom_0004")
    shutil.move(late, tmp_path / "late")
    write_index(store, rebuild_catalog(store).cases)
    copied(store, Url(memory))
    shutil.move(tmp_path / "late", late)
    write_index(store, rebuild_catalog(store).cases)
    written.clear()
    assert copied(store, Url(memory)).cases == 1
    assert not [name for name in written if name.startswith("-")]
    assert at(memory) == in_folder(store)


@pytest.mark.parametrize("file", ["0/c/0/0/0", "foreground/zarr.json", "zarr.json"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("kind", ["url", "folder"])
def test_damage_is_not_copied_but_all_else_is(
    file: str, lost: bool, kind: str, store: Path, memory: str, tmp_path: Path
) -> None:
    good = in_folder(store)
    path = case_folder(store, "phantom_0002") / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if not lost:
        path.write_bytes(content)
    target = Url(memory) if kind == "url" else tmp_path / "target"
    with pytest.raises(
        DamageError, match=r"1 of 5 cases and the catalog not copied; first case phantom_0002"
    ):
        copied(store, target)
    found = at(memory) if isinstance(target, Url) else in_folder(target)
    assert found == {name: good[name] for name in good if "phantom_0002" not in name and name != INDEX}
    path.write_bytes(good[path.relative_to(store).as_posix()])
    assert copied(store, target).cases == 1


def test_a_damaged_description_is_not_copied(store: Path, memory: str) -> None:
    text = (store / "store.json").read_text()
    (store / "store.json").write_text(text.replace('"keep_native": false', '"keep_native": true'))
    with pytest.raises(DamageError, match=r"store.json is not what was written \(seal\)"):
        copied(store, Url(memory))


def refused(source: Path, target: Place) -> str:
    before = sorted(target.rglob("*")) if isinstance(target, Path) else []
    with pytest.raises(StoreError) as caught:
        copied(source, target)
    assert before == (sorted(target.rglob("*")) if isinstance(target, Path) else [])
    return str(caught.value)


def test_what_is_no_copy_of_the_store_is_left_alone(store: Path, memory: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    assert "photos: holds something else than a store" in refused(store, tmp_path / "photos")
    assert "one.jpg: holds something else than a store" in refused(store, tmp_path / "photos" / "one.jpg")
    assert "store: a store that `mim3d prepare` writes; name a new folder" in refused(store, store)
    copied(store, tmp_path / "other")
    assert "is the store itself" in refused(tmp_path / "other", tmp_path / "photos" / ".." / "other")
    assert "within: lies within the store" in refused(tmp_path / "other", tmp_path / "other" / "within")
    copied(store, Url(memory))
    shutil.rmtree(case_folder(store, "phantom_0003"))
    write_index(store, rebuild_catalog(store).cases)
    assert f"holds another store (case phantom_0003 is not in {store})" in refused(store, Url(memory))


def test_a_store_of_another_spacing_is_another_store(store: Path, tmp_path: Path) -> None:
    copied(store, tmp_path / "other")
    write_description(tmp_path / "other", Settings((2.0, 2.0, 2.0)), {})
    assert "holds another store (it has another spacing)" in refused(store, tmp_path / "other")


def test_what_cannot_be_copied_is_told(store: Path, memory: str, tmp_path: Path) -> None:
    mixture = tmp_path / "both.json"
    mixture.write_text(json.dumps({"format": FORMAT, "stores": [{"store": "lab/store"}]}))
    assert "a mixture, but a store is needed; copy its stores one by one" in refused(mixture, Url(memory))
    folder = case_folder(store, "phantom_0000")
    root = json.loads((folder / "zarr.json").read_text())
    del root["attributes"][KEY]
    (folder / "zarr.json").write_text(json.dumps(root))
    assert "case phantom_0000: written before files had checksums" in refused(store, Url(memory))
    (store / INDEX).unlink()
    assert "no index.parquet there, so not whole; end the preparation" in refused(store, Url(memory))
    assert "no such folder, but a store is needed" in refused(tmp_path / "none", Url(memory))


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", ""])
def test_names_that_lead_outside_are_refused(name: str) -> None:
    require_within(Path("store"), "labels/my organs/0/zarr.json")
    with pytest.raises(StoreError, match="which lies outside; do not use this store"):
        require_within(Path("store"), name)


def test_a_stranger_writes_nowhere_else(store: Path, memory: str, tmp_path: Path) -> None:
    folder = case_folder(store, "phantom_0000")
    (store / "evil").write_text("x")
    root = (folder / "zarr.json").read_text()
    (folder / "zarr.json").write_text(root.replace('"0/c/0/0/0"', '"../../evil"', 1))
    with pytest.raises(StoreError, match=r"lists '../../evil', which lies outside"):
        copied(store, tmp_path / "target")
    assert not (tmp_path / "target" / "evil").exists()


def test_two_copies_into_one_folder_wait_for_each_other(store: Path, tmp_path: Path) -> None:
    def again(done: int, total: int, size: int) -> None:
        with pytest.raises(StoreError, match="is writing into it; wait until it has ended"):
            copied(store, tmp_path / "target")

    copy_store(store, tmp_path / "target", 1, again)
    assert in_folder(tmp_path / "target") == in_folder(store)


def test_what_a_killed_copy_left_is_cleared_away(store: Path, tmp_path: Path) -> None:
    (tmp_path / "target" / ".partial" / "phantom_0000-123").mkdir(parents=True)
    copied(store, tmp_path / "target")
    assert in_folder(tmp_path / "target") == in_folder(store)
