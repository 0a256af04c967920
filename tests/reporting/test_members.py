import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mim3d.reporting.members import member_charts, member_tables, with_members
from mim3d.reporting.page import render
from mim3d.reporting.run import Run, read_run
from mim3d.train.crossval_folder import members_of, write_members

Make = Callable[..., Path]


@pytest.fixture
def crossval(finetuned: Make, tmp_path: Path) -> Path:
    """Two finished runs of two folds, and what is written of both."""
    out = tmp_path / "cv"
    members = members_of(out, 2, (0,))
    for member in members:
        finetuned(f"cv/{member.run.name}", 0.6 + 0.2 * member.fold)
    (out / "config.json").write_text(json.dumps({"kind": "finetune", "seed": 0}))
    write_members(out, members)
    spread = {"mean": 0.7, "folds": 0.1, "seeds": None}
    summary = {
        "runs": [{"run": one.run.name, "fold": one.fold, "seed": 0, "dice": 0.7} for one in members],
        "structures": {"liver": {"dice": spread}, "spleen": {"dice": None}},
    }
    (out / "summary.json").write_text(json.dumps(summary))
    return out


@pytest.fixture
def run(crossval: Path) -> Run:
    return read_run(crossval)


def test_a_cross_validation_brings_its_runs(run: Run) -> None:
    assert [one.name for one in run.members] == ["fold-0-seed-0", "fold-1-seed-0"]
    assert [chart.title for chart in member_charts(run)] == ["Validation Dice", "Loss"]


def test_folds_and_seeds_are_told(run: Run) -> None:
    spread, runs = member_tables(run)
    assert spread.rows == (("liver", "0.700", "0.100", "-"), ("spleen", "-", "-", "-"))
    assert runs.headings == ("run", "fold", "seed", "mean Dice")
    assert runs.rows[1] == ("fold-1-seed-0", "1", "0", "0.700")


def test_classifiers_have_measures(run: Run, crossval: Path) -> None:
    spread = {"mean": 0.8, "folds": 0.05, "seeds": 0.01}
    summary = {"runs": [{"run": "a", "fold": 0, "seed": 0, "auroc": 0.8}], "measures": {"f1": spread}}
    (crossval / "summary.json").write_text(json.dumps(summary))
    table, runs = member_tables(read_run(crossval))
    assert table.rows == (("F1", "0.800", "0.050", "0.010"),)
    assert runs.headings[-1] == "AUROC"


def test_pictures_are_those_of_the_runs_worst_first(run: Run, finetuned: Make) -> None:
    pictures = with_members(run).segmentation
    assert pictures is not None
    assert [case.case for case in pictures.cases] == [
        "bad in fold-0-seed-0",
        "bad in fold-1-seed-0",
        "good in fold-0-seed-0",
        "good in fold-1-seed-0",
    ]
    alone = read_run(finetuned("alone"))
    assert with_members(alone) is alone


def test_an_unfinished_one_is_shown_too(crossval: Path) -> None:
    (crossval / "summary.json").unlink()
    for file in ("config.json", "validation.json"):
        (crossval / "fold-1-seed-0" / file).unlink()
    run = read_run(crossval)
    assert [one.name for one in run.members] == ["fold-0-seed-0"]
    assert member_tables(run) == ()
    page = render((run,))
    assert "fine-tuning, cross-validation" in page
    assert "Not evaluated yet." in page


def test_the_page_tells_folds_and_seeds(run: Run) -> None:
    page = render((run,))
    assert "Folds and seeds" in page
    assert "fold-1-seed-0" in page
