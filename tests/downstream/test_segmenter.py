"""The segmentation network: shapes, gradients, and how it comes back from a run folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.config_file import write_config
from mim3d.downstream.segmenter import Segmenter, build_segmenter, load_segmenter
from mim3d.errors import CheckpointError, ConfigError
from mim3d.geometry import Triple

MakeRun = Callable[[PretrainConfig | FinetuneConfig], Path]


@pytest.mark.parametrize(
    ("patch", "size"),
    [
        ((16, 16, 16), (32, 32, 48)),
        ((16, 16, 8), (32, 48, 16)),
        ((8, 8, 8), (16, 24, 16)),
        ((8, 16, 4), (16, 32, 8)),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_logits_come_on_the_grid_of_the_volume(
    finetuned: FinetuneConfig, patch: Triple, size: Triple, channels: int
) -> None:
    torch.manual_seed(0)
    architecture = replace(finetuned.architecture, channels=channels)
    segmenter = Segmenter(replace(finetuned, crop=size, patch=patch, architecture=architecture))
    logits = segmenter(torch.rand(2, channels, *size))
    assert logits.shape == (2, 1 + len(finetuned.structures), *size)


@pytest.mark.parametrize(
    ("structures", "logits"),
    [(("liver", "spleen"), [4.0, 0.0, 0.0]), (("organs=liver+spleen", "spleen"), [-4.0, -4.0])],
)
def test_nearly_all_is_background_before_training(
    finetuned: FinetuneConfig, structures: tuple[str, ...], logits: list[float]
) -> None:
    """A softmax with the background first; a sigmoid each where structures overlap."""
    segmenter = build_segmenter(replace(finetuned, structures=structures))
    assert segmenter(torch.rand(1, 1, 32, 32, 16)).shape[1] == len(logits)
    assert isinstance(segmenter, Segmenter)
    nn.init.zeros_(segmenter.head.weight)
    found = segmenter(torch.rand(1, 1, 32, 32, 16))
    assert torch.equal(found[0, :, 3, 4, 5], torch.tensor(logits))


def test_gradients_reach_every_weight(finetuned: FinetuneConfig) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(finetuned)
    logits = segmenter(torch.rand(1, 1, 32, 32, 16))
    (logits * torch.randn_like(logits)).sum().backward()
    unreached = [n for n, p in segmenter.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


def test_a_finetuned_run_comes_back(make_run: MakeRun, finetuned: FinetuneConfig) -> None:
    run = make_run(finetuned)
    segmenter, config = load_segmenter(run)
    assert config == finetuned
    assert not segmenter.training
    torch.manual_seed(1)  # as make_run does
    made = build_segmenter(finetuned).eval()
    volume = torch.rand(1, 1, 32, 32, 16)
    assert torch.equal(segmenter(volume), made(volume))


def test_a_pretraining_run_is_refused(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = make_run(pretrained)
    message = r"run: no run of segmentation; make one with `mim3d finetune segmentation`$"
    with pytest.raises(CheckpointError, match=message):
        load_segmenter(run)


def test_an_unfinished_run_is_refused(make_run: MakeRun, finetuned: FinetuneConfig, tmp_path: Path) -> None:
    run = make_run(finetuned)
    (run / "weights.safetensors").unlink()
    message = r"run: holds no weights.safetensors; finish the run with --resume$"
    with pytest.raises(CheckpointError, match=message):
        load_segmenter(run)
    message = r"none: no such folder; name the folder of a run$"
    with pytest.raises(CheckpointError, match=message):
        load_segmenter(tmp_path / "none")


def test_weights_of_another_architecture_are_refused(make_run: MakeRun, finetuned: FinetuneConfig) -> None:
    run = make_run(finetuned)
    write_config(replace(finetuned, structures=("liver",)), run / "config.json")
    message = (
        r"run/weights.safetensors: of another architecture: 2 tensors are missing, unexpected or of another "
        r"shape \(head.weight, head.bias\)"
    )
    with pytest.raises(CheckpointError, match=message):
        load_segmenter(run)


def test_crops_of_a_single_token_are_refused(finetuned: FinetuneConfig) -> None:
    message = (
        r"^segmentation needs crops of more than one patch, got crop \(16, 16, 8\) and patch \(16, 16, 8\) "
        r"voxels; double the crop along an axis$"
    )
    with pytest.raises(ConfigError, match=message):
        Segmenter(replace(finetuned, crop=(16, 16, 8)))
