import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mim3d.config import FinetuneConfig
from mim3d.config_file import read_config
from mim3d.data.store import Store
from mim3d.downstream.segmenter import load_segmenter
from mim3d.errors import CheckpointError, ConfigError, DataError, Interruption, StoreError
from mim3d.inference.validate import mean_dice, segment_case
from mim3d.presets import FINETUNE, finetune_preset
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.sampling.crops import select_cases
from mim3d.train.run_folder import read_metrics

BATCHES = "mim3d.recipes.finetune_segmentation.labelled_batches"


@pytest.fixture(scope="module")
def whole(store_path: Path, finetuning: FinetuneConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps from scratch that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return finetune_segmentation(store_path, run, init=None, config=finetuning)


def assert_same(run: Path, whole: Path) -> None:
    names = ["metrics.csv", "weights.safetensors", "validation.json", "best.json"]
    names += [f"checkpoints/step-6/{name}.safetensors" for name in ("model", "optimizer")]
    for name in names:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert [int(row["step"]) for row in read_metrics(run / "timings.csv")] == [1, 2, 3, 4, 5, 6]


def test_what_a_run_leaves(whole: Path, finetuning: FinetuneConfig) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "best.json",
        "cases.json",
        "checkpoints",
        "config.json",
        "metrics.csv",
        "pictures",
        "preprocessing.json",
        "provenance.json",
        "timings.csv",
        "validation.json",
        "weights.safetensors",
    }
    assert read_config(whole / "config.json", FinetuneConfig) == finetuning
    rows = read_metrics(whole / "metrics.csv")
    assert list(rows[0]) == ["step", "loss", "dice_loss", "cross_entropy", "lr", "validation_dice"]
    assert [bool(row["validation_dice"]) for row in rows] == [False, False, True] * 2
    for row in rows:
        parts = float(row["dice_loss"]) + float(row["cross_entropy"])
        assert float(row["loss"]) == pytest.approx(parts, rel=1e-6)


def test_the_weights_are_those_of_the_best_validation(whole: Path, store: Store) -> None:
    best = json.loads((whole / "best.json").read_text())
    scores = {
        int(row["step"]): float(row["validation_dice"])
        for row in read_metrics(whole / "metrics.csv")
        if row["validation_dice"]
    }
    assert best["validation_dice"] == max(scores.values())
    assert scores[best["step"]] == best["validation_dice"]
    network, config = load_segmenter(whole)
    segmented = [segment_case(network, store, case, config, "cpu") for case in select_cases(store, "val")]
    assert mean_dice(segmented, config) == best["validation_dice"]


def test_the_best_weights_are_scored_and_pictured(whole: Path) -> None:
    validation = json.loads((whole / "validation.json").read_text())
    best = json.loads((whole / "best.json").read_text())
    assert validation["split"] == "val"
    assert [row["name"] for row in validation["structures"]] == ["liver", "lungs"]
    assert (validation["step"], validation["validation_dice"]) == (best["step"], best["validation_dice"])
    file = whole / "pictures" / "segmentation.safetensors"
    assert "0/axial/prediction" in load_file(file)
    with safe_open(file, "pt") as pictures:
        described = pictures.metadata()
    assert json.loads(described["structures"]) == ["liver", "lungs"]
    assert [case["case"] for case in json.loads(described["cases"])] == ["phantom_0000"]


