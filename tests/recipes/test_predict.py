import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import ConfigError, DataError
from mim3d.recipes import predict as recipe
from mim3d.recipes.predict import NOTICE, predict

AFFINE = np.diag([-1.0, 2.0, 2.5, 1.0])


def network(crops: Tensor) -> Tensor:
    """Class 1 above 0 HU, class 2 above 500 HU, never class 3."""
    return torch.cat([torch.full_like(crops, 0.5), crops, 2 * crops - 0.75, crops - 9], dim=1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = FinetuneConfig(
        structures=("liver", "spleen", "aorta"), crop=(16, 16, 16), patch=(16, 16, 16), overlap=0.25
    )
    monkeypatch.setattr(recipe, "load_segmenter", lambda run, device: (network, config))
    folder = tmp_path / "run"
    folder.mkdir()
    said = {"modality": "CT", "window": {"low": -1000, "high": 1000}, "spacing": [1.0, 2.0, 2.5]}
    (folder / "preprocessing.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    hu = np.full((20, 12, 18), -800, np.int16)
    hu[4:9, 3:6, 2:4] = 200
    hu[12:14, 8:10, 10:15] = 900
    write_nifti(tmp_path / "scan.nii.gz", hu, AFFINE)
    return tmp_path / "scan.nii.gz"


def test_writes_a_label_map_on_the_grid_of_the_scan(run: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "labels.nii.gz"
    volumes = predict(run, scan, out)
    labels, image = read_volume(out), read_volume(scan)
    assert np.array_equal(labels.affine, image.affine)
    assert np.array_equal(labels.array == 1, image.array == 200)
    assert np.array_equal(labels.array == 2, image.array == 900)
    assert volumes == pytest.approx({"liver": 30 * 0.005, "spleen": 20 * 0.005, "aorta": 0.0})


def test_writes_names_colours_and_a_warning_beside_it(run: Path, scan: Path, tmp_path: Path) -> None:
    predict(run, scan, tmp_path / "labels.nii")
    said = json.loads((tmp_path / "labels.json").read_text())
    assert said["structures"] == {"liver": 1, "spleen": 2, "aorta": 3}
    assert all(colour.startswith("#") and len(colour) == 7 for colour in said["colours"].values())
    assert said["volumes_ml"]["liver"] == pytest.approx(0.15)
    assert said["notice"] == NOTICE
    assert "Not for clinical use" in NOTICE


def test_says_what_it_found(
    run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(run, scan, tmp_path / "labels.nii")
    said = capsys.readouterr().err
    assert "labels.nii: liver 0." in said
    assert "spleen 0.1 ml, aorta 0.0 ml" in said


@pytest.mark.parametrize("there", ["labels.nii", "labels.json"])
def test_does_not_overwrite_unasked(run: Path, scan: Path, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(DataError, match=f"{there}: is there already; add --overwrite, or name another file"):
        predict(run, scan, tmp_path / "labels.nii")
    assert (tmp_path / there).read_text() == "mine"
    predict(run, scan, tmp_path / "labels.nii", overwrite=True)
    assert read_volume(tmp_path / "labels.nii").shape == (20, 12, 18)


def test_writes_nifti_only(run: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels.mha: label maps are written as NIfTI; end the name in .nii"):
        predict(run, scan, tmp_path / "labels.mha")


def test_refuses_a_device_that_is_not_there(run: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"device 'toaster' cannot be used \(.*\); `cpu` always can"):
        predict(run, scan, tmp_path / "labels.nii", device="toaster")


def test_refuses_an_overlap_of_1(run: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"overlap must lie in \[0, 1\), got 1"):
        predict(run, scan, tmp_path / "labels.nii", overlap=1)
    assert not (tmp_path / "labels.nii").exists()


def test_names_the_scan_that_cannot_be_used(run: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "empty.nii", np.zeros((8, 8, 8), np.int16), AFFINE)
    with pytest.raises(DataError, match=r"empty.nii: all voxels have the same intensity, 0"):
        predict(run, tmp_path / "empty.nii", tmp_path / "labels.nii")
