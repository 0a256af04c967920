import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mim3d.config import ClassifyConfig, PretrainConfig, Transfer
from mim3d.config_file import read_config
from mim3d.data.store import open_store
from mim3d.downstream.classifier import load_classifier
from mim3d.errors import CheckpointError, ConfigError, Interruption
from mim3d.inference.classify import classify_cases, classify_scan
from mim3d.recipes.finetune_classification import finetune_classification
from mim3d.recipes.pretrain import pretrain
from mim3d.recipes.report import report
from mim3d.sampling.classified import classified_cases, truth_of
from mim3d.train.run_folder import read_metrics

BATCHES = "mim3d.recipes.finetune_classification.classified_batches"
CLASSES = ("even", "odd")


@pytest.fixture(scope="module")
def whole(
    classified_path: Path, classifying: ClassifyConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of six steps from scratch that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return finetune_classification(classified_path, run, init=None, config=classifying)


def assert_same(run: Path, whole: Path) -> None:
    names = ["metrics.csv", "weights.safetensors", "validation.json", "best.json"]
    names += [f"checkpoints/step-6/{name}.safetensors" for name in ("model", "optimizer")]
    for name in names:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_a_run_leaves(whole: Path, classifying: ClassifyConfig) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "best.json",
        "cases.json",
        "checkpoints",
        "config.json",
        "metrics.csv",
        "preprocessing.json",
        "provenance.json",
        "timings.csv",
        "validation.json",
        "weights.safetensors",
    }
    assert read_config(whole / "config.json", ClassifyConfig) == replace(classifying, classes=CLASSES)
    rows = read_metrics(whole / "metrics.csv")
    assert list(rows[0]) == ["step", "loss", "accuracy", "lr", "validation_accuracy"]
    assert [bool(row["validation_accuracy"]) for row in rows] == [False, False, True] * 2


def test_the_best_weights_are_scored_case_by_case(whole: Path, classified_path: Path) -> None:
    validation, best = (json.loads((whole / name).read_text()) for name in ("validation.json", "best.json"))
    assert (validation["task"], validation["split"], validation["target"]) == (
        "classification",
        "val",
        "kind",
    )
    assert validation["step"] == best["step"]
    assert validation["accuracy"] == best["validation_accuracy"]
    network, config = load_classifier(whole)
    store = open_store(classified_path)
    cases = classified_cases(store, config, "val")
    (found,) = classify_cases(network, store, cases, config)
    (row,) = validation["cases"]
    assert row["case"] == cases[0].case
    assert row["probabilities"] == dict(zip(CLASSES, found.tolist(), strict=True))
    assert row["truth"] == [CLASSES[int(truth_of(cases, config)[0].argmax())]]


def test_a_scan_is_classified_as_it_was_in_the_store(whole: Path, store_path: Path) -> None:
    (row,) = json.loads((whole / "validation.json").read_text())["cases"]
    scan = store_path.parent / "raw" / "imagesTr" / f"{row['case']}_0000.nii.gz"
    assert classify_scan(whole, scan) == pytest.approx(row["probabilities"], abs=1e-9)


