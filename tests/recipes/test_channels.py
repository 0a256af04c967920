"""Two MR channels from files to a label map: prepared, pre-trained on, fine-tuned with, predicted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from mim3d.config import FinetuneConfig, PretrainConfig, Transfer
from mim3d.data.case_channels import channels_of_text
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.store import Store, open_store
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import CheckpointError, ConfigError, DataError
from mim3d.geometry import Box
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.predict import predict
from mim3d.recipes.pretrain import pretrain
from mim3d.sampling.crops import read_region, select_cases
from mim3d.sampling.intensities import read_scaled, windows_of


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms with a second channel, of another scale, named as nnU-Net does."""
    folder = tmp_path_factory.mktemp("channels") / "raw"
    make_phantoms(folder, PhantomOptions(shape=(40, 36, 32), spacing=8.0), cases=3)
    for file in sorted((folder / "imagesTr").glob("*_0000.nii.gz")):
        one = read_volume(file)
        values = one.array.astype(np.float32) + 1024
        write_nifti(file, values, one.affine)
        second = file.with_name(file.name.removesuffix("_0000.nii.gz") + "_0001.nii.gz")
        write_nifti(second, np.sqrt(values) / 8, one.affine)
    content = json.loads((folder / "dataset.json").read_text())
    content["channel_names"] = {"0": "T1", "1": "T2"}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def two(raw: Path) -> Store:
    store = raw.with_name("store")
    prepare_store(raw, store, spacing=(10.0, 10.0, 10.0), workers=1)
    return open_store(store)


@pytest.fixture(scope="module")
def config(pretraining: PretrainConfig) -> PretrainConfig:
    architecture = replace(pretraining.architecture, channels=2)
    return replace(
        pretraining, architecture=architecture, optimisation=replace(pretraining.optimisation, steps=2)
    )


@pytest.fixture(scope="module")
def run(two: Store, config: PretrainConfig) -> Path:
    assert isinstance(two.path, Path)
    return pretrain(two.path, two.path.with_name("run"), config=config)


@pytest.fixture(scope="module")
def tuned(two: Store, config: PretrainConfig, finetuning: FinetuneConfig, run: Path) -> Path:
    settings = replace(
        finetuning,
        architecture=config.architecture,
        optimisation=replace(finetuning.optimisation, steps=2),
        validate_every=2,
    )
    assert isinstance(two.path, Path)
    return finetune_segmentation(two.path, two.path.with_name("tuned"), init=run, config=settings)


def whole(two: Store, config: PretrainConfig) -> NDArray[np.float32]:
    case = two.catalog.cases[0]
    return read_scaled(two, case, Box((0, 0, 0), case.shape), case.shape, config)


def test_each_channel_is_scaled_by_itself(two: Store, config: PretrainConfig) -> None:
    case = two.catalog.cases[0]
    body = two.foreground(case.case, None)[0]
    seen = whole(two, config)
    for channel, measured in zip(seen, channels_of_text(case.channels), strict=True):
        assert (channel.min(), channel.max()) == (0, 1)
        inside = channel[tuple(body.T)]
        assert 0.2 < inside.mean() < 0.9
        assert measured.statistics["p005"] < measured.statistics["p995"]
    deviations = replace(config, scaling="deviations")
    one, _ = windows_of(case, deviations)
    statistics = case.statistics
    assert (one.low + one.high) / 2 == pytest.approx(statistics["mean"])
    assert one.high - one.low == pytest.approx(6 * statistics["std"])
    assert not np.array_equal(whole(two, deviations), seen)


def test_regions_have_both_channels(two: Store, config: PretrainConfig) -> None:
    _, levels = read_region(two, select_cases(two, "train"), config, 0)
    assert [level.crops.shape for level in levels] == [(n, 2, 16, 16, 16) for n in (1, 2, 4)]


def test_pretraining_runs_on_both(run: Path) -> None:
    said = json.loads((run / "preprocessing.json").read_text())
    assert (said["channels"], said["modality"], said["modalities"]) == (2, "MR", ["MR", "MR"])
    assert (said["unit"], said["scaling"]) == ("none", "percentiles")
    assert (run / "weights.safetensors").exists()


def test_fine_tuning_and_prediction_run_on_both(tuned: Path, raw: Path, tmp_path: Path) -> None:
    files = sorted((raw / "imagesTr").glob("*.nii.gz"))[:2]
    (volumes,) = predict(tuned, Path(";".join(map(str, files))), tmp_path / "a.nii.gz").values()
    assert set(volumes) == {"liver", "lungs"}
    first = read_volume(files[0])
    stacked = np.stack([read_volume(file).array for file in files], axis=-1)
    write_nifti(tmp_path / "both.nii.gz", stacked, first.affine)
    predict(tuned, tmp_path / "both.nii.gz", tmp_path / "b.nii.gz")
    one, other = (read_volume(tmp_path / name).array for name in ("a.nii.gz", "b.nii.gz"))
    assert one.shape == first.shape
    np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match=r"1 of the 2 channels that the run learnt from; all"):
        predict(tuned, files[0], tmp_path / "c.nii.gz")


def test_weights_of_two_channels_are_not_for_one(run: Path, store: Store, finetuning: FinetuneConfig) -> None:
    with pytest.raises(CheckpointError, match="weights learnt from unit none, but here it is HU"):
        finetune_segmentation(store.path, run.with_name("one"), init=run, config=finetuning)


def test_weights_of_one_channel_of_ct_are_adapted_to_two_of_mr(
    two: Store,
    store_path: Path,
    pretraining: PretrainConfig,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mim = pretrain(store_path, tmp_path / "mim", config=pretraining, steps=1)
    still = replace(finetuning.optimisation, lr=1e-12, weight_decay=0.0)
    config = replace(finetuning, optimisation=still)
    with pytest.raises(
        ConfigError, match=r"channels is 1, but cases of the store have 2; set --architecture.channels 2, or "
    ):
        finetune_segmentation(two.path, tmp_path / "run", init=mim, config=config)
    config = replace(config, transfer=Transfer(adapt=True))
    capsys.readouterr()
    run = finetune_segmentation(two.path, tmp_path / "run", init=mim, config=config, steps=1)
    kept = json.loads((run / "provenance.json").read_text())["transfer"]
    assert kept[:3] == [
        "weights learnt from unit HU, adapted to none",
        "weights learnt from modality CT, adapted to MR",
        "weights learnt from channels 1, adapted to 2",
    ]
    assert kept[-1].endswith(" tensors loaded, 0 missing, 0 unexpected")
    assert capsys.readouterr().err.startswith(f"warning: {kept[0]}\n")
    begun, theirs = (load_file(one / "weights.safetensors") for one in (run, mim))
    stem = "encoder.embeds.0.project.weight"
    kernels = theirs[stem]  # (C', V), as one channel has it
    torch.testing.assert_close(begun[stem].view(*kernels.shape, 2), kernels[..., None].expand(-1, -1, 2) / 2)
    torch.testing.assert_close(begun["encoder.norm.weight"], theirs["encoder.norm.weight"])
