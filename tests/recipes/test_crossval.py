import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.config import ClassifyConfig, FinetuneConfig, Selection
from mim3d.config_file import read_config, write_config
from mim3d.data.store import Store
from mim3d.errors import CheckpointError, ConfigError, DataError, Interruption
from mim3d.metrics.classification import evaluate_classes
from mim3d.metrics.comparison import Side
from mim3d.recipes import crossval as module
from mim3d.recipes import crossval_plan
from mim3d.recipes.crossval import crossval_classification, crossval_segmentation
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.job_process import Job
from mim3d.train.crossval_folder import read_members

MakeSide = Callable[..., Side]


class Recorded:
    """Stands for fine-tuning: writes down what it is asked, and scores."""

    def __init__(self, side: MakeSide) -> None:
        self.side, self.asked = side, list[str]()
        self.dies_at = ""

    def __call__(self, store: Path, run: Path, /, *, init: Path | None, config: Any, resume: bool) -> Path:
        assert resume
        self.asked.append(run.name)
        run.mkdir(exist_ok=True)
        write_config(config, run / "config.json")
        if run.name == self.dies_at:
            raise Interruption(f"{run.name}: saved at step 3")
        dices = {"liver": [0.5 + 0.1 * config.selection.fold], "lungs": [0.5 + 0.1 * config.seed]}
        evaluation = self.side(run.name, dices).evaluation
        case = replace(evaluation.cases[0], case=f"of fold {config.selection.fold}")
        content = replace(evaluation, cases=(case,), split="val").to_json()
        (run / "validation.json").write_text(json.dumps(content))
        return run


