import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig, Selection
from mim3d.config_file import read_config, write_config
from mim3d.data.store import Store, open_store
from mim3d.downstream.classifier import load_classifier
from mim3d.downstream.segmenter import load_segmenter
from mim3d.errors import CheckpointError, ConfigError, DataError, StoreError
from mim3d.inference.classify import classify_cases
from mim3d.inference.validate import evaluate_all, segment_case, segment_together
from mim3d.recipes.finetune_classification import finetune_classification
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.score import score
from mim3d.sampling.crops import select_cases
from mim3d.train.crossval_folder import members_of, write_members
from mim3d.train.run_folder import read_json, write_json


@pytest.fixture(scope="module")
def finished(store_path: Path, finetuning: FinetuneConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one step on two folds, as a cross-validation has them."""
    out = tmp_path_factory.mktemp("finished") / "cv"
    quick = replace(finetuning, structures=("liver",), validate_every=1)
    members = members_of(out, 2, (0,))
    for one in members:
        config = replace(quick, selection=Selection(folds=2, fold=one.fold))
        finetune_segmentation(store_path, one.run, init=None, config=config, steps=1)
    write_members(out, members)
    return out


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "cv")


def test_a_run_is_scored_on_the_cases_that_chose_nothing(
    runs: Path, store_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "fold-0-seed-0"
    content = score(run, store_path)
    cases = select_cases(store, "test")
    network, config = load_segmenter(run)
    expected = evaluate_all(
        [segment_case(network, store, one, config, "cpu") for one in cases], config, "test"
    )
    assert {name: content[name] for name in expected.to_json()} == expected.to_json()
    assert content["grid"] == "working"
    assert (content["store"], content["catalog"], content["networks"]) == ("store", store.hash, 1)
    assert read_json(run / "evaluation-test.json") == json.loads(json.dumps(content))
    with safe_open(run / "pictures" / "segmentation-test.safetensors", "pt") as pictures:
        described = json.loads(pictures.metadata()["cases"])
    assert [one["case"] for one in described] == [one.case for one in cases]
    assert "1 case" in capsys.readouterr().out


def test_every_look_at_the_test_split_is_kept(
    runs: Path, store_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "fold-0-seed-0"
    assert score(run, store_path)["looks"] == 1
    assert score(run, store_path, split="val")["looks"] == 1
    assert score(run, store_path)["looks"] == 2
    assert "look number 2 at the split test with this run" in capsys.readouterr().err
    looks = read_json(run / "looks.json")["looks"]
    assert [(look["split"], look["store"], look["catalog"]) for look in looks] == [
        ("test", "store", store.hash),
        ("val", "store", store.hash),
        ("test", "store", store.hash),
    ]
    assert (run / "evaluation-val.json").exists()


def test_runs_of_a_cross_validation_are_averaged(runs: Path, store_path: Path, store: Store) -> None:
    content = score(runs, store_path)
    cases = select_cases(store, "test")
    loaded = [load_segmenter(runs / f"fold-{fold}-seed-0") for fold in (0, 1)]
    together = [
        segment_together([network for network, _ in loaded], store, one, loaded[0][1], "cpu") for one in cases
    ]
    expected = evaluate_all(together, loaded[0][1], "test").to_json()
    assert {name: content[name] for name in expected} == expected
    assert content["networks"] == 2
    assert not (runs / "fold-0-seed-0" / "evaluation-test.json").exists()


def test_runs_of_a_cross_validation_are_scored_by_themselves(runs: Path, store_path: Path) -> None:
    content = score(runs, store_path, each=True)
    members = [runs / f"fold-{fold}-seed-0" for fold in (0, 1)]
    dices = [read_json(one / "evaluation-test.json")["structures"][0]["dice"] for one in members]
    assert len(content["cases"]) == 2
    assert content["structures"][0]["cases"] == 1
    assert content["structures"][0]["dice"] == pytest.approx(sum(dices) / 2)
    assert content == read_json(runs / "evaluation-test-each.json")
    assert len(read_json(runs / "summary-test.json")["runs"]) == 2
    for one in (*members, runs):
        assert len(read_json(one / "looks.json")["looks"]) == 1
    with pytest.raises(ConfigError, match="fold-0-seed-0: is one run; `each` is for a folder of several"):
        score(members[0], store_path, each=True)


def test_who_taught_a_run_cannot_test_it(
    runs: Path, store_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "fold-1-seed-0"
    cases = read_json(run / "cases.json")
    (tested,) = select_cases(store, "test")
    write_json(run / "cases.json", {**cases, "train": {**cases["train"], "another": tested.patient}})
    message = r"1 of 1 cases are of patients who taught fold-1-seed-0 or chose its best step \(e.g. phantom_"
    for one in (run, runs):
        with pytest.raises(DataError, match=message):
            score(one, store_path)
        assert not (one / "looks.json").exists()
    capsys.readouterr()
    score(run, store_path, split="val")
    assert "or chose its best step: their scores are too good" in capsys.readouterr().err
    (run / "cases.json").unlink()
    score(run, store_path)
    assert "does not say which cases it was made with: not checked" in capsys.readouterr().err


def test_patients_whom_the_encoder_knows_without_labels_are_told(
    runs: Path, store_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "fold-1-seed-0"
    (tested,) = select_cases(store, "test")
    write_json(run / "cases.json", {"pretrained": {"a": tested.patient}, **read_json(run / "cases.json")})
    score(run, store_path)
    said = (
        "warning: 1 of 1 cases are of patients from whose scans, without labels, the encoder of fold-1-seed-0"
    )
    assert said in capsys.readouterr().err


def test_weights_that_do_not_say_whom_they_know_are_told(
    runs: Path, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "fold-1-seed-0"
    score(run, store_path)
    assert "do not say" not in capsys.readouterr().err
    write_json(run / "cases.json", {**read_json(run / "cases.json"), "untold": {}})
    score(run, store_path)
    assert "fold-1-seed-0 began with do not say from whose scans they learnt: not" in capsys.readouterr().err


def test_a_store_whose_keys_cannot_tell_who_taught_a_run_is_scored_with_a_warning(
    runs: Path, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs / "fold-0-seed-0"
    score(run, store_path)
    assert "none of its patients' keys" not in capsys.readouterr().err
    write_json(run / "cases.json", {"train": {"phantom_0000": "another key"}, "val": {}})
    score(run, store_path)
    assert "and none of its patients' keys is in store: not checked" in capsys.readouterr().err


def test_a_classifier_is_scored_too(
    classified_path: Path, classifying: ClassifyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finetune_classification(classified_path, tmp_path / "run", init=None, config=classifying, steps=1)
    content = score(run, classified_path)
    (row,) = content["cases"]
    assert (content["task"], content["split"], content["looks"]) == ("classification", "test", 1)
    assert row["truth"] == ("odd",)
    assert row["patient"] == open_store(classified_path).case(row["case"]).patient
    network, config = load_classifier(run)
    opened = open_store(classified_path)
    expected = classify_cases(network, opened, select_cases(opened, "test"), config)[0]
    assert list(row["probabilities"].values()) == pytest.approx(expected)
    assert "kind, 1 case" in capsys.readouterr().out


def test_rules_are_those_of_evaluate(runs: Path, store_path: Path) -> None:
    content = score(runs / "fold-0-seed-0", store_path, tolerance="12", lesions="liver", smallest_lesion=50)
    (row,) = content["structures"]
    assert row["tolerance_mm"] == 12
    assert row["lesions"]["truth"] >= 1
    with pytest.raises(ConfigError, match="lesions: no structure tumour is scored; there are liver"):
        score(runs / "fold-0-seed-0", store_path, lesions="tumour")


def test_a_run_that_is_not_finished_is_not_scored(runs: Path, store_path: Path) -> None:
    run = runs / "fold-1-seed-0"
    (run / "validation.json").unlink()
    with pytest.raises(CheckpointError, match="fold-1-seed-0: not finished; go on with the same command and"):
        score(run, store_path)
    assert not (run / "looks.json").exists()


def test_refuses_what_cannot_be_scored(
    runs: Path, store_path: Path, pretraining: PretrainConfig, tmp_path: Path
) -> None:
    run = runs / "fold-0-seed-0"
    with pytest.raises(ConfigError, match="split must be one of train, val, test, got 'all'"):
        score(run, store_path, split="all")  # type: ignore[arg-type]
    said = read_json(run / "preprocessing.json")
    write_json(run / "preprocessing.json", {**said, "spacing": [5.0, 5.0, 5.0]})
    message = r"learnt from spacing 5 x 5 x 5 mm, store is at 10 x 10 x 10 mm; prepare a store"
    with pytest.raises(StoreError, match=message):
        score(run, store_path)
    write_json(run / "preprocessing.json", {**said, "modality": "MR"})
    with pytest.raises(CheckpointError, match="weights learnt from modality MR, but here it is CT"):
        score(run, store_path)
    write_config(pretraining, tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="a pre-training run has nothing to score; fine-tune it first"):
        score(tmp_path, store_path)
    other = read_config(run / "config.json", FinetuneConfig)
    write_config(replace(other, labels="organs"), run / "config.json")
    with pytest.raises(StoreError, match="no label set 'organs'"):
        score(run, store_path)


def test_an_unfinished_cross_validation_is_refused(runs: Path, store_path: Path) -> None:
    (runs / "fold-1-seed-0" / "validation.json").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 2 runs are not finished \(fold-1-seed-0\)"):
        score(runs, store_path)