def test_the_weights_bring_their_sizes_and_what_was_loaded_is_said(
    store_path: Path,
    pretrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = replace(finetune_preset("tiny"), feature_size=4, overlap=0.0)
    monkeypatch.setitem(FINETUNE, "tiny", lambda: quick)
    other = shutil.copytree(pretrained, tmp_path / "mim")
    kept = json.loads((other / "preprocessing.json").read_text())
    (other / "preprocessing.json").write_text(json.dumps({**kept, "spacing": [1.5, 1.5, 1.5]}))
    run = finetune_segmentation(
        store_path, tmp_path / "run", init=other, labels="labels", structures="liver, spleen", steps=1
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(
        "warning: weights learnt from spacing 1.5 x 1.5 x 1.5 mm, here it is 10 x 10 x 10 mm"
    )
    assert lines[1] == f"encoder: {len(encoder_names(run))} tensors loaded, 0 missing, 0 unexpected"
    assert lines[-2].startswith(f"{run}: best validation Dice ")
    assert lines[-1].startswith(f"{run}: done, 1 step in ")
    assert lines[-1].endswith(" % of the time was spent waiting for data")
    settings = read_config(run / "config.json", FinetuneConfig)
    assert settings.structures == ("liver", "spleen")
    assert settings.crop == (16, 16, 16)
    assert json.loads((run / "provenance.json").read_text())["init"] == "mim"


def encoder_names(run: Path) -> set[str]:
    return {name for name in load_file(run / "weights.safetensors") if name.startswith("encoder.")}


def test_the_encoder_begins_with_the_weights_and_the_decoder_without(
    store_path: Path, pretrained: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    still = replace(finetuning, optimisation=replace(finetuning.optimisation, lr=1e-12, weight_decay=0.0))
    run, scratch = (
        finetune_segmentation(store_path, tmp_path / name, init=init, config=still, steps=1)
        for name, init in (("run", pretrained), ("scratch", None))
    )
    begun, new = (load_file(one / "weights.safetensors") for one in (run, scratch))
    theirs = load_file(pretrained / "weights.safetensors")
    for name, tensor in begun.items():
        torch.testing.assert_close(tensor, theirs[name] if name.startswith("encoder.") else new[name])
    assert any(not torch.allclose(new[name], theirs[name]) for name in encoder_names(run))


def test_an_interrupted_run_goes_on_bit_for_bit(
    store_path: Path,
    finetuning: FinetuneConfig,
    whole: Path,
    tmp_path: Path,
    interrupt_at: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    interrupt_at(BATCHES, 3)
    with pytest.raises(Interruption, match="run: saved at step 3; the same command with --resume goes on"):
        finetune_segmentation(store_path, run, init=None, config=finetuning)
    monkeypatch.undo()
    finetune_segmentation(store_path, run, init=None, resume=True)
    assert_same(run, whole)


@pytest.mark.parametrize("checkpoint", [4, 6])
def test_a_killed_run_goes_on_bit_for_bit(
    store_path: Path,
    whole: Path,
    tmp_path: Path,
    killed_at: Callable[[Path, Path, int], None],
    checkpoint: int,
) -> None:
    run = tmp_path / "run"
    killed_at(whole, run, checkpoint)
    for name in ("best.json", "weights.safetensors"):  # validation at step 6 was done, or not
        (run / name).write_bytes((whole / name).read_bytes())
    finetune_segmentation(store_path, run, init=None, resume=True)
    assert_same(run, whole)


def test_what_another_attempt_found_best_is_forgotten(
    store_path: Path,
    whole: Path,
    tmp_path: Path,
    killed_at: Callable[[Path, Path, int], None],
) -> None:
    run = tmp_path / "run"
    killed_at(whole, run, 0)
    (run / "best.json").write_text('{"step": 2, "validation_dice": 0.99}')
    finetune_segmentation(store_path, run, init=None, config=whole / "config.json")
    assert_same(run, whole)


def test_scores_do_not_outlive_the_weights(
    store_path: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    names = ["evaluation-test.json", "pictures/segmentation-test.safetensors"]
    for name in names:
        (run / name).write_text("{}")
    finetune_segmentation(store_path, run, init=None, steps=6, resume=True)
    assert all((run / name).exists() for name in names)
    finetune_segmentation(store_path, run, init=None, steps=7, resume=True)
    assert not any((run / name).exists() for name in names)
    said = "run: evaluation-test.json was of the weights so far and is deleted; score the run again"
    assert said in capsys.readouterr().err
    assert (run / "validation.json").exists()


def test_a_finished_run_ends_at_once(
    store_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    finetune_segmentation(store_path, whole, init=None, resume=True)
    assert capsys.readouterr().err.endswith("run: finished, 6 steps done\n")
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_checkpoint_needs_resume(store_path: Path, whole: Path, finetuning: FinetuneConfig) -> None:
    with pytest.raises(CheckpointError, match="holds step-6 of an earlier run; add --resume to go on"):
        finetune_segmentation(store_path, whole, init=None, config=finetuning)
    other = replace(finetuning, structures=("liver",))
    with pytest.raises(
        ConfigError, match=r"begun with structures liver, lungs, asked for now is liver; leave that"
    ):
        finetune_segmentation(store_path, whole, init=None, config=other, resume=True)


def test_weights_of_another_architecture_are_refused(
    store_path: Path, pretrained: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    architecture = replace(finetuning.architecture, dims=(12, 12, 24, 24))
    other = replace(finetuning, architecture=architecture)
    with pytest.raises(CheckpointError, match="mim: weights are of another architecture: encoder: "):
        finetune_segmentation(store_path, tmp_path / "run", init=pretrained, config=other)
    assert not (tmp_path / "run").exists()


def test_damaged_weights_are_refused(
    store_path: Path, pretrained: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "preprocessing.json"):
        (other / name).write_bytes((pretrained / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"other: holds no weights.safetensors; finish the run"):
        finetune_segmentation(store_path, tmp_path / "run", init=other, config=finetuning)
    save_file({"a": torch.zeros(1)}, other / "weights.safetensors")
    with pytest.raises(CheckpointError, match="other: weights are of another architecture"):
        finetune_segmentation(store_path, tmp_path / "run", init=other, config=finetuning)
    (other / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"weights.safetensors: damaged \("):
        finetune_segmentation(store_path, tmp_path / "run", init=other, config=finetuning)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"labels": "organs"}, StoreError, "store: no label set 'organs'; it has: labels"),
        (
            {"structures": "liver,gills"},
            DataError,
            "label set labels has no structure gills; it has: aorta, ",
        ),
        (
            {"structures": "liver,liver"},
            ConfigError,
            "structures must be different from one another, got liver, liver",
        ),
    ],
)
def test_what_cannot_be_segmented_is_refused(
    store_path: Path,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    changed: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        finetune_segmentation(store_path, tmp_path / "run", init=None, config=finetuning, **changed)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_labels_and_structures_must_be_named(store_path: Path, tmp_path: Path) -> None:
    message = r"--labels and its --structures a,b,...; \w+ has labels \(.*liver.*\)$"
    with pytest.raises(ConfigError, match=message):
        finetune_segmentation(store_path, tmp_path / "run", init=None, preset="tiny")


def test_no_annotated_case_is_refused(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mim3d.sampling.annotated.select_cases", lambda store, *splits: ())
    message = "no case of the split `train` or `val` has liver, lungs annotated; prepare more labelled cases"
    with pytest.raises(StoreError, match=re.escape(message)):
        finetune_segmentation(store_path, tmp_path / "run", init=None, config=finetuning)


def test_small_volumes_are_padded_and_that_is_said_once(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = replace(finetuning, crop=(16, 16, 32))
    finetune_segmentation(store_path, tmp_path / "run", init=None, config=larger, steps=2)
    said = capsys.readouterr().err
    sentence = "4 of 4 volumes are smaller than the crop of (16, 16, 32) voxels: padded with air\n"
    assert said.count(sentence) == said.count("voxels") == 1
