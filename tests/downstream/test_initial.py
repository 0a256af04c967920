"""What a segmentation network begins with: the right kind of weights, or a word on what is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.downstream.backbone import load_encoder
from mim3d.downstream.initial import begin_from, differences
from mim3d.downstream.segmenter import Segmenter, build_segmenter
from mim3d.downstream.swin_unetr import SwinUnetr
from mim3d.errors import CheckpointError, ConfigError
from mim3d.model.resenc import ResencUnet

MakeRun = Callable[[PretrainConfig | FinetuneConfig], Path]


@pytest.fixture
def swin(finetuned: FinetuneConfig) -> FinetuneConfig:
    return replace(finetuned, network="swin_unetr", feature_size=12, crop=(64, 32, 32))


@pytest.fixture
def resenc(finetuned: FinetuneConfig) -> FinetuneConfig:
    return replace(finetuned, network="resenc_unet", resenc_blocks=(1, 1))


def test_every_network_expects_background(
    finetuned: FinetuneConfig, swin: FinetuneConfig, resenc: FinetuneConfig
) -> None:
    for config, kind in ((finetuned, Segmenter), (swin, SwinUnetr), (resenc, ResencUnet)):
        network = build_segmenter(config)
        assert isinstance(network, kind)
        assert isinstance(network.head.bias, torch.Tensor)
        assert network.head.bias.tolist() == [4.0, 0.0, 0.0]


def test_an_encoder_begins_with_a_runs(
    make_run: MakeRun, pretrained: PretrainConfig, finetuned: FinetuneConfig, preprocessing: dict[str, Any]
) -> None:
    run, network = make_run(pretrained), build_segmenter(finetuned)
    assert differences(run, finetuned, preprocessing) == []
    assert begin_from(run, network, adapt=False).missing == ()
    assert isinstance(network, Segmenter)
    assert torch.equal(network.encoder.norm.weight, load_encoder(run).norm.weight)


def test_a_file_tells_nothing_of_its_scans(swin: FinetuneConfig, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "model_swinvit.pt")
    assert differences(tmp_path / "model_swinvit.pt", swin, {}) == [
        "model_swinvit.pt does not say which scans its weights learnt from; compare window and spacing"
    ]


def test_weights_of_another_kind_are_refused(
    finetuned: FinetuneConfig, swin: FinetuneConfig, resenc: FinetuneConfig, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"weights.pt: a file, where the folder of a run is needed; "):
        differences(tmp_path / "weights.pt", finetuned, {})
    with pytest.raises(
        CheckpointError, match=r": a folder, where swin_unetr begins with a file in the layout"
    ):
        differences(tmp_path, swin, {})
    with pytest.raises(ConfigError, match="there are no weights for resenc_unet to begin with; take --init "):
        differences(tmp_path, resenc, {})


def test_a_run_of_another_network_has_no_encoder_of_ours(make_run: MakeRun, resenc: FinetuneConfig) -> None:
    with pytest.raises(CheckpointError, match="its network is resenc_unet, which has no encoder of mim3d's"):
        load_encoder(make_run(resenc))
