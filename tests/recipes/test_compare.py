import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.catalog import write_index
from mim3d.data.reclassify import reclassify
from mim3d.data.store import open_store
from mim3d.data.targets import targets_text
from mim3d.errors import CheckpointError, ConfigError, DataError
from mim3d.metrics.comparison import ALL, Side
from mim3d.recipes.compare import compare

MakeSide = Callable[..., Side]
Score = Callable[..., Path]
WORSE, BETTER = [0.70, 0.80, 0.75, 0.65, 0.72], [0.72, 0.83, 0.76, 0.70, 0.79]


@pytest.fixture
def scored(side: MakeSide, tmp_path: Path) -> Score:
    """Writes the scores of a run into a file of its folder; gives the folder."""

    def score(
        name: str, file: str = "evaluation-test.json", split: str = "test", **dices: list[float]
    ) -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        content = side(name, dices).evaluation.to_json() | {"split": split}
        (tmp_path / name / file).write_text(json.dumps(content))
        return tmp_path / name

    return score


def row(content: dict[str, Any], structure: str, measure: str = "dice") -> dict[str, Any]:
    (found,) = (
        row
        for one in content["compared"]
        for row in one["rows"]
        if (one["measure"], row["structure"]) == (measure, structure)
    )
    return dict(found)


def test_runs_are_compared_and_the_tables_written(
    scored: Score, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = (scored("mae", liver=WORSE, spleen=WORSE), scored("mim", liver=BETTER, spleen=WORSE))
    content = compare(*runs, out=tmp_path / "out")
    assert (content["reference"], content["others"]) == ("mae", ["mim"])
    assert content["file"] == "evaluation-test.json"
    assert row(content, "liver")["difference"] == pytest.approx(0.036)
    assert row(content, "liver")["p_sign_flip"] == 0.0625
    assert row(content, "spleen")["p_sign_flip"] == 1.0
    assert row(content, ALL, "hd95_mm")["difference"] == pytest.approx(-0.18)
    shown = capsys.readouterr().out
    assert "Dice: mim less mae, 5 cases (more is better)" in shown
    assert "With 5 patients no p can be below 0.0625, before correction." in shown
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == json.loads(json.dumps(content))
    with (tmp_path / "out" / "comparison.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["measure"], line["structure"]) for line in lines[:3]] == [
        ("dice", "liver"),
        ("dice", "spleen"),
        ("dice", ALL),
    ]
    assert float(lines[0]["difference"]) == row(content, "liver")["difference"]
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "| liver | 0.724 | 0.760 | +0.036 |" in page


def test_the_same_again_is_the_same(scored: Score) -> None:
    runs = (scored("mae", liver=WORSE), scored("mim", liver=BETTER))
    assert compare(*runs) == compare(*runs) != compare(*runs, seed=1)


def test_seeds_are_averaged_and_that_is_said(scored: Score, capsys: pytest.CaptureFixture[str]) -> None:
    mae = scored("mae", liver=WORSE)
    seeds = [scored(f"mim-{seed}", liver=[one + 0.01 * seed for one in BETTER]) for seed in (-1, 1)]
    joined = compare(mae, Path(",".join(map(str, seeds))))
    assert row(joined, "liver")["difference"] == pytest.approx(0.036)
    assert row(joined, "liver")["cases"] == 5
    assert "mim--1: 2 runs, averaged case by case first" in capsys.readouterr().err


def test_the_first_file_that_all_have_is_compared(scored: Score, capsys: pytest.CaptureFixture[str]) -> None:
    mae, mim = scored("mae", liver=WORSE), scored("mim", "validation.json", "val", liver=BETTER)
    with pytest.raises(
        CheckpointError, match=r"none of evaluation-test.json, .* is in all of the folders \("
    ):
        compare(mae, mim)
    scored("mae", "validation.json", "val", liver=WORSE)
    content = compare(mae, mim)
    assert content["file"] == "validation.json"
    assert "these cases chose the best steps of the runs" in capsys.readouterr().err
    assert compare(mae / "validation.json", mim)["reference"] == "mae"
    (mim / "validation.json").rename(mim / "mine.json")
    assert compare(mae / "validation.json", mim / "mine.json")["file"] == "validation.json, mine.json"
    with pytest.raises(CheckpointError, match=r"none of other.json is in all of the folders"):
        compare(mae, mim, file="other.json")


def test_runs_of_one_name_are_told_apart(scored: Score, tmp_path: Path) -> None:
    for name in ("a", "b", "x/a", "y/a"):
        (tmp_path / name).mkdir(parents=True)
    content = compare(scored("a/fold-0", liver=WORSE), scored("b/fold-0", liver=BETTER))
    assert (content["reference"], content["others"]) == ("a/fold-0", ["b/fold-0"])
    content = compare(scored("x/a/fold-0", liver=WORSE), scored("y/a/fold-0", liver=BETTER))
    assert (content["reference"], content["others"]) == ("a/fold-0 (1)", ["a/fold-0 (2)"])


def test_files_are_called_by_their_names_and_none_is_named_twice(scored: Score, tmp_path: Path) -> None:
    runs = [scored(name, liver=dices) for name, dices in (("mae", WORSE), ("mim", BETTER))]
    files = [
        Path(shutil.copy(run / "evaluation-test.json", tmp_path / f"{run.name}-own.json")) for run in runs
    ]
    found = compare(*files)
    assert (found["reference"], found["others"]) == ("mae-own", ["mim-own"])
    found = compare(runs[0], files[1])
    assert (found["reference"], found["others"]) == ("mae", ["mim-own"])
    for pair in ((runs[0], runs[0]), (runs[0], runs[0] / "evaluation-test.json")):
        with pytest.raises(ConfigError, match=r"evaluation-test\.json: named twice; name each run once"):
            compare(*pair)


def test_what_was_not_scored_alike_is_refused_or_left_out(scored: Score) -> None:
    runs = (scored("mae", liver=WORSE), scored("mim", liver=BETTER[:4]))
    with pytest.raises(
        DataError, match=r"scored on different cases .*; add --shared to compare what they share"
    ):
        compare(*runs)
    content = compare(*runs, shared=True)
    assert row(content, "liver")["cases"] == 4
    assert content["notes"][0].startswith("left out: scored on different cases")


def test_measures_and_structures_can_be_chosen(scored: Score) -> None:
    runs = (scored("mae", liver=WORSE, spleen=WORSE), scored("mim", liver=BETTER, spleen=WORSE))
    content = compare(*runs, measures="nsd", structures="spleen")
    assert [one["measure"] for one in content["compared"]] == ["nsd"]
    assert [one["structure"] for one in content["compared"][0]["rows"]] == ["spleen"]
    with pytest.raises(DataError, match="gills not scored in all runs; name some of liver, spleen, or"):
        compare(*runs, structures="gills")
    with pytest.raises(
        ConfigError, match="measures: volume cannot be compared; there are dice, nsd, hd95_mm"
    ):
        compare(*runs, measures="volume")


def test_cases_are_grouped_by_the_catalog(
    store_path: Path, side: MakeSide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, dices in (("mae", WORSE), ("mim", BETTER)):
        content = side(name, {"liver": dices}).evaluation.to_json()
        for number, case in enumerate(content["cases"]):
            case["case"] = f"phantom_{number:04d}" if number < 4 else "elsewhere"
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(content))
    found = compare(tmp_path / "mae", tmp_path / "mim", by="modality, scanner", store=store_path)
    assert [(one["column"], one["value"], one["cases"]) for one in found["groups"]] == [
        ("modality", "CT", 4),
        ("scanner", "not known", 4),
    ]
    captured = capsys.readouterr()
    assert "modality: CT *" in captured.out
    assert "elsewhere is not in store: in no group" in captured.err
    alone = compare(tmp_path / "mae", by="modality", store=store_path)
    assert alone["compared"] == []
    assert alone["groups"][0]["means"] == pytest.approx((0.725,))


def test_a_target_stands_in_for_a_column_that_says_nothing(
    classified_path: Path, side: MakeSide, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(classified_path, store)
    cases = sorted(open_store(store).catalog.cases, key=lambda case: case.case)[:3]
    said = [{"phase": "early", "kind": "odd"}, {"phase": "early"}, {"kind": "even"}]
    changed = [
        replace(case, phase=phase, targets=targets_text(tuple(targets.items())))
        for case, phase, targets in zip(cases, ("portal", "", ""), said, strict=True)
    ]
    write_index(store, reclassify(store, changed).values())
    content = side("mim", {"liver": [0.9, 0.8, 0.7]}).evaluation.to_json()
    for case, known in zip(content["cases"], cases, strict=True):
        case["case"] = known.case
    (tmp_path / "mim.json").write_text(json.dumps(content))
    found = compare(tmp_path / "mim.json", by="phase,kind", store=store)
    assert {(one["column"], one["value"], one["means"]) for one in found["groups"]} == {
        ("phase", "portal", (0.9,)),
        ("phase", "early", (0.8,)),
        ("phase", "not known", (0.7,)),
        ("kind", "odd", (0.9,)),
        ("kind", "not known", (0.8,)),
        ("kind", "even", (0.7,)),
    }


def test_refuses_what_cannot_be_grouped_or_compared(scored: Score, store_path: Path) -> None:
    run, other = scored("mae", liver=WORSE), scored("mim", liver=BETTER)
    with pytest.raises(ConfigError, match="one run alone cannot be compared; name another, or columns"):
        compare(run)
    with pytest.raises(ConfigError, match=r"columns \(--by\) of a store \(--store\); name both, or neither"):
        compare(run, other, by="scanner")
    with pytest.raises(
        DataError, match=r"has none of the cases that were scored \(e.g. case 0\); name the st"
    ):
        compare(run, other, by="scanner", store=store_path)


def test_refuses_what_is_no_evaluation(scored: Score, tmp_path: Path) -> None:
    run = scored("mae", liver=WORSE)
    (tmp_path / "other.json").write_text('{"structures": []}')
    with pytest.raises(
        CheckpointError, match=r"other.json: no scores of structures by case \(other.json lacks"
    ):
        compare(run, tmp_path / "other.json")
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"other.json: damaged, not the JSON of a run"):
        compare(run, tmp_path / "other.json")
