from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mim3d.metrics.evaluation import CaseScore, Evaluation
from mim3d.reporting.page import configuration
from mim3d.reporting.run import read_run
from mim3d.reporting.summary import (
    closing_line,
    decisive,
    duration,
    first_and_last,
    outcome,
    run_facts,
    table_title,
)


def test_facts_of_pretraining(pretrained: Path) -> None:
    assert dict(run_facts(read_run(pretrained))) == {
        "kind": "pre-training",
        "preset": "tiny",
        "data": "store: 4 train",
        "steps": "60 of 60",
        "time": "1 min 15 s",
        "waiting for data": "1.5 %",
        "seed": "3",
    }


def test_the_time_of_some_of_the_steps_is_said_to_be_that(pretrained: Path) -> None:
    lines = (pretrained / "timings.csv").read_text().splitlines()
    (pretrained / "timings.csv").write_text("\n".join([lines[0], *lines[21:]]))
    assert dict(run_facts(read_run(pretrained)))["time"] == "50 s, of 40 steps"


def test_the_last_line_says_how_long_the_steps_took(tmp_path: Path) -> None:
    assert closing_line(tmp_path) == f"{tmp_path}: done"
    timings = tmp_path / "timings.csv"
    timings.write_text("step,seconds,waiting\n1,3.0,1.5\n")
    assert closing_line(tmp_path) == (
        f"{tmp_path}: done, 1 step in 3 s; 50.0 % of the time was spent waiting for data"
    )
    timings.write_text("step,seconds,waiting\n" + "1,2.8,0.0112\n" * 1200)
    assert closing_line(tmp_path) == (
        f"{tmp_path}: done, 1,200 steps in 56 min 0 s; 0.4 % of the time was spent waiting for data"
    )


def test_facts_of_finetuning_name_where_weights_came_from(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    assert dict(run_facts(run))["weights from"] == "pretrain"
    assert dict(run_facts(replace(run, provenance={"init": "none"})))["weights from"] == "scratch"
    assert dict(run_facts(replace(run, provenance={"store": "s", "cases": 3})))["data"] == "s: 3 cases"


def test_outcomes(pretrained: Path, finetuned: Callable[..., Path]) -> None:
    line = (
        "Share of the hidden detail that is predicted (R\u00b2), start \u2192 end: "
        "level 0 0.389 \u2192 0.983, level 1 -0.222 \u2192 0.966."
    )
    assert outcome(read_run(pretrained)) == line
    assert outcome(replace(read_run(pretrained), metrics={})) == "No step recorded yet."
    released = replace(read_run(pretrained), metrics={}, provenance={"sha256": "0"})
    assert outcome(released) == "Weights that were imported; nothing was trained here."
    run = read_run(finetuned("tuned"))
    assert outcome(run) == "Mean Dice 0.800 (test)."
    assert outcome(replace(run, evaluations=run.evaluations[:1])) == "Mean Dice 0.500 (validation)."
    assert outcome(replace(run, evaluations=())) == "Not evaluated yet."


def test_a_test_counts_before_files_compared_before_a_validation(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned", split=""))
    found = decisive(run)
    assert (found, run.evaluations[1].file) == (run.evaluations[1].evaluation, "evaluation.json")


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7380, "2 h 3 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_column_without_values_has_no_ends() -> None:
    assert first_and_last(np.array([np.nan])) == "\u2013"


def test_how_imported_weights_were_trained_is_not_told(pretrained: Path) -> None:
    run = read_run(pretrained)
    assert configuration(run) == run.config
    released = configuration(replace(run, provenance={"sha256": "0"}))
    assert released == {name: run.config[name] for name in ("kind", "preset", "seed")}


def test_cases_that_were_scored_more_than_once_are_told() -> None:
    row = CaseScore(case="a", scores=())
    twice = Evaluation(split="val", structures=(), cases=(row, replace(row, seed=1)))
    assert table_title(twice) == "Validation, 1 case, 2 scores of them"
    other = replace(twice, cases=(row, replace(row, case="b")))
    assert table_title(other) == "Validation, 2 cases"