@pytest.fixture
def recorded(side: MakeSide, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    stand_in = Recorded(side)
    monkeypatch.setattr(module, "finetune_segmentation", stand_in)
    return stand_in


def test_every_fold_is_run_with_every_seed_and_pooled(
    recorded: Recorded,
    store_path: Path,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = crossval_segmentation(
        store_path, tmp_path / "cv", init=None, config=finetuning, folds=2, seeds="0,3"
    )
    names = ["fold-0-seed-0", "fold-1-seed-0", "fold-0-seed-3", "fold-1-seed-3"]
    assert recorded.asked == [one.run.name for one in read_members(out)] == names
    last = read_config(out / "fold-1-seed-3" / "config.json", FinetuneConfig)
    assert (last.seed, last.selection) == (3, Selection(folds=2, fold=1))
    pooled = json.loads((out / "evaluation.json").read_text())
    assert [(case["case"], case["seed"]) for case in pooled["cases"]] == [
        ("of fold 0", 0),
        ("of fold 1", 0),
        ("of fold 0", 3),
        ("of fold 1", 3),
    ]
    assert {row["name"]: row["cases"] for row in pooled["structures"]} == {"liver": 2, "lungs": 2}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["structures"]["liver"]["dice"]["seeds"] == 0
    assert summary["structures"]["lungs"]["dice"]["folds"] == 0
    assert summary["structures"]["lungs"]["dice"]["mean"] == pytest.approx(0.65)
    assert [run["run"] for run in summary["runs"]] == names
    captured = capsys.readouterr()
    assert "2 folds x 2 seeds, 2 cases" in captured.out
    assert "fold-1-seed-3 is finished, 4 of 4" in captured.err


def test_classifiers_are_pooled_too(
    store_path: Path,
    classifying: ClassifyConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(store: Path, run: Path, /, *, init: Path | None, config: ClassifyConfig, resume: bool) -> Path:
        run.mkdir()
        write_config(config, run / "config.json")
        found = evaluate_classes(
            np.array([[0.7, 0.3], [0.4, 0.6]]),
            np.eye(2, dtype=bool) if config.selection.fold else np.eye(2, dtype=bool)[::-1],
            config.classes,
            [f"{config.selection.fold}-{number}" for number in (0, 1)],
            target=config.target,
            split="val",
        )
        (run / "validation.json").write_text(json.dumps(found.to_json()))
        return run

    monkeypatch.setattr(module, "finetune_classification", train)
    out = crossval_classification(
        store_path,
        tmp_path / "cv",
        init=None,
        config=classifying,
        classes="even,odd",
        folds=2,
        seeds="0,1",
    )
    settings = read_config(out / "fold-1-seed-1" / "config.json", ClassifyConfig)
    assert (settings.target, settings.classes, settings.seed) == ("kind", ("even", "odd"), 1)
    pooled = json.loads((out / "evaluation.json").read_text())
    assert (pooled["task"], pooled["target"], pooled["accuracy"]) == ("classification", "kind", 0.5)
    assert [(row["case"], row["seed"]) for row in pooled["cases"]][:3] == [("0-0", 0), ("0-1", 0), ("1-0", 0)]
    summary = json.loads((out / "summary.json").read_text())["measures"]["accuracy"]
    assert (summary["mean"], summary["seeds"]) == (0.5, 0)
    assert summary["folds"] == pytest.approx(0.5**0.5)
    assert "balanced accuracy" in capsys.readouterr().out


def test_it_goes_on_where_it_stopped(
    recorded: Recorded, store_path: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    out = tmp_path / "cv"
    recorded.dies_at = "fold-1-seed-0"
    with pytest.raises(Interruption, match="saved at step 3; the same command with --resume goes on"):
        crossval_segmentation(store_path, out, init=None, config=finetuning, folds=3)
    rows = json.loads((out / "crossval.json").read_text())["members"]
    assert [row["finished"] for row in rows] == [True, False, False]
    assert not (out / "evaluation.json").exists()
    with pytest.raises(CheckpointError, match="cv: holds a cross-validation; add --resume to go on"):
        crossval_segmentation(store_path, out, init=None, config=finetuning, folds=3)
    recorded.asked, recorded.dies_at = [], ""
    crossval_segmentation(store_path, out, init=None, resume=True)
    assert recorded.asked == ["fold-1-seed-0", "fold-2-seed-0"]
    assert len(json.loads((out / "evaluation.json").read_text())["cases"]) == 3


def test_seeds_and_steps_can_be_added(
    recorded: Recorded, store_path: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    out = tmp_path / "cv"
    crossval_segmentation(store_path, out, init=None, config=finetuning, folds=2)
    recorded.asked = []
    crossval_segmentation(store_path, out, init=None, seeds="4", resume=True)
    assert recorded.asked == ["fold-0-seed-4", "fold-1-seed-4"]
    assert len(json.loads((out / "evaluation.json").read_text())["cases"]) == 4
    recorded.asked = []
    (out / "evaluation-test.json").write_text("{}")
    crossval_segmentation(store_path, out, init=None, resume=True)
    assert (out / "evaluation-test.json").exists()
    crossval_segmentation(store_path, out, init=None, steps=9, resume=True)
    assert len(recorded.asked) == 4
    assert not (out / "evaluation-test.json").exists()
    assert (out / "evaluation.json").exists()


def test_another_cross_validation_is_not_gone_on_with(
    recorded: Recorded, store_path: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    out = tmp_path / "cv"
    crossval_segmentation(store_path, out, init=None, config=finetuning, folds=2)
    with pytest.raises(
        ConfigError, match=r"cv: begun with selection.folds 2, asked for now is 3; leave that out"
    ):
        crossval_segmentation(store_path, out, init=None, folds=3, resume=True)
    with pytest.raises(ConfigError, match="cv: begun with 6 steps, asked for now are 5: runs of one number"):
        crossval_segmentation(store_path, out, init=None, steps=5, resume=True)
    other = tmp_path / "mim"
    other.mkdir()
    (other / "weights.safetensors").write_bytes(b"weights")
    with pytest.raises(ConfigError, match="cv: begun with init none, asked for now is mim; name the same"):
        crossval_segmentation(store_path, out, init=other, config=finetuning, folds=2, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(
        CheckpointError, match=r"full: holds notes.txt and no crossval.json; name a new or em"
    ):
        crossval_segmentation(store_path, tmp_path / "full", init=None, config=finetuning)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": "0,x"}, "seeds must be numbers joined by commas, got '0,x'; e.g. 0,1,2"),
        ({"seeds": "-1"}, "seeds must be 0 or more, got -1"),
        ({"side_by_side": 0}, "side_by_side must be at least 1 run at a time, got 0"),
        ({"folds": 0}, "folds must be 2 or more, got 0; leave it out for those of the settings"),
        ({"folds": 1}, "selection.folds must be 0, or 2 and more, got 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    recorded: Recorded,
    store_path: Path,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    changed: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        crossval_segmentation(store_path, tmp_path / "cv", init=None, config=finetuning, **changed)
    assert not (tmp_path / "cv").exists()


def test_a_mistake_that_no_run_begins_with_can_be_mended(
    store_path: Path,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    side: MakeSide,
) -> None:
    out = tmp_path / "cv"
    with pytest.raises(DataError, match="label set labels has no structure gills; it has: aorta"):
        crossval_segmentation(store_path, out, init=None, config=finetuning, structures="gills", folds=2)
    assert list(out.iterdir()) == []
    monkeypatch.setattr(module, "finetune_segmentation", Recorded(side))
    crossval_segmentation(store_path, out, init=None, config=finetuning, folds=2)
    assert len(read_members(out)) == 2


def test_folds_are_by_default_those_of_the_settings_or_five(
    recorded: Recorded, store_path: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    crossval_segmentation(store_path, tmp_path / "five", init=None, config=finetuning)
    three = replace(finetuning, selection=Selection(folds=3))
    crossval_segmentation(store_path, tmp_path / "three", init=None, config=three)
    assert (len(read_members(tmp_path / "five")), len(read_members(tmp_path / "three"))) == (5, 3)


def test_every_case_but_those_of_test_is_validated_once(
    store_path: Path, store: Store, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    quick = replace(finetuning, structures=("liver",), validate_every=1)
    out = crossval_segmentation(store_path, tmp_path / "cv", init=None, config=quick, folds=2, steps=1)
    cases = json.loads((out / "evaluation.json").read_text())["cases"]
    tested = {case.case for case in store.catalog.select("test").cases}
    assert sorted(case["case"] for case in cases) == sorted(set(store.catalog.column("case")) - tested)
    assert {case["patient"] for case in cases} <= set(store.catalog.column("patient"))


def test_runs_side_by_side_are_jobs_that_another_process_can_take(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def take(jobs: Sequence[Job], at_once: int) -> Iterator[Job]:
        taken.extend([pickle.loads(pickle.dumps(job)) for job in jobs])
        raise Interruption(f"{at_once} at a time")
        yield

    monkeypatch.setattr(crossval_plan, "run_side_by_side", take)
    with pytest.raises(Interruption, match="2 at a time; the same command with --resume goes on"):
        crossval_segmentation(store_path, tmp_path / "cv", init=None, config=finetuning, side_by_side=2)
    assert [job.name for job in taken] == [f"fold-{fold}-seed-0" for fold in range(5)]
    work = taken[3].work
    assert work.func is finetune_segmentation
    assert work.args == (store_path, tmp_path / "cv" / "fold-3-seed-0")
    assert work.keywords["config"].selection == Selection(folds=5, fold=3)
    assert taken[3].log == tmp_path / "cv" / "fold-3-seed-0.log"
