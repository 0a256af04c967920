"""What a run of pre-training leaves, and that it goes on bit for bit from where it ended."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mim3d.config import Alignment, PretrainConfig
from mim3d.config_file import read_config
from mim3d.data.store import Store
from mim3d.errors import CheckpointError, ConfigError, Interruption
from mim3d.model.cost import Plan
from mim3d.objective.monitor import columns
from mim3d.recipes import pretrain as recipe
from mim3d.recipes.pretrain import pretrain
from mim3d.sampling.crops import select_cases
from mim3d.train.run_folder import read_metrics

BATCHES = "mim3d.recipes.pretrain.region_batches"


@pytest.fixture(scope="module")
def whole(store_path: Path, pretraining: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nobody interrupted."""
    return pretrain(store_path, tmp_path_factory.mktemp("whole") / "run", config=pretraining)


def assert_same(run: Path, whole: Path) -> None:
    checkpoint = ("checkpoints/step-6/model.safetensors", "checkpoints/step-6/optimizer.safetensors")
    for name in ("metrics.csv", "weights.safetensors", *checkpoint):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (load_file(one / "pictures" / "reconstruction.safetensors") for one in (run, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert steps_timed(run) == [1, 2, 3, 4, 5, 6]


def steps_timed(run: Path) -> list[int]:
    return [int(row["step"]) for row in read_metrics(run / "timings.csv")]


def test_what_a_run_leaves(whole: Path, store: Store, pretraining: PretrainConfig) -> None:
    assert sorted(path.name for path in whole.iterdir()) == [
        "cases.json",
        "checkpoints",
        "config.json",
        "metrics.csv",
        "pictures",
        "preprocessing.json",
        "provenance.json",
        "timings.csv",
        "weights.safetensors",
    ]
    assert read_config(whole / "config.json", PretrainConfig) == pretraining
    assert json.loads((whole / "preprocessing.json").read_text()) == {
        "orientation": "RAS",
        "unit": "HU",
        "modality": "CT",
        "channels": 1,
        "window": {"low": -1000.0, "high": 1000.0},
        "spacing": [10.0, 10.0, 10.0],
    }
    learnt = {case.case: case.patient for case in select_cases(store, "train")}
    assert json.loads((whole / "cases.json").read_text()) == {"pretrained": learnt}
    origin = json.loads((whole / "provenance.json").read_text())
    assert origin["command"] == "mim3d pretrain store run"
    assert origin["seed"] == 0
    weights = load_file(whole / "weights.safetensors")
    assert {name.split(".")[0] for name in weights} == {"encoder", "decoder", "predictor"}


def test_metrics_hold_every_level_and_pair_at_every_step(whole: Path, pretraining: PretrainConfig) -> None:
    rows = read_metrics(whole / "metrics.csv")
    levels = ["reconstruct/0", "reconstruct/1", "reconstruct/2"]
    assert list(rows[0]) == ["step", *columns(pretraining), "lr"]
    assert all(value for row in rows for value in row.values())
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        parts = sum(float(row[name]) for name in levels)
        aligned = float(row["align/0"]) + float(row["align/1"])
        assert float(row["loss"]) == pytest.approx(parts + 0.1 * aligned, rel=1e-5)
    assert [float(row["lr"]) for row in rows[:3]] == [0.0005, 0.001, 0.001]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    store_path: Path, pretraining: PretrainConfig, whole: Path, tmp_path: Path
) -> None:
    assert_same(pretrain(store_path, tmp_path / "same", config=whole / "config.json"), whole)
    other = pretrain(store_path, tmp_path / "other", config=pretraining, seed=1, steps=1)
    assert read_metrics(other / "metrics.csv")[0]["loss"] != read_metrics(whole / "metrics.csv")[0]["loss"]
    assert read_config(other / "config.json", PretrainConfig).seed == 1


def test_an_interrupted_run_goes_on_bit_for_bit(
    store_path: Path,
    pretraining: PretrainConfig,
    whole: Path,
    tmp_path: Path,
    interrupt_at: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context():
        interrupt_at(BATCHES, 3)
        with pytest.raises(
            Interruption, match="run: saved at step 3; the same command with --resume goes on"
        ):
            pretrain(store_path, run, config=pretraining)
    monkeypatch.undo()
    assert (run / "checkpoints" / "step-3").is_dir()
    assert not (run / "weights.safetensors").exists()
    pretrain(store_path, run, config=pretraining, resume=True)
    assert_same(run, whole)


@pytest.mark.usefixtures("two_threads")
def test_crops_side_by_side_go_on_bit_for_bit_too(
    store_path: Path,
    pretraining: PretrainConfig,
    tmp_path: Path,
    killed_at: Callable[[Path, Path, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans, make = list[Plan](), recipe._plan

    def noted(*arguments: Any) -> Plan:
        plans.append(make(*arguments))
        return plans[-1]

    monkeypatch.setattr(recipe, "_plan", noted)
    whole, run = (tmp_path / name for name in ("whole", "run"))
    pretrain(store_path, whole, config=pretraining)
    killed_at(whole, run, 4)
    pretrain(store_path, run, resume=True)
    assert_same(run, whole)
    assert [plan.threads for plan in plans] == [2, 2]


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
    pretrain(store_path, run, resume=True)
    assert_same(run, whole)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_died_before_its_first_checkpoint_simply_starts(
    store_path: Path, whole: Path, tmp_path: Path, killed_at: Callable[[Path, Path, int], None], resume: bool
) -> None:
    run = tmp_path / "run"
    killed_at(whole, run, 0)
    pretrain(store_path, run, config=whole / "config.json", resume=resume)
    assert_same(run, whole)


def test_a_checkpoint_needs_resume(store_path: Path, pretraining: PretrainConfig, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with pytest.raises(CheckpointError, match="holds step-6 of an earlier run; add --resume to go on"):
        pretrain(store_path, whole, config=pretraining)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


@pytest.mark.parametrize("steps", [None, 3])
def test_a_finished_run_ends_at_once(
    store_path: Path, whole: Path, capsys: pytest.CaptureFixture[str], steps: int | None
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    assert pretrain(store_path, whole, steps=steps, resume=True) == whole
    assert capsys.readouterr().err.endswith(f"run: finished, {steps or 6} steps done\n")
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_finished_run_goes_on_where_more_steps_are_asked(
    store_path: Path, whole: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    pretrain(store_path, run, steps=8, resume=True)
    rows = read_metrics(run / "metrics.csv")
    assert rows[:6] == read_metrics(whole / "metrics.csv")
    assert [row["step"] for row in rows[6:]] == ["7", "8"]
    assert read_metrics(run / "timings.csv")[:6] == read_metrics(whole / "timings.csv")
    assert steps_timed(run) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert read_config(run / "config.json", PretrainConfig).optimisation.steps == 8
    assert (run / "weights.safetensors").read_bytes() != (whole / "weights.safetensors").read_bytes()


def test_weights_of_fewer_steps_do_not_count_as_the_result(
    store_path: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mim3d.recipes.pretrain.write_reconstruction", die)
    with pytest.raises(KeyboardInterrupt):
        pretrain(store_path, run, steps=7, resume=True)
    assert (run / "checkpoints" / "step-7").is_dir()
    assert not (run / "weights.safetensors").exists()
    monkeypatch.undo()
    pretrain(store_path, run, resume=True)
    assert (run / "weights.safetensors").read_bytes() != (whole / "weights.safetensors").read_bytes()


def test_other_settings_are_refused(store_path: Path, pretraining: PretrainConfig, whole: Path) -> None:
    other = replace(pretraining, alignment=Alignment(temperature=0.5))
    message = (
        r"begun with alignment.temperature 0.2, asked for now is 0.5; "
        "leave that out to go on, or name a new folder"
    )
    with pytest.raises(ConfigError, match=message):
        pretrain(store_path, whole, config=other, resume=True)
    with pytest.raises(ConfigError, match="begun with seed 0, asked for now is 5; leave that out"):
        pretrain(store_path, whole, seed=5, resume=True)


def test_another_state_of_the_store_or_threads_are_said(
    store_path: Path,
    whole: Path,
    tmp_path: Path,
    killed_at: Callable[[Path, Path, int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    killed_at(whole, run, 6)
    origin = json.loads((run / "provenance.json").read_text())
    (run / "provenance.json").write_text(json.dumps({**origin, "threads": 99, "catalog": "abc"}))
    pretrain(store_path, run, resume=True)
    said = capsys.readouterr().err
    assert f"run was begun with another number of threads (threads 99, now {origin['threads']})" in said
    assert f"run was begun with another state of the store (catalog abc, now {origin['catalog']})" in said


@pytest.fixture(scope="module")
def taught(store_path: Path, pretraining: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose parents foresee what a teacher makes of their children."""
    alignment = Alignment(predicts="parent", features="encoder", momentum=0.5)
    config = replace(pretraining, alignment=alignment)
    return pretrain(store_path, tmp_path_factory.mktemp("taught") / "run", config=config)


def test_a_teacher_goes_on_bit_for_bit(
    store_path: Path, taught: Path, tmp_path: Path, killed_at: Callable[[Path, Path, int], None]
) -> None:
    run = tmp_path / "run"
    killed_at(taught, run, 4)
    pretrain(store_path, run, resume=True)
    assert_same(run, taught)


def test_a_teacher_is_kept_for_going_on_and_left_out_of_the_weights(taught: Path) -> None:
    kept = load_file(taught / "checkpoints" / "step-6" / "model.safetensors")
    weights = load_file(taught / "weights.safetensors")
    parts = {"encoder", "decoder", "predictor"}
    assert {name.split(".")[0] for name in kept} == {*parts, "teacher"}
    assert {name.split(".")[0] for name in weights} == parts
    student, teacher = kept["encoder.norm.weight"], kept["teacher.encoder.norm.weight"]
    assert not torch.equal(student, teacher)