def test_an_interrupted_run_goes_on_bit_for_bit(
    classified_path: Path,
    classifying: ClassifyConfig,
    whole: Path,
    tmp_path: Path,
    interrupt_at: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    interrupt_at(BATCHES, 3)
    with pytest.raises(Interruption, match="run: saved at step 3; the same command with --resume goes on"):
        finetune_classification(classified_path, run, init=None, config=classifying)
    monkeypatch.undo()
    finetune_classification(classified_path, run, init=None, resume=True)
    assert_same(run, whole)


@pytest.mark.usefixtures("two_threads")
def test_threads_take_volumes_of_their_own(
    classified_path: Path, classifying: ClassifyConfig, whole: Path, tmp_path: Path
) -> None:
    run = finetune_classification(classified_path, tmp_path / "run", init=None, config=classifying, steps=1)
    first, alone = (read_metrics(one / "metrics.csv")[0] for one in (run, whole))
    assert float(first["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-5)


def test_a_finished_run_ends_at_once(
    classified_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    finetune_classification(classified_path, whole, init=None, resume=True)
    assert capsys.readouterr().err.endswith("run: finished, 6 steps done\n")
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_the_encoder_begins_with_the_weights(
    classified_path: Path,
    pretraining: PretrainConfig,
    classifying: ClassifyConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    init = pretrain(classified_path, tmp_path / "mim", config=pretraining, steps=1)
    still = replace(classifying, optimisation=replace(classifying.optimisation, lr=1e-12, weight_decay=0.0))
    run = finetune_classification(classified_path, tmp_path / "run", init=init, config=still, steps=1)
    begun, theirs = (load_file(one / "weights.safetensors") for one in (run, init))
    names = [name for name in begun if name.startswith("encoder.")]
    for name in names:
        torch.testing.assert_close(begun[name], theirs[name])
    said = capsys.readouterr().err
    assert f"encoder: {len(names)} tensors loaded, 0 missing, 0 unexpected\n" in said
    assert "kind, train: 3 cases, 2 even, 1 odd\n" in said


@pytest.mark.usefixtures("two_threads")
def test_frozen_weights_stay_and_the_head_learns(
    classified_path: Path, pretraining: PretrainConfig, classifying: ClassifyConfig, tmp_path: Path
) -> None:
    init = pretrain(classified_path, tmp_path / "mim", config=pretraining, steps=1)
    transfer = Transfer(frozen_stages=4, drop_path=0.2)
    optimisation = replace(classifying.optimisation, schedule="sawtooth", first_tooth=2, steps=3)
    config = replace(classifying, transfer=transfer, optimisation=optimisation)
    run = finetune_classification(classified_path, tmp_path / "run", init=init, config=config)
    begun, theirs = (load_file(one / "weights.safetensors") for one in (run, init))
    for name in begun:
        if name.startswith("encoder."):
            assert torch.equal(begun[name], theirs[name]), name
    assert begun["head.bias"].any()
    rows = read_metrics(run / "metrics.csv")
    assert list(rows[0])[:5] == ["step", "loss", "accuracy", "lr", "lr/encoder"]
    again = finetune_classification(classified_path, tmp_path / "again", init=init, config=config)
    assert (again / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()


def test_what_is_asked_is_what_is_classified(
    store_path: Path, classifying: ClassifyConfig, tmp_path: Path
) -> None:
    run = finetune_classification(
        store_path,
        tmp_path / "run",
        init=None,
        target="site",
        classes="liver, lung",
        config=replace(classifying, multi_label=True, class_weights="balanced", pooling="attention"),
        steps=1,
    )
    validation = json.loads((run / "validation.json").read_text())
    assert (validation["target"], [row["name"] for row in validation["classes"]]) == (
        "site",
        ["liver", "lung"],
    )
    assert validation["auroc"] is None  # the only case has neither
    with pytest.raises(
        ConfigError, match=r"run: begun with classes liver, lung, asked for now is lung, liver;"
    ):
        finetune_classification(store_path, run, init=None, classes="lung,liver", resume=True)


def test_the_report_shows_a_classifier(whole: Path, tmp_path: Path) -> None:
    page = report(whole, out=tmp_path / "page.html").read_text()
    for words in ("classification", "AUROC", "(validation).", "Accuracy while training", "sensitivity"):
        assert words in page, words
    (whole.parent / "broken").mkdir()
    for name in ("config.json", "validation.json"):
        (whole.parent / "broken" / name).write_text((whole / name).read_text())
    (whole.parent / "broken" / "validation.json").write_text('{"classes": 3}')
    with pytest.raises(CheckpointError, match=r"validation\.json"):
        report(whole.parent / "broken")
