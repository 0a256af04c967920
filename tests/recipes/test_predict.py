import json
import shutil
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.config_file import write_config
from mim3d.data.volume import read_volume, write_nifti
from mim3d.errors import CheckpointError, ConfigError, DataError
from mim3d.inference import segmentation
from mim3d.inference.outputs import NOTICE
from mim3d.recipes.predict import predict
from mim3d.train.crossval_folder import members_of, write_members

AFFINE = np.diag([-1.0, 2.0, 2.5, 1.0])


def network(crops: Tensor) -> Tensor:
    """Class 1 above 0 HU, class 2 above 500 HU, never class 3."""
    return torch.cat([torch.full_like(crops, 0.5), crops, 2 * crops - 0.75, crops - 9], dim=1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = FinetuneConfig(
        structures=("liver", "spleen", "aorta"), crop=(16, 16, 16), patch=(16, 16, 16), overlap=0.25
    )
    monkeypatch.setattr(segmentation, "load_segmenter", lambda run, device: (network, config))
    folder = tmp_path / "run"
    folder.mkdir()
    said = {"modality": "CT", "window": {"low": -1000, "high": 1000}, "spacing": [1.0, 2.0, 2.5]}
    (folder / "preprocessing.json").write_text(json.dumps(said))
    (folder / "weights.safetensors").write_bytes(b"weights")
    write_config(config, folder / "config.json")
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
    volumes = predict(run, scan, out)["scan"]
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
    header = nib.load(tmp_path / "labels.nii").header
    assert b"NOT FOR CLINICAL USE" in header["descrip"].item()


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
    with pytest.raises(
        DataError, match=rf"{there}: there already, and it does not say what it was made with"
    ):
        predict(run, scan, tmp_path / "labels.nii")
    assert (tmp_path / there).read_text() == "mine"
    predict(run, scan, tmp_path / "labels.nii", overwrite=True)
    assert read_volume(tmp_path / "labels.nii").shape == (20, 12, 18)


def test_what_is_done_is_left_as_it_is(
    run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes, made = predict(run, scan, tmp_path / "labels.nii"), (tmp_path / "labels.nii").stat()
    again = predict(run, scan, tmp_path / "labels.nii", overwrite=True)
    assert again["scan"] == pytest.approx(volumes["scan"], abs=1e-4)
    assert (tmp_path / "labels.nii").stat() == made
    assert (
        "labels.nii: done already, of the same scan, with the same weights and settings"
        in capsys.readouterr().err
    )


def test_another_scan_at_the_same_place_is_another_prediction(run: Path, scan: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "labels.nii", tmp_path / "other.nii.gz"
    write_nifti(other, np.roll(read_volume(scan).array, 3, axis=0), AFFINE)
    predict(run, scan, out)
    before = read_volume(out).array
    with pytest.raises(DataError) as refused:
        predict(run, other, out)
    assert str(refused.value) == (
        f"{out}: there already, made of another scan; add --overwrite, or name another place"
    )
    predict(run, other, out, overwrite=True)
    assert np.array_equal(read_volume(out).array, np.roll(before, 3, axis=0))


def test_a_copy_of_the_scan_is_the_same(run: Path, scan: Path, tmp_path: Path) -> None:
    predict(run, scan, tmp_path / "labels.nii")
    made = (tmp_path / "labels.nii").stat()
    (tmp_path / "new").mkdir()
    predict(run, scan.rename(tmp_path / "new" / "moved.nii.gz"), tmp_path / "labels.nii")
    assert (tmp_path / "labels.nii").stat() == made


def test_what_was_interrupted_is_made_again(run: Path, scan: Path, tmp_path: Path) -> None:
    predict(run, scan, tmp_path / "labels.nii")
    whole = (tmp_path / "labels.nii").read_bytes()
    (tmp_path / "labels.nii").unlink()
    (tmp_path / ".123-labels.nii").write_text("cut o")
    (tmp_path / ".labels.json.partial").write_text("cut o")
    predict(run, scan, tmp_path / "labels.nii")
    assert (tmp_path / "labels.nii").read_bytes() == whole
    assert not list(tmp_path.glob(".*"))


def test_other_settings_or_weights_are_another_prediction(run: Path, scan: Path, tmp_path: Path) -> None:
    predict(run, scan, tmp_path / "labels.nii")
    with pytest.raises(DataError, match=r"labels.nii: there already, made with other blend"):
        predict(run, scan, tmp_path / "labels.nii", blend="constant")
    (run / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(DataError, match=r"labels.nii: there already, made with other weights"):
        predict(run, scan, tmp_path / "labels.nii")


def test_probabilities_lie_on_the_grid_of_the_scan(run: Path, scan: Path, tmp_path: Path) -> None:
    predict(run, scan, tmp_path / "labels.nii", probabilities=tmp_path / "probabilities")
    labels, image = read_volume(tmp_path / "labels.nii"), read_volume(scan)
    files = sorted(path.name for path in (tmp_path / "probabilities").iterdir())
    assert files == ["aorta.nii.gz", "liver.nii.gz", "spleen.nii.gz"]
    liver, spleen = (read_volume(tmp_path / "probabilities" / f"{n}.nii.gz") for n in ("liver", "spleen"))
    assert np.array_equal(liver.affine, image.affine)
    (seen,) = np.unique(liver.array[image.array == 200])
    logits = np.array([0.5, 0.6, 0.45, -8.4])
    assert seen == pytest.approx(np.exp(0.6) / np.exp(logits).sum(), abs=2e-5)
    assert np.array_equal(spleen.array > liver.array, labels.array == 2)
    header = nib.load(tmp_path / "probabilities" / "liver.nii.gz").header
    assert b"NOT FOR CLINICAL USE" in header["descrip"].item()


def test_runs_on_folds_are_one_prediction(run: Path, scan: Path, tmp_path: Path) -> None:
    folds = tmp_path / "folds"
    members = members_of(folds, 2, (0,))
    for member in members:
        member.run.mkdir(parents=True)
        for name in ("config.json", "preprocessing.json", "weights.safetensors"):
            (member.run / name).write_bytes((run / name).read_bytes())
        (member.run / "validation.json").write_text("{}")
    write_members(folds, members)
    predict(folds, scan, tmp_path / "together.nii", also=(run,))
    predict(run, scan, tmp_path / "alone.nii")
    said = json.loads((tmp_path / "together.json").read_text())
    assert len(said["made_with"]["weights"]) == 3
    together, alone = (read_volume(tmp_path / f"{name}.nii").array for name in ("together", "alone"))
    assert np.array_equal(together, alone)
    (folds / "fold-1-seed-0" / "validation.json").unlink()
    with pytest.raises(CheckpointError, match=r"folds: 1 of 2 runs are not finished \(fold-1-seed-0\)"):
        predict(folds, scan, tmp_path / "other.nii")


def test_runs_that_do_not_agree_are_refused(run: Path, scan: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    said = json.loads((run / "preprocessing.json").read_text()) | {"spacing": None}
    (other / "preprocessing.json").write_text(json.dumps(said))
    with pytest.raises(ConfigError, match=r"other: spacing is none, but .*, .* in .*run; runs whose probab"):
        predict(run, scan, tmp_path / "labels.nii", also=(other,))
    with pytest.raises(ConfigError, match="run: named twice, and would count twice in the mean"):
        predict(run, scan, tmp_path / "labels.nii", also=(run,))


def test_a_run_that_is_not_finished_is_told(
    run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(run, scan, tmp_path / "labels.nii")
    assert "not finished" not in capsys.readouterr().err
    other = Path(shutil.copytree(run, tmp_path / "other"))
    (other / "checkpoints").mkdir()
    predict(other, scan, tmp_path / "labels.nii", overwrite=True)
    assert "other: not finished; its best weights so far predict" in capsys.readouterr().err


def test_intensities_that_a_modality_does_not_have_are_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bright = np.full((16, 16, 16), 300, np.int16)
    bright[4:8] = 900
    write_nifti(tmp_path / "bright.nii.gz", bright, np.diag([10.0, 10.0, 10.0, 1.0]))
    predict(run, tmp_path / "bright.nii.gz", tmp_path / "labels.nii")
    said = "warning: bright.nii.gz: no voxel is below 300: no HU of a CT, it seems, and no good result then"
    assert said in capsys.readouterr().err


def test_mirrored_windows_are_another_prediction(run: Path, scan: Path, tmp_path: Path) -> None:
    predict(run, scan, tmp_path / "labels.nii", flips=True)
    assert json.loads((tmp_path / "labels.json").read_text())["made_with"]["flips"] == [0, 1, 2]


def test_a_seg_needs_a_dicom_series(run: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scan.nii.gz: no DICOM, and a SEG lies on the slices"):
        predict(run, scan, tmp_path / "labels.nii", dicom_seg=True)


def test_computes_on_the_threads_asked_for(
    run: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    _, config = vars(segmentation)["load_segmenter"](run, "cpu")

    def counted(crops: Tensor) -> Tensor:
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return network(crops)

    monkeypatch.setattr(segmentation, "load_segmenter", lambda run, device: (counted, config))
    predict(run, scan, tmp_path / "labels.nii", threads=2, overlap=0.75)
    assert {number for _, number in seen} == {1}
    assert threading.get_ident() not in dict(seen)
    assert torch.get_num_threads() == 1
    with pytest.raises(ConfigError, match="threads must be at least 1, got 0"):
        predict(run, scan, tmp_path / "labels.nii", threads=0)


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
