"""Encoders that probes look at: of a run, of its checkpoints, or random; none of their weights can change."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.config_file import RunConfig
from mim3d.downstream.frozen import load_frozen, run_of, with_checkpoints
from mim3d.downstream.swin_unetr import SwinUnetr
from mim3d.errors import CheckpointError, GeometryError

MakeRun = Callable[[RunConfig], Path]


@pytest.fixture
def run(make_run: MakeRun, pretrained: PretrainConfig) -> Path:
    """A pre-training run with checkpoints at steps 2 and 10, the first one's norm set to zero."""
    folder = make_run(pretrained)
    weights = load_file(folder / "weights.safetensors")
    for step in (2, 10):
        (folder / "checkpoints" / f"step-{step}").mkdir(parents=True)
        kept = {**weights, "encoder.norm.weight": weights["encoder.norm.weight"] * (step > 2)}
        save_file(kept, folder / "checkpoints" / f"step-{step}" / "model.safetensors")
    return folder


def test_a_run_and_its_checkpoints(run: Path, pretrained: PretrainConfig) -> None:
    places = with_checkpoints(str(run))
    assert places == [str(run / "checkpoints" / "step-2"), str(run)]
    early, late = (load_frozen(place, pretrained) for place in places)
    assert [(one.name, one.step, one.run, one.config) for one in (early, late)] == [
        ("run", step, run, pretrained) for step in (2, 10)
    ]
    assert not early.encoder.state_dict()["norm.weight"].any()
    stored = load_file(run / "weights.safetensors")
    for name, tensor in late.encoder.state_dict().items():
        assert torch.equal(tensor, stored[f"encoder.{name}"])
    for frozen in (early, late):
        assert not frozen.encoder.training
        assert not any(weight.requires_grad for weight in frozen.encoder.parameters())


def test_features_of_networks_to_compare_with(finetuned: FinetuneConfig, tmp_path: Path) -> None:
    theirs, file, crop = SwinUnetr(1, 2, 12, 0.0), tmp_path / "swin.pt", torch.rand(1, 1, 32, 32, 64)
    torch.save({f"swinViT.{name}": tensor for name, tensor in theirs.encoder.state_dict().items()}, file)
    maps = load_frozen(str(file), finetuned).encoder.features(crop)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (12, 16, 16, 32), (24, 8, 8, 16), (48, 4, 4, 8), (96, 2, 2, 4), (192, 1, 1, 2),
    ]  # fmt: skip
    for ours, one in zip(maps, theirs.network.swinViT.eval()(crop), strict=True):
        assert torch.equal(ours, one)
    resenc = replace(finetuned, network="resenc_unet", feature_size=4, resenc_blocks=(1, 1), crop=(16, 16, 8))
    unet = load_frozen("none", resenc, seed=1).encoder
    assert [tuple(one.shape[1:]) for one in unet.features(crop)] == [(4, 32, 32, 64), (8, 16, 16, 32)]
    assert not unet.training
    for network in (unet, load_frozen(str(file), finetuned).encoder):
        with pytest.raises(GeometryError, match=r"crop of .* must be a positive multiple of"):
            network.features(crop[..., 1:])


def test_weights_that_are_no_numbers_are_refused(run: Path, pretrained: PretrainConfig) -> None:
    weights = load_file(run / "weights.safetensors")
    save_file(
        {**weights, "encoder.norm.weight": weights["encoder.norm.weight"] / 0}, run / "weights.safetensors"
    )
    with pytest.raises(CheckpointError, match="run: has weights that are NaN or infinite; take an earlier"):
        load_frozen(str(run), pretrained)


def test_an_unfinished_run_has_checkpoints_alone(run: Path) -> None:
    (run / "weights.safetensors").unlink()
    assert [Path(place).name for place in with_checkpoints(str(run))] == ["step-2", "step-10"]
    shutil.rmtree(run / "checkpoints")
    assert with_checkpoints(str(run)) == [str(run)]


def test_a_task_has_the_step_of_its_best_weights(make_run: MakeRun, finetuned: FinetuneConfig) -> None:
    run = make_run(finetuned)
    assert load_frozen(str(run), finetuned).step is None
    (run / "best.json").write_text('{"step": 7}')
    assert load_frozen(str(run), finetuned).step == 7


def test_random_weights_follow_from_their_seed(pretrained: PretrainConfig) -> None:
    first, again, other = (load_frozen("none", pretrained, seed=seed) for seed in (3, 3, 4))
    assert (first.name, first.step, first.run) == ("random weights", 0, None)
    weights = [one.encoder.state_dict()["linear.weight"] for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert with_checkpoints("none") == ["none"]


def test_what_is_not_there_is_named(run: Path, pretrained: PretrainConfig) -> None:
    assert run_of(str(run / "checkpoints" / "step-2")) == run
    with pytest.raises(CheckpointError, match=r"step-3: holds no model.safetensors"):
        load_frozen(str(run / "checkpoints" / "step-3"), pretrained)
    with pytest.raises(CheckpointError, match="gone: no such folder"):
        load_frozen(str(run.parent / "gone"), pretrained)
    weights = load_file(run / "weights.safetensors")
    del weights["encoder.norm.weight"]
    save_file(weights, run / "checkpoints" / "step-2" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"step-2: weights do not fit run/config.json: .* 1 missing"):
        load_frozen(str(run / "checkpoints" / "step-2"), pretrained)
