import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.store import open_store
from mim3d.data.targets import targets_of_text
from mim3d.errors import CheckpointError, ConfigError, DataError
from mim3d.recipes.compare import compare

Score = Callable[..., Path]
SURE, UNSURE = [0.9, 0.2, 0.8, 0.1, 0.7, 0.3], [0.6, 0.7, 0.4, 0.3, 0.8, 0.4]
"""Probability of `ill` of cases of which every other is, the first first."""


@pytest.fixture
def judged(tmp_path: Path) -> Score:
    """Writes what a classifier says of cases into its folder; gives the folder."""

    def judge(name: str, ill: list[float], file: str = "evaluation-test.json", **said: Any) -> Path:
        rows = [
            {
                "case": f"case {number}",
                "truth": ["ill" if number % 2 == 0 else "well"],
                "probabilities": {"ill": one, "well": 1 - one},
                "patient": f"patient {number // 2}",
            }
            for number, one in enumerate(ill)
        ]
        content = {"task": "classification", "split": "test", "target": "disease", "multi_label": False}
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text(json.dumps({**content, "cases": rows, **said}))
        return tmp_path / name

    return judge


def test_classifiers_are_compared_and_the_tables_written(
    judged: Score, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = compare(judged("mae", UNSURE), judged("mim", SURE), out=tmp_path / "out")
    rows = {row["measure"]: row for row in content["compared"]}
    assert (rows["auroc"]["other"], rows["accuracy"]["other"]) == (1.0, 1.0)
    assert rows["accuracy"]["reference"] == pytest.approx(4 / 6)
    assert (rows["auroc"]["cases"], rows["auroc"]["patients"]) == (6, 3)
    shown = capsys.readouterr().out
    assert "mim less mae, 6 cases of 3 patients (more is better)" in shown
    assert "AUROC" in shown
    with (tmp_path / "out" / "comparison.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["measure"] for line in lines] == ["auroc", "accuracy", "balanced_accuracy"]
    assert float(lines[1]["reference"]) == rows["accuracy"]["reference"]
    assert lines[2]["p_swap"] == ""
    assert "| accuracy | 0.667 | 1.000 | +0.333 |" in (tmp_path / "out" / "comparison.md").read_text()


def test_patients_are_known_if_one_side_knows_them(judged: Score) -> None:
    known, unknown = judged("mae", UNSURE), judged("mim", SURE)
    content = json.loads((unknown / "evaluation-test.json").read_text())
    rows = [{name: value for name, value in row.items() if name != "patient"} for row in content["cases"]]
    (unknown / "evaluation-test.json").write_text(json.dumps(content | {"cases": rows}))
    for pair in ((known, unknown), (unknown, known)):
        assert {row["patients"] for row in compare(*pair)["compared"]} == {3}


def test_seeds_are_averaged(judged: Score) -> None:
    seeds = ",".join(str(judged(f"mim-{seed}", one)) for seed, one in enumerate((SURE, UNSURE)))
    content = compare(judged("mae", UNSURE), Path(seeds))
    accuracy = next(row for row in content["compared"] if row["measure"] == "accuracy")
    assert accuracy["other"] == pytest.approx((1 + 4 / 6) / 2)


def test_cases_that_chose_are_told(judged: Score, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [judged(name, SURE, "validation.json") for name in ("mae", "mim")]
    compare(*runs)
    assert "these cases chose the best steps" in capsys.readouterr().err
    pooled = [judged(name, SURE, "evaluation.json", split="val") for name in ("cv-mae", "cv-mim")]
    compare(*pooled)
    assert "these cases chose the best steps" in capsys.readouterr().err


def test_runs_that_are_not_alike_are_no_side(judged: Score) -> None:
    run, other = judged("mae", UNSURE), judged("mim", SURE)

    def joined(*more: Path) -> Path:
        return Path(",".join(map(str, (other, *more))))

    with pytest.raises(
        DataError, match=r"evaluation-test.json: the runs joined with it classify other cases;"
    ):
        compare(joined(judged("few", SURE[:4])), run)
    with pytest.raises(DataError, match="the runs joined with it classify other targets; join those that"):
        compare(run, joined(judged("sex", SURE, target="sex")))
    rows = [
        {"case": f"case {number}", "truth": ["ill"], "probabilities": {"ill": 0.5, "dead": 0.5}}
        for number in range(6)
    ]
    with pytest.raises(DataError, match=r"not the same cases, classes and truths .* alike: 0"):
        compare(run, joined(judged("dead", SURE, cases=rows)))


def test_other_cases_and_targets_are_refused_or_left_out(judged: Score) -> None:
    runs = (judged("mae", UNSURE), judged("mim", SURE[:4]))
    message = r"not the same cases, classes and truths \(mae: 6, mim: 4; alike: 4\); add --shared"
    with pytest.raises(DataError, match=message):
        compare(*runs)
    content = compare(*runs, shared=True)
    assert {row["cases"] for row in content["compared"]} == {4}
    assert content["notes"][0].startswith("left out: not the same cases")
    with pytest.raises(DataError, match="not classified alike: mae by disease; other by sex; compare runs"):
        compare(runs[0], judged("other", SURE, target="sex"))
    with pytest.raises(DataError, match="no case was classified by all of them, with the same classes"):
        compare(runs[0], judged("none", []), shared=True)


def test_cases_are_grouped(classified_path: Path, judged: Score, capsys: pytest.CaptureFixture[str]) -> None:
    """The first three are in the store: the first, ill, is odd there; the next, well and ill, are even."""
    kinds: dict[str, list[str]] = {"even": [], "odd": []}
    for case in open_store(classified_path).catalog.cases:
        kinds[targets_of_text(case.targets)["kind"]].append(case.case)
    places = [*kinds["odd"][:1], *kinds["even"][:2]]
    runs = [judged(name, values) for name, values in (("mae", UNSURE), ("mim", SURE))]
    for run in runs:
        content = json.loads((run / "evaluation-test.json").read_text())
        for row, name in zip(content["cases"], places, strict=False):
            row["case"] = name
        (run / "evaluation-test.json").write_text(json.dumps(content))
    found = compare(*runs, by="kind", store=classified_path)
    means = {(one["measure"], one["value"]): one["means"] for one in found["groups"]}
    assert set(means) == {("auroc", "even"), ("accuracy", "even"), ("accuracy", "odd")}
    decided = [[(value > 0.5) == (n % 2 == 0) for n, value in enumerate(one)] for one in (UNSURE, SURE)]
    assert means["accuracy", "odd"] == tuple(float(one[0]) for one in decided)
    assert means["accuracy", "even"] == tuple((one[1] + one[2]) / 2 for one in decided)
    assert means["auroc", "even"] == tuple(float(one[2] > one[1]) for one in (UNSURE, SURE))
    shown = capsys.readouterr()
    assert "Groups of one class have no AUROC and are left out." in shown.out
    assert "case 3 is not in store: in no group" in shown.err
    alone = compare(runs[0], by="kind", store=classified_path)
    assert (alone["compared"], len(alone["groups"])) == ([], 3)


def test_refuses_what_cannot_be_compared(judged: Score, store_path: Path) -> None:
    run, other = judged("mae", UNSURE), judged("mim", SURE)
    with pytest.raises(DataError, match=r"has none of the cases that were scored \(e.g. case 0\)"):
        compare(run, other, by="scanner", store=store_path)
    with pytest.raises(
        ConfigError, match="--measures dice: runs that classify are compared in all that they"
    ):
        compare(run, other, measures="dice")
    with pytest.raises(CheckpointError, match=r"evaluation-test.json: no scores of classification by case"):
        compare(run, judged("broken", SURE, cases=[{"case": "a"}]))
    segmenter = run.with_name("organs")
    segmenter.mkdir()
    (segmenter / "evaluation-test.json").write_text('{"structures": [], "cases": []}')
    with pytest.raises(DataError, match="organs segments, mae classifies: scores of both cannot be compared"):
        compare(segmenter, run)
    with pytest.raises(CheckpointError, match="nowhere: no such file or folder; name a run, or a JSON of"):
        compare(run, run.with_name("nowhere"))
