from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mim3d.reporting.compare import compare
from mim3d.reporting.run import read_run

Make = Callable[..., Path]


def test_two_runs_side_by_side(finetuned: Make, pretrained: Path) -> None:
    runs = tuple(read_run(path) for path in (pretrained, finetuned("mim", 0.8), finetuned("scratch", 0.75)))
    found = compare(runs, ("pretrain", "mim", "scratch"))
    assert found is not None
    assert found.outcome == "Mean Dice (test): mim 0.800, scratch 0.750 (scratch less mim: -0.050)."
    assert [chart.title for chart in found.charts] == ["Validation Dice", "Loss", "Dice by structure"]
    assert found.table is not None
    assert found.table.title == "Test, 2 cases"
    assert [block.title for block in found.cases] == ["bad", "good"]
    assert [panel.caption for panel in found.cases[0].rows[0].panels] == ["truth", "mim", "scratch"]


def test_one_finetuned_run_is_not_compared(finetuned: Make, pretrained: Path) -> None:
    runs = (read_run(pretrained), read_run(finetuned("mim")))
    assert compare(runs, ("pretrain", "mim")) is None


def test_other_splits_are_said_plainly(finetuned: Make) -> None:
    runs = (read_run(finetuned("a")), read_run(finetuned("b", split="train")))
    found = compare(runs, ("a", "b"))
    assert found is not None
    assert found.table is not None
    title = "Careful, not the same cases: a: Test, 2 cases; b: Training, 2 cases"
    assert found.table.title == title


def test_runs_without_scores_or_pictures(finetuned: Make) -> None:
    first = read_run(finetuned("a"))
    bare = replace(read_run(finetuned("b")), evaluations=(), segmentation=None, metrics={})
    found = compare((first, bare), ("a", "b"))
    assert found is not None
    assert found.outcome == "Fewer than two of these runs are evaluated."
    assert (found.table, found.cases) == (None, ())
    assert [chart.title for chart in found.charts] == ["Validation Dice", "Loss"]


def test_cases_of_other_planes_are_not_put_side_by_side(finetuned: Make) -> None:
    runs = (read_run(finetuned("a")), read_run(finetuned("b", shape=(6, 10))))
    found = compare(runs, ("a", "b"))
    assert found is not None
    assert found.cases == ()
