"""What nnU-Net is given: plans, a network that takes its axes and intensities, a trainer's folder.

The trainer itself runs within nnU-Net alone: scripts/try_nnunet.py.
"""

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
import torch

import mim3d
from mim3d.config import PretrainConfig
from mim3d.config_file import write_config
from mim3d.downstream.backbone import encoder_tensors, load_into
from mim3d.elsewhere.nnunet_network import NnunetSegmenter
from mim3d.errors import ConfigError
from mim3d.model.mim import Mim
from mim3d.train.checkpoint import save_weights
from mim3d.train.run_folder import write_json

CT: dict[str, Any] = {
    "orientation": "RAS",
    "unit": "HU",
    "modality": "CT",
    "channels": 1,
    "window": {"low": -175.0, "high": 250.0},
    "spacing": [1.0, 2.0, 3.0],
}
PLANS: dict[str, Any] = {  # axes (Y, Z, X): nnU-Net puts the coarsest first
    "dataset_name": "Dataset003_Liver",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [5.0, 0.7, 0.8],
    "original_median_shape_after_transp": [90, 512, 500],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [1, 0, 2],
    "transpose_backward": [1, 0, 2],
    "configurations": {
        "2d": {},
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 3,
            "patch_size": [21, 90, 70],
            "spacing": [5.0, 0.7, 0.8],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data_kwargs": {"order": 3, "order_z": 0, "force_separate_z": None},
            "architecture": {},
        },
    },
    "foreground_intensity_properties_per_channel": {
        "0": {"max": 1e3, "mean": 80.0, "median": 90.0, "min": -1e3, "percentile_00_5": -50.0,
              "percentile_99_5": 200.0, "std": 30.0}
    },
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, pretraining: PretrainConfig) -> Path:
    """A pre-training run with crops of 16 x 8 x 24 voxels, in tokens of 4 x 4 x 8."""
    nesting = replace(
        pretraining.nesting,
        extent=(32, 16, 48),
        crop=(16, 8, 24),
        patch=(4, 4, 8),
        levels=(replace(pretraining.nesting.levels[-1], cell=(1, 1, 1), children=0),),
    )
    config = replace(pretraining, nesting=nesting, preset="tiny")
    folder = tmp_path / "mim"
    folder.mkdir()
    save_weights(Mim(nesting, config.architecture, config.alignment), folder / "weights.safetensors")
    write_config(config, folder / "config.json")
    write_json(folder / "preprocessing.json", CT)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "preprocessed" / "Dataset003_Liver"
    folder.mkdir(parents=True)
    write_json(folder / "nnUNetPlans.json", PLANS)
    said = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    write_json(folder / "dataset.json", said)
    return folder


def planned(run: Path, dataset: Path, **options: bool) -> dict[str, Any]:
    mim3d.export(run, run.parent / "trainer", to="nnunet", dataset=dataset, **options)
    return dict(json.loads((dataset / "nnUNetMim3dPlans.json").read_text()))


def test_the_encoder_sees_what_it_learnt_from(run: Path, dataset: Path) -> None:
    plans = planned(run, dataset)
    assert plans["plans_name"] == "nnUNetMim3dPlans"
    assert plans["image_reader_writer"] == "NibabelIOWithReorient"
    assert plans["transpose_forward"] == plans["transpose_backward"] == [0, 1, 2]
    assert plans["original_median_spacing_after_transp"] == [0.7, 5.0, 0.8]
    (configuration,) = plans["configurations"].values()
    assert configuration["spacing"] == [3.0, 2.0, 1.0]
    assert configuration["patch_size"] == [24, 8, 16]
    assert configuration["batch_size"] == 2
    assert configuration["median_image_size_in_voxels"] == pytest.approx([512 * 0.7 / 3, 90 * 5 / 2, 400])
    assert configuration["data_identifier"] == "nnUNetMim3dPlans_3d_fullres"


def test_ct_normalisation_is_the_window(run: Path, dataset: Path) -> None:
    said = planned(run, dataset)["foreground_intensity_properties_per_channel"]["0"]
    hu = torch.tensor([-1000.0, -175.0, 37.5, 250.0, 3000.0])
    clipped = hu.clamp(said["percentile_00_5"], said["percentile_99_5"])
    assert ((clipped - said["mean"]) / said["std"]).tolist() == [0, 0, 0.5, 1, 1]


def test_nnunets_own_spacing_and_patch_if_asked_for(run: Path, dataset: Path) -> None:
    configuration = planned(run, dataset, planned=True)["configurations"]["3d_fullres"]
    assert configuration["spacing"] == [0.7, 5.0, 0.8]
    assert configuration["patch_size"] == [88, 20, 72]  # whole tokens of 8 x 4 x 4
    assert configuration["batch_size"] == 3


