import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mim3d import cli
from mim3d.errors import ConfigError, StoreError
from mim3d.recipes.inspect import inspect


def test_the_page_lies_beside_the_store_and_leaves_it_as_it_is(store_path: Path, tmp_path: Path) -> None:
    store = tmp_path / "liver"
    shutil.copytree(store_path, store)
    before = sorted(store.rglob("*"))
    page = inspect(store, cases=1)
    assert page == tmp_path.resolve() / "liver.inspect.html"
    assert "1 of 5 cases are shown." in page.read_text(encoding="utf-8")
    assert sorted(store.rglob("*")) == before


def test_the_command_prints_where_the_page_is(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "page.html"
    line = ["inspect", str(store_path), "--out", str(out), "--cases", "0", "--labels", "labels", "--quick"]
    assert cli.main(line) == 0
    assert capsys.readouterr().out == f"{out}\n"
    page = out.read_text(encoding="utf-8")
    assert "Only the catalog was looked at" in page
    assert "<svg" not in page


def test_what_cannot_be_is_refused_before_anything_is_read(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no label set 'nodules'; it has: labels"):
        inspect(store_path, labels="nodules")
    with pytest.raises(ConfigError, match=r"is a folder, but out must be a file; try .*inspect\.html"):
        inspect(store_path, out=tmp_path)
    with pytest.raises(ConfigError, match="cases must be 0 or more, got -1"):
        inspect(store_path, cases=-1)


def test_a_mixture_is_refused(store_path: Path, tmp_path: Path) -> None:
    mixture = tmp_path / "mixture.json"
    stores = [{"store": str(store_path), "name": name} for name in ("one", "other")]
    mixture.write_text(json.dumps({"format": "mim3d-mixture", "stores": stores}))
    with pytest.raises(StoreError, match=r"mixture\.json: a mixture of one, other, but one store is needed"):
        inspect(mixture)
    assert list(tmp_path.iterdir()) == [mixture]


def test_what_is_no_store_is_told_in_one_line(tmp_path: Path, failing: Callable[..., str]) -> None:
    assert "none: no such folder, but a store is needed" in failing("inspect", tmp_path / "none")
