"""What settings make of pre-training, and which are refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file

from mim3d.config import Level, PretrainConfig
from mim3d.errors import ConfigError, StoreError
from mim3d.model.mim import Mim
from mim3d.recipes import pretrain as recipe
from mim3d.recipes.pretrain import pretrain
from mim3d.train.fit import PRECISIONS
from mim3d.train.run_folder import read_metrics


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("changes", "accelerators", "threads"),
    [
        ({}, 1, 2),
        ({"precision": "bf16-mixed"}, 1, 1),
        ({"compile": True}, 1, 1),
        ({"memory_gb": 1e-4}, 1, 1),
        ({}, 2, 1),
    ],
)
def test_crops_go_side_by_side_on_one_cpu_in_float32_where_memory_holds_them(
    pretraining: PretrainConfig,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    accelerators: int,
    threads: int,
) -> None:
    settings = replace(pretraining, runtime=replace(pretraining.runtime, **changes))
    model = Mim(settings.nesting, settings.architecture, settings.alignment)
    fabric = SimpleNamespace(device=torch.device("cpu"), world_size=accelerators, is_global_zero=True)
    assert recipe._plan(model, settings, cast(Fabric, fabric)).threads == threads
    said = capsys.readouterr().err
    assert ("for crops side by side, 2 threads need a `--runtime.memory_gb` of 0.0" in said) == (
        "memory_gb" in changes
    )


def test_levels_of_one_are_a_plain_mae(store_path: Path, pretraining: PretrainConfig, tmp_path: Path) -> None:
    nesting = replace(pretraining.nesting, levels=(Level(masked_ratio=0.75, children=0),))
    run = pretrain(store_path, tmp_path / "mae", config=replace(pretraining, nesting=nesting), steps=1)
    assert list(read_metrics(run / "metrics.csv")[0]) == [
        "step",
        "loss",
        "reconstruct/0",
        "r2_mean/0",
        "r2_interpolation/0",
        "lr",
    ]
    assert not any(name.startswith("predictor") for name in load_file(run / "weights.safetensors"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_in_every_precision_ends_with_weights_and_pictures(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path, precision: str
) -> None:
    runtime = replace(pretraining.runtime, precision=precision)
    run = pretrain(store_path, tmp_path / "run", config=replace(pretraining, runtime=runtime), steps=2)
    kinds = {"64-true": torch.float64, "bf16-true": torch.bfloat16}
    weights = load_file(run / "weights.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {kinds.get(precision, torch.float32)}
    pictures = load_file(run / "pictures" / "reconstruction.safetensors")
    shown = [pictures[f"level{level}/reconstruction"] for level in range(3)]
    assert all(level.dtype == torch.float32 and level.isfinite().all() for level in shown)
    assert all(level.std() > 0 for level in shown)


def test_a_store_without_a_case_to_train_on_is_refused(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mim3d.recipes.pretrain.select_cases", lambda store, split: ())
    message = "store: nothing left to train on: no case of the split `train`; prepare more scans"
    with pytest.raises(StoreError, match=message):
        pretrain(store_path, tmp_path / "run", config=pretraining)
    assert not (tmp_path / "run").exists()


def test_both_preset_and_config_are_refused(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="preset 'tiny' and a configuration were both given"):
        pretrain(store_path, tmp_path / "run", preset="tiny", config=pretraining)
