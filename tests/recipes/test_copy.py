"""`mim3d copy`, and every command that reads a store, with a URL in place of a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mim3d
from mim3d import cli
from mim3d.data import place
from mim3d.data.place import Url
from mim3d.train.run_folder import read_metrics


def test_what_was_copied_is_told(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = f"file://{tmp_path}/again"
    assert cli.main(["copy", str(store_path), target]) == 0
    assert cli.main(["copy", str(store_path), target, "--workers", "1"]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{tmp_path}/again: 5 cases copied, ")
    assert first.endswith(" MB; 0 were there")
    assert second == f"{tmp_path}/again: 0 cases copied, 0.0 MB; 5 were there"
    assert cli.main(["verify", target]) == 0


def test_mistakes_are_told_in_one_line(
    failing: Callable[..., str], store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "PAUSES", ())
    assert failing("copy", store_path, tmp_path / "a", "--workers", 0) == "workers must be at least 1, got 0"
    assert "a web server, which cannot be written to" in failing("copy", store_path, "http://host/store")
    assert "then `mim3d copy FOLDER s3://bucket/s`" in failing("prepare", tmp_path, "s3://bucket/s")
    secret = failing("copy", store_path, "s3://key:word@bucket/store")
    assert secret.startswith("s3://...: a URL with a user, a password or a signature in it")
    for words in (["verify"], ["inspect"], ["overlap"], ["pretrain", "--preset", "tiny", tmp_path / "run"]):
        line = failing(words[0], "http://127.0.0.1:1/store", *words[1:])
        assert "/store.json: cannot be reached (ClientConnectorError" in line
        assert "look to the address, the network and your credentials" in line


def test_commands_take_urls(
    store_path: Path,
    serve: Callable[[Path], Any],
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    web = serve(store_path.parent)
    url = f"{web.url}/store"
    assert cli.main(["verify", url, "--workers", "1"]) == 0
    assert cli.main(["overlap", url, str(store_path), "--out", "overlap.csv"]) == 0
    assert len(Path("overlap.csv").read_text().splitlines()) > 5
    assert cli.main(["inspect", url, "--cases", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "store.inspect.html"
    page = Path("store.inspect.html").read_text()
    assert "127.0.0.1" not in page
    assert cli.main(["pretrain", url, "run", "--config", str(config_file), "--steps", "1"]) == 0
    assert mim3d.pretrain(store_path, tmp_path / "local", config=config_file, steps=1).is_dir()
    assert read_metrics(Path("run/metrics.csv")) == read_metrics(Path("local/metrics.csv"))
    origin = json.loads(Path("run/provenance.json").read_text())
    assert origin["store"] == "store"
    assert not [file for file in Path("run").rglob("*.json") if "127.0.0.1" in file.read_text()]


def test_functions_take_text_and_urls(store_path: Path, tmp_path: Path, memory: str) -> None:
    assert mim3d.copy(store_path, Url(memory)).cases == 5
    assert mim3d.copy(memory, str(tmp_path / "again")).cases == 5
    assert mim3d.verify(memory, workers=1) == ()
