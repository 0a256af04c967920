"""A fine-tuned run as a MONAI bundle, run by MONAI, against `mim3d predict`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import mim3d
from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.config_file import write_config
from mim3d.data.volume import read_volume, write_nifti
from mim3d.downstream.segmenter import Segmenter, load_segmenter
from mim3d.elsewhere.bundle import metadata
from mim3d.geometry import Triple
from mim3d.recipes.predict import predict
from mim3d.train.checkpoint import save_weights
from mim3d.train.run_folder import write_json

FromMonai = pytest.mark.filterwarnings("ignore")  # what MONAI's own code is warned of is MONAI's to mend
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(finetuning: FinetuneConfig, tmp_path: Path) -> MakeRun:
    """Writes a run of random weights that decide neither for one class everywhere nor by tiny margins."""

    def make(structures: tuple[str, ...], said: dict[str, object]) -> Path:
        channels = int(str(said["channels"]))
        architecture = replace(finetuning.architecture, channels=channels)
        config = replace(finetuning, structures=structures, architecture=architecture)
        torch.manual_seed(0)
        network = Segmenter(config)
        torch.nn.init.normal_(network.head.weight, std=3.0)
        torch.nn.init.zeros_(network.head.bias)
        run = tmp_path / "run"
        run.mkdir()
        save_weights(network, run / "weights.safetensors")
        write_config(config, run / "config.json")
        write_json(run / "preprocessing.json", said)
        return run

    return make


def scan(path: Path, size: Triple, affine: NDArray[Any], phase: float = 0.0) -> Path:
    """A smooth scan."""
    x, y, z = np.meshgrid(*(np.linspace(0, 5, n) for n in size), indexing="ij")
    hu = 800 * np.sin(x + 0.3 * y + phase) * np.cos(y - 0.5 * z) + 100 * z
    write_nifti(path, hu.astype(np.int16), affine)
    return path


CT: dict[str, object] = {
    "orientation": "RAS",
    "unit": "HU",
    "modality": "CT",
    "channels": 1,
    "window": {"low": -500.0, "high": 900.0},
    "spacing": [10.0, 10.0, 10.0],
}
MR: dict[str, object] = {
    **CT,
    "unit": "none",
    "modality": "MR",
    "modalities": ["MR", "MR"],
    "channels": 2,
    "scaling": "deviations",
}
TURNED = np.array([[0, 0, 9.0, -40], [-7.0, 0, 0, 90], [0, 8.0, 0, 10], [0, 0, 0, 1]])  # stored as P, S, R


def run_bundle(bundle: Path, scans: Path, out: Path) -> None:
    monai.bundle.run(
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        dataset_dir=str(scans),
        output_dir=str(out),
    )


@FromMonai
def test_monai_gives_the_labels_that_predict_gives(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(("liver", "lungs"), CT)
    (tmp_path / "scans").mkdir()
    scans = [
        scan(tmp_path / "scans" / "plain.nii.gz", (16, 16, 16), np.diag([10.0, 10.0, 10.0, 1.0])),
        scan(tmp_path / "scans" / "turned.nii.gz", (28, 27, 15), TURNED),
    ]
    run_bundle(
        mim3d.export(run, tmp_path / "bundle", to="monai-bundle"), tmp_path / "scans", tmp_path / "out"
    )
    for one in scans:
        predict(run, one, tmp_path / "predicted.nii.gz", overwrite=True)
        ours, theirs = read_volume(tmp_path / "predicted.nii.gz"), read_volume(tmp_path / "out" / one.name)
        assert np.allclose(ours.affine, theirs.affine, atol=1e-4)
        assert len(np.unique(ours.array)) == 3
        assert (ours.array == theirs.array).mean() > 0.9995, one.name
        header = nibabel.load(tmp_path / "out" / one.name).header
        assert header["descrip"].item().endswith(b"NOT FOR CLINICAL USE")


@FromMonai
def test_so_do_channels_of_mr_and_structures_that_overlap(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(("whole=edema+core", "core"), MR)
    (tmp_path / "scans").mkdir()
    files = [tmp_path / "scans" / f"brain_000{number}.nii.gz" for number in range(2)]
    for number, file in enumerate(files):
        scan(file, (15, 18, 16), TURNED, phase=number)
    run_bundle(
        mim3d.export(run, tmp_path / "bundle", to="monai-bundle"), tmp_path / "scans", tmp_path / "out"
    )
    predict(run, Path(";".join(map(str, files))), tmp_path / "predicted.nii.gz")
    ours, theirs = read_volume(tmp_path / "predicted.nii.gz"), read_volume(tmp_path / "out" / files[0].name)
    assert len(np.unique(ours.array)) == 3
    assert (ours.array == theirs.array).mean() > 0.9995


def test_a_bundle_says_what_it_is(make_run: MakeRun, tmp_path: Path) -> None:
    bundle = mim3d.export(make_run(("liver", "lungs"), CT), tmp_path / "organs", to="monai-bundle")
    said = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert said["name"] == "organs"
    assert said["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background", "1": "liver", "2": "lungs"
    }  # fmt: skip
    assert said["label_values"] == {"liver": [1], "lungs": [2]}
    assert said["task"] == "Segmentation of liver, lungs"
    assert said["required_packages_version"]["mim3d"] == mim3d.__version__
    assert "TO BE FILLED IN" in (bundle / "LICENSE").read_text()
    card = (bundle / "docs" / "README.md").read_text()
    assert "python -m monai.bundle run --config_file" in card
    assert 'load_encoder("organs/models")' in card
    assert load_segmenter(bundle / "models")[1].structures == ("liver", "lungs")


def test_structures_that_overlap_have_a_channel_each_and_several_values(make_run: MakeRun) -> None:
    _, config = load_segmenter(make_run(("whole=edema+core", "core"), MR))
    found = metadata(config, MR, "brain")
    assert found["label_values"] == {"whole": [1, 2], "core": [2]}
    assert found["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "whole", "1": "core"}
    assert found["network_data_format"]["outputs"]["pred"]["num_channels"] == 2


def test_a_pretraining_run_is_no_bundle(
    make_run: MakeRun, pretraining: PretrainConfig, tmp_path: Path, failing: Callable[..., str]
) -> None:
    run = make_run(("liver",), CT)
    write_config(pretraining, run / "config.json")
    assert failing("export", run, tmp_path / "bundle", "--to", "monai-bundle") == (
        f"{run}: no run of segmentation, but a bundle segments; fine-tune one from it first"
    )
    assert not (tmp_path / "bundle").exists()