def test_the_network_of_the_plans_takes_the_weights(run: Path, dataset: Path) -> None:
    planned_network = planned(run, dataset)["configurations"]["3d_fullres"]["architecture"]
    build: Any = locate(planned_network["network_class_name"])
    network = build(
        input_channels=1, num_classes=3, deep_supervision=False, **planned_network["arch_kwargs"]
    ).eval()
    assert isinstance(network, NnunetSegmenter)
    folder = run.parent / "trainer" / "encoder"
    report = load_into(network.segmenter.encoder, folder)
    assert (report.missing, report.unexpected) == ((), ())
    assert set(report.loaded) == set(encoder_tensors(run))
    volume = torch.rand(2, 1, 24, 8, 16)
    with torch.no_grad():
        logits = network(volume)
        turned = network.segmenter(volume.permute(0, 1, 4, 3, 2))
    assert logits.shape == (2, 3, 24, 8, 16)
    assert torch.equal(logits, turned.permute(0, 1, 4, 3, 2))
    with pytest.raises(ConfigError, match="deep supervision is not there; train with nnUNetTrainerMim3d"):
        build(input_channels=1, num_classes=3, deep_supervision=True, **planned_network["arch_kwargs"])


def test_standardised_channels_become_what_three_deviations_are(run: Path, dataset: Path) -> None:
    write_json(run / "preprocessing.json", CT | {"modality": "MR", "unit": "none", "scaling": "deviations"})
    said = json.loads((dataset / "dataset.json").read_text())
    write_json(dataset / "dataset.json", said | {"channel_names": {"0": "T1"}})
    plans = planned(run, dataset)
    configuration = plans["configurations"]["3d_fullres"]
    assert configuration["normalization_schemes"] == ["ZScoreNormalization"]
    assert (
        plans["foreground_intensity_properties_per_channel"]
        == PLANS["foreground_intensity_properties_per_channel"]
    )
    build: Any = locate(configuration["architecture"]["network_class_name"])
    network = build(input_channels=1, num_classes=2, **configuration["architecture"]["arch_kwargs"])
    seen: list[torch.Tensor] = []
    network.segmenter.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network(torch.full((1, 1, 24, 8, 16), 1.5))
        network(torch.full((1, 1, 24, 8, 16), -9.0))
    assert [float(volume.flatten()[0]) for volume in seen] == [0.75, 0.0]


def test_another_number_of_channels_if_asked_for(run: Path, dataset: Path) -> None:
    said = json.loads((dataset / "dataset.json").read_text())
    write_json(dataset / "dataset.json", said | {"channel_names": {"0": "T1", "1": "FLAIR"}})
    configuration = planned(run, dataset, adapt=True)["configurations"]["3d_fullres"]
    assert configuration["normalization_schemes"] == ["ZScoreNormalization"] * 2
    build: Any = locate(configuration["architecture"]["network_class_name"])
    network = build(input_channels=2, num_classes=2, **configuration["architecture"]["arch_kwargs"])
    report = load_into(network.segmenter.encoder, run.parent / "trainer" / "encoder", adapt=True)
    assert (report.missing, report.unexpected) == ((), ())


def test_the_folder_holds_the_trainer_and_the_weights(run: Path, dataset: Path) -> None:
    planned(run, dataset)
    folder = run.parent / "trainer"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "nnUNetTrainerMim3d.py",
        *(
            f"encoder/{name}"
            for name in ("README.md", "config.json", "preprocessing.json", "weights.safetensors")
        ),
    }
    tree = ast.parse((folder / "nnUNetTrainerMim3d.py").read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert {"nnUNetTrainerMim3d", "nnUNetTrainerMim3dScratch", "nnUNetTrainerMim3d_50epochs"} <= names


def changed(dataset: Path, name: str, **values: Any) -> None:
    write_json(dataset / name, json.loads((dataset / name).read_text()) | values)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "dataset.json",
            {"channel_names": {"0": "T1"}},
            "channel is T1, but the encoder learnt from CT; use an",
        ),
        (
            "dataset.json",
            {"channel_names": {"0": "CT", "1": "CT"}},
            "has 2 channels (CT, CT), but the encoder learnt from 1; use an encoder of as many",
        ),
        (
            "dataset.json",
            {"file_ending": ".nrrd"},
            "files end in .nrrd, but nnU-Net turns only .nii and .nii.gz",
        ),
        (
            "nnUNetPlans.json",
            {"configurations": {"2d": {}}},
            "its plans have no 3d_fullres, which the encoder",
        ),
    ],
)
def test_what_does_not_suit_the_encoder_is_refused(
    name: str, values: dict[str, Any], message: str, run: Path, dataset: Path, failing: Callable[..., str]
) -> None:
    changed(dataset, name, **values)
    out = run.parent / "trainer"
    assert message in failing("export", run, out, "--to", "nnunet", "--dataset", dataset)
    assert not out.exists()
    assert not (dataset / "nnUNetMim3dPlans.json").exists()


def test_a_data_set_must_be_named_and_planned(run: Path, tmp_path: Path, failing: Callable[..., str]) -> None:
    out = tmp_path / "trainer"
    assert failing("export", run, out, "--to", "nnunet") == (
        "`--to nnunet` needs --dataset, a folder within nnUNet_preprocessed; name it"
    )
    assert (
        "has no readable nnUNetPlans.json; name the data set's folder within nnUNet_preprocessed"
        in failing("export", run, out, "--to", "nnunet", "--dataset", tmp_path)
    )
