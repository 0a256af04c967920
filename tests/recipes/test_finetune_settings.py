"""Settings of fine-tuning, each through a whole run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mim3d.config import Augmentation, FinetuneConfig, SegmentationLoss, Transfer
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import Interruption
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.predict import predict
from mim3d.train.run_folder import read_metrics

BATCHES = "mim3d.recipes.finetune_segmentation.labelled_batches"


def test_a_sawtooth_run_with_blocks_left_out_goes_on_bit_for_bit(
    store_path: Path,
    pretrained: Path,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    interrupt_at: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The encoder stays as it is for two steps, then learns layer by layer; stopped on either side of it."""
    config = replace(
        finetuning,
        optimisation=replace(finetuning.optimisation, schedule="sawtooth", first_tooth=2),
        transfer=Transfer(layer_decay=0.5, drop_path=0.5),
    )
    whole = finetune_segmentation(store_path, tmp_path / "whole", init=pretrained, config=config)
    rates = [(float(row["lr"]), float(row["lr/encoder"])) for row in read_metrics(whole / "metrics.csv")]
    assert [encoder / rate for rate, encoder in rates] == pytest.approx([0, 0, *[0.5**5] * 4])
    kept = load_file(whole / "checkpoints" / "step-4" / "optimizer.safetensors")
    assert {float(kept[name]) for name in kept if name.endswith(".step")} == {4.0, 2.0}
    run = tmp_path / "run"
    for step in (2, 3):  # from the second on, of a resumed run
        interrupt_at(BATCHES, step)
        with pytest.raises(Interruption):
            finetune_segmentation(store_path, run, init=pretrained, config=config, resume=True)
        monkeypatch.undo()
    finetune_segmentation(store_path, run, init=None, resume=True)
    for name in ("metrics.csv", "weights.safetensors", "checkpoints/step-6/optimizer.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_frozen_encoder_stays_as_it_is(
    store_path: Path, pretrained: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    config = replace(finetuning, transfer=Transfer(frozen_stages=4))
    run = finetune_segmentation(store_path, tmp_path / "run", init=pretrained, config=config, steps=2)
    tuned, theirs = (load_file(one / "weights.safetensors") for one in (run, pretrained))
    assert all(torch.equal(tuned[name], theirs[name]) for name in tuned if name.startswith("encoder."))


def test_crops_need_not_be_cubes(store_path: Path, finetuning: FinetuneConfig, tmp_path: Path) -> None:
    """Thick slices: flat crops and patches, turned and zoomed, several of a case, to a label map."""
    config = replace(
        finetuning,
        crop=(24, 24, 8),
        patch=(8, 8, 4),
        augmentation=Augmentation(rotate=0.5, affine=0.5),
        crops_per_case=2,
        aimed=1.0,
    )
    run = finetune_segmentation(store_path, tmp_path / "run", init=None, config=config, steps=2)
    assert json.loads((run / "validation.json").read_text())["cases"]
    hu = np.random.default_rng(0).integers(-1000, 1000, (30, 20, 5)).astype(np.int16)
    write_nifti(tmp_path / "scan.nii.gz", hu, np.diag([8.0, 9.0, 20.0, 1.0]))
    predict(run, tmp_path / "scan.nii.gz", tmp_path / "labels.nii.gz")
    assert read_volume(tmp_path / "labels.nii.gz").shape == (30, 20, 5)


@pytest.mark.parametrize("loss", ["dice_focal", "generalized_dice_ce", "tversky_ce"])
def test_terms_of_the_loss_are_logged(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path, loss: SegmentationLoss
) -> None:
    config = replace(finetuning, loss=loss)
    run = finetune_segmentation(store_path, tmp_path / "run", init=None, config=config, steps=1)
    (row,) = read_metrics(run / "metrics.csv")
    other = "focal_loss" if loss == "dice_focal" else "cross_entropy"
    assert list(row) == ["step", "loss", "dice_loss", other, "lr", "validation_dice"]
    assert float(row["loss"]) == pytest.approx(float(row["dice_loss"]) + float(row[other]), rel=1e-6)
