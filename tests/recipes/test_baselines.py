"""Networks to compare with, through the same recipe: from a store to a label map."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mim3d.config import Architecture, FinetuneConfig, Transfer
from mim3d.data.volume import read_volume, write_nifti
from mim3d.downstream.segmenter import load_segmenter
from mim3d.downstream.swin_unetr import SwinUnetr
from mim3d.errors import ConfigError
from mim3d.model.resenc import ResencUnet
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.predict import predict
from mim3d.train.run_folder import read_json, read_metrics


def test_a_residual_encoder_is_learnt_and_predicts(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    config = replace(finetuning, network="resenc_unet", resenc_blocks=(1, 1, 1))
    run = finetune_segmentation(store_path, tmp_path / "run", init=None, config=config, steps=2)
    assert isinstance(load_segmenter(run)[0], ResencUnet)
    hu = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 9)).astype(np.int16)
    write_nifti(tmp_path / "scan.nii.gz", hu, np.diag([8.0, 9.0, 20.0, 1.0]))
    predict(run, tmp_path / "scan.nii.gz", tmp_path / "labels.nii.gz")
    assert read_volume(tmp_path / "labels.nii.gz").shape == (20, 20, 9)
    with pytest.raises(ConfigError, match="there are no weights for resenc_unet to begin with"):
        finetune_segmentation(store_path, tmp_path / "other", init=run, config=config)
    assert not (tmp_path / "other").exists()


def test_a_swin_transformer_begins_with_published_weights(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    theirs = SwinUnetr(1, 2, 12, 0.0).encoder.state_dict()
    file = tmp_path / "model_swinvit.pt"
    torch.save({"state_dict": {f"module.{n.replace('.linear', '.fc')}": t for n, t in theirs.items()}}, file)
    config = replace(
        finetuning,
        network="swin_unetr",
        feature_size=12,
        crop=(64, 32, 32),
        architecture=Architecture(),
        transfer=Transfer(frozen_stages=1, layer_decay=0.5, drop_path=0.1),
    )
    run = finetune_segmentation(store_path, tmp_path / "run", init=file, config=config, steps=1)
    said = capsys.readouterr().err
    assert "warning: model_swinvit.pt does not say which scans its weights learnt from" in said
    assert f"encoder: {len(theirs)} tensors loaded, 0 missing, 0 unexpected\n" in said
    origin = read_json(run / "provenance.json")
    assert origin["init"] == "model_swinvit.pt"
    (row,) = read_metrics(run / "metrics.csv")
    assert float(row["lr/encoder"]) == pytest.approx(float(row["lr"]) / 8)  # the second of four stages
    network, kept = load_segmenter(run)
    assert kept == replace(config, optimisation=replace(config.optimisation, steps=1))
    assert isinstance(network, SwinUnetr)
    frozen = network.encoder.state_dict()["patch_embed.proj.weight"]
    assert torch.equal(frozen, theirs["patch_embed.proj.weight"])
