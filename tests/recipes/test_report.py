from pathlib import Path
from typing import NoReturn

import pytest
import tyro

from mim3d.errors import CheckpointError, ConfigError
from mim3d.recipes.report import report


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "config.json").write_text('{"kind": "pretrain"}')
    return folder


def test_the_page_lies_in_the_first_run(run: Path) -> None:
    page = report(run, run)
    assert page == run / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert page.stat().st_mode & 0o777 == 0o644


def test_the_page_goes_where_it_is_wanted(run: Path, tmp_path: Path) -> None:
    page = report(run, out=tmp_path / "new" / "page.html", note="One patient only.")
    assert "<p>One patient only.</p>" in page.read_text(encoding="utf-8")
    assert [file.name for file in page.parent.iterdir()] == ["page.html"]


def test_nothing_is_left_of_a_page_that_fails(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report(run)
    assert [file.name for file in run.iterdir()] == ["config.json"]


def test_what_is_no_run_is_refused_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="other: not a run folder: there is no such folder"):
        report(run, tmp_path / "other")
    assert not (run / "report.html").exists()


def test_a_folder_as_page_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder, but out must be a file; try .*report\.html"):
        report(run, out=tmp_path)


def test_the_command_line_takes_any_number_of_runs_but_none(run: Path, tmp_path: Path) -> None:
    page = tyro.cli(report, args=[str(run), str(run), str(run), "--out", str(tmp_path / "all.html")])
    assert page.read_text(encoding="utf-8").count('<div class="card">') == 3
    with pytest.raises(SystemExit):
        tyro.cli(report, args=[])
