"""`mim3d prepare`: what a user sees of it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mim3d.data import prepare as preparation
from mim3d.data.estimate import Estimate
from mim3d.data.limits import Limits
from mim3d.data.volume import write_nifti
from mim3d.errors import DataError
from mim3d.recipes import prepare as recipe
from mim3d.recipes.estimate import estimate_lines
from mim3d.recipes.prepare import prepare


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for number in range(3):
        voxels = np.random.default_rng(number).integers(-1000, 1000, (12, 12, 12)).astype(np.int16)
        write_nifti(tmp_path / "raw" / f"{number}.nii.gz", voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
    (tmp_path / "raw" / "broken.nii").write_bytes(b"nothing")
    return tmp_path / "raw"


def test_a_few_lines_where_nobody_watches(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = prepare(raw, tmp_path / "store", spacing=(2.0,), workers=1)
    assert len(catalog.cases) == 3
    assert catalog.cases[0].spacing == (2.0, 2.0, 2.0)
    shown = capsys.readouterr()
    assert shown.out == ""
    *_, line, reason, which = shown.err.strip().split("\n")
    assert reason.startswith("1 rejected: ")
    listed = tmp_path / "store.private" / "rejected.csv"
    assert which == f"which ones: {listed}"
    header, row = listed.read_text().splitlines()
    assert header == "image,reason,key"
    assert row.startswith(f"{raw / 'broken.nii'},")
    assert line.startswith(f"{tmp_path / 'store'}: 3 cases (3 train; 3 new), 1 scan rejected, ")
    assert line.endswith(" MB")


def test_listed_files_that_are_not_there_reject_their_own_row(raw: Path, tmp_path: Path) -> None:
    (raw / "cases.csv").write_text("image,label\n0.nii.gz,\ngone.nii,\n1.nii.gz,gone.nii\n")
    (raw / "label_sets.json").write_text('{"labels": {"structures": {"liver": 1}}}')
    assert len(prepare(raw, tmp_path / "store", spacing=(2.0,), workers=1).cases) == 1
    with (tmp_path / "store.private" / "rejected.csv").open() as lines:
        rejected = {row["image"]: row["reason"].split(";")[0] for row in csv.DictReader(lines)}
    assert rejected == {
        str(raw / "1.nii.gz"): "the label map: no such file or folder",
        str(raw / "gone.nii"): "the scan: no such file or folder",
    }


def test_reasons_that_are_not_shown_are_counted(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "MOST_REASONS", 1)
    for name in ("one.nii", "two.nii"):
        (raw / name).touch()
    prepare(raw, tmp_path / "store", spacing=(2.0,), workers=1)
    *_, first, others, _ = capsys.readouterr().err.splitlines()
    assert first.startswith("2 rejected: the scan: an empty file")
    assert others == "1 rejected for 1 other reasons"


@pytest.mark.parametrize(("asked", "said"), [("ct", []), ("MRI", ["--modality MRI is not taken: "])])
def test_a_modality_that_the_data_set_overrules_is_said(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, said: list[str]
) -> None:
    (raw / "cases.csv").write_text("image,modality\n0.nii.gz,CT\n")
    prepare(raw, tmp_path / "store", spacing=(2.0,), dry_run=True, modality=asked)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-5] == [f"{line}the data set states CT" for line in said]


def test_native_spacing(raw: Path, tmp_path: Path) -> None:
    catalog = prepare(raw, tmp_path / "store", spacing="native", workers=1)
    assert catalog.cases[0].shape == (12, 12, 12)


def test_a_bar_and_a_table_on_a_terminal(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(force_terminal=True, width=100, record=True)
    monkeypatch.setattr(recipe, "Console", lambda stderr: screen)
    (raw / "targets.csv").write_text("image,disease\n0.nii.gz,yes\n1.nii.gz,yes\n2.nii.gz,no\n")
    prepare(raw, tmp_path / "store", workers=1)
    shown = screen.export_text()
    assert "4/4 scans, 1 rejected" in shown
    (row,) = (line for line in shown.splitlines() if "disease: yes" in line)
    assert sum(int(word) for word in row.split() if word.isdecimal()) == 2
    assert "1 rejected: the scan: not a readable NIfTI file" in " ".join(shown.split())


def test_a_dry_run_tells_and_writes_nothing(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(raw, tmp_path / "store", spacing=(2.0,), workers=2, dry_run=True).cases == ()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    found, size, disk, time, headers = capsys.readouterr().err.splitlines()
    assert found == "4 scans found, 0 labelled, 0 in the store already"
    assert size.startswith("to read: ")
    assert disk.startswith("disk needed: about 0.00622 MB; ")
    assert disk.endswith(" GB are free")
    assert time == "time needed: about 0:00:00 by 2 workers, if their cores are as those of docs/preparing.md"
    assert headers == "judged by 4 headers, of which 1 cannot be read"


def test_a_dry_run_counts_what_is_left_out(tmp_path: Path) -> None:
    found = Estimate(3, 0, 0, 0, 3, 0, 0.0, 0.0, left_out=2)
    _, left_out, *_ = estimate_lines(found, tmp_path / "store", 1)
    assert left_out == "2 left out already: no scans, copies of others, or not readable"


def test_a_dry_run_foresees_what_the_same_flags_would_do(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dry_run in (False, True):
        prepare(raw, tmp_path / "store", spacing=(2.0,), workers=1, modality="MR", dry_run=dry_run)
    found = capsys.readouterr().err.splitlines()[-5]
    assert found == "4 scans found, 0 labelled, 3 in the store already"


def test_a_full_disk_is_foreseen(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    screen = Console(width=200, record=True, stderr=True)
    monkeypatch.setattr(recipe, "Console", lambda stderr: screen)
    prepare(raw, tmp_path / "deep" / "store", dry_run=True)
    assert "MB; 0.001 MB are free: not enough" in screen.export_text()


def test_what_a_case_may_take_is_passed_on(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def instead(*_: object, **given: object) -> None:
        assert given["limits"] == Limits(5.0, 2_500_000_000)
        assert (given["scheduler"], given["follow_links"]) == ("tcp://a:1", True)
        raise DataError("seen")

    monkeypatch.setattr(preparation, "prepare_store", instead)
    with pytest.raises(DataError, match="seen"):
        prepare(
            raw,
            tmp_path / "store",
            case_seconds=5.0,
            case_memory=2.5,
            scheduler="tcp://a:1",
            follow_links=True,
        )
