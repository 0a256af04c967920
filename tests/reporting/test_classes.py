import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.errors import CheckpointError
from mim3d.metrics.classification import auroc, evaluate_classes
from mim3d.reporting.classes import classes_section, roc_points
from mim3d.reporting.compare import compare
from mim3d.reporting.run import Classified, Run, read_run

TRUTH = np.eye(3, dtype=bool)[[0, 1, 2, 0, 1, 2]]
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.3, 0.4, 0.3],
        [0.5, 0.1, 0.4],
        [0.6, 0.2, 0.2],
        [0.2, 0.7, 0.1],
        [0.1, 0.1, 0.8],
    ]
)
NAMES = ("covid", "healthy", "pneumonia")


def content(**changed: Any) -> dict[str, Any]:
    cases = [f"case {number}" for number in range(6)]
    found = evaluate_classes(PROBABILITIES, TRUTH, NAMES, cases, target="disease", split="val")
    plain: dict[str, Any] = json.loads(json.dumps(found.to_json() | changed))
    return plain


def classified(**changed: Any) -> Classified:
    return Classified(file="validation.json", split="val", content=content(**changed))


def test_measures_classes_and_confusion_are_told() -> None:
    section = classes_section(classified())
    assert section.title == "Validation, 6 cases"
    measures, by_class, confusion = section.tables
    assert ("accuracy", "0.833") in measures.rows
    assert [row[0] for row in by_class.rows] == list(NAMES)
    assert confusion.headings == ("", *NAMES)
    assert confusion.rows == (
        ("covid", "2", "0", "0"),
        ("healthy", "0", "2", "0"),
        ("pneumonia", "1", "0", "1"),
    )
    assert [chart.title for chart in section.charts] == ["ROC", "Calibration"]
    assert "pneumonia (1.00)" in section.charts[0].svg


def test_of_two_classes_one_curve_tells_all() -> None:
    ill = TRUTH[:, 0]
    truth, sure = np.stack([ill, ~ill], axis=1), PROBABILITIES[:, 0]
    two = evaluate_classes(np.stack([sure, 1 - sure], axis=1), truth, ("ill", "well"), list("abcdef"))
    plain = json.loads(json.dumps(two.to_json()))
    section = classes_section(Classified(file="f", split="test", content=plain))
    assert section.title == "Test, 6 cases"
    assert [name for name in ("ill", "well") if f"{name} (" in section.charts[0].svg] == ["well"]


def test_several_labels_have_no_confusion_and_no_cases_no_curves() -> None:
    section = classes_section(classified(multi_label=True))
    assert [table.title for table in section.tables] == ["Target disease", "By class"]
    empty = classes_section(classified(cases=[], classes=[]))
    assert (empty.charts, len(empty.tables)) == ((), 1)


def test_the_area_below_the_curve_is_the_auroc() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 5, 40) / 5, random.random(40) < 0.4
    alarms, found = roc_points(scores, positive)
    assert (alarms[0], found[0], alarms[-1], found[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(found, alarms) == pytest.approx(auroc(scores, positive))


def test_what_is_no_classification_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"validation.json: no scores of classification by case"):
        classes_section(classified(cases=[{"case": "a"}]))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "config.json").write_text(json.dumps({"kind": "classify"}))
    (tmp_path / "validation.json").write_text(json.dumps(content()))
    (tmp_path / "evaluation-test.json").write_text(json.dumps(content(split="test")))
    (tmp_path / "metrics.csv").write_text("step,loss,validation_auroc\n1,0.5,0.7\n2,0.4,0.8\n")
    return read_run(tmp_path)


def test_a_run_brings_all_of_its_evaluations(run: Run) -> None:
    assert [one.split for one in run.classifications] == ["val", "test"]
    assert run.evaluations == ()


def test_classifiers_side_by_side(run: Run) -> None:
    found = compare((run, run), ("mae", "mim"))
    assert found is not None
    assert found.outcome.startswith("AUROC (test): mae 1.000, mim")
    assert [chart.title for chart in found.charts] == ["Validation AUROC"]
    assert found.statistics is not None
    assert found.statistics.tables[0].title == "mim less mae, 6 cases (more is better)"
    by_accuracy = {"step": np.array([1.0]), "validation_accuracy": np.array([0.5])}
    other = replace(run, classifications=(classified(target="sex"),), metrics=by_accuracy)
    found = compare((run, other), ("mae", "other"))
    assert found is not None
    assert found.charts == ()
    assert found.statistics is not None
    assert found.statistics.notes[0].startswith(
        "No paired comparison: not classified alike: mae by disease; other by sex"
    )
    bare = replace(run, classifications=())
    found = compare((bare, bare), ("a", "b"))
    assert found is not None
    assert (found.outcome, found.statistics) == ("None of these runs is evaluated.", None)


def test_measures_of_several_runs_are_told_to_be_means() -> None:
    pooled = content()
    del pooled["classes"]
    section = classes_section(Classified(file="evaluation.json", split="val", content=pooled))
    assert section.tables[0].title == "Target disease, means over runs"
