"""From phantoms to predictions with the real nnU-Net, beginning with an encoder of ours.

Needs nnunetv2 2.8 (docs/elsewhere.md says how to install it). Writes into a new folder. Ends with the Dice of
each structure on a patient it was not trained on, and whether the same scan in another orientation gives the
same labels.

    python scripts/try_nnunet.py FOLDER --epochs 10 --iterations 50
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

import mim3d
from mim3d.config import Level, Nesting
from mim3d.metrics.overlap import dice
from mim3d.presets import pretrain_preset

NAME, NUMBER, PLANS = "Dataset017_Phantoms", "17", "nnUNetMim3dPlans"
CONFIGURATION, TURNED = "3d_fullres", "PSL"
FEW = """
from nnUNetTrainerMim3d import nnUNetTrainerMim3d


class nnUNetTrainerMim3dFew(nnUNetTrainerMim3d):
    epochs, iterations, validation_iterations = {epochs}, {iterations}, 4
    warmup_epochs, peak_lr = 1, 2e-3

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        found = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None  # an eighth of the work
        return found
"""
STAND_IN = """
def __getattr__(name):
    return type(name, (), {})
"""
"""In place of timm, where it is not installed: nnU-Net imports it for networks that are not used here."""


def main() -> int:
    """Make data, pre-train, plan, export, train, predict, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=4)
    asked = parser.parse_args()
    work = asked.folder.resolve()
    work.mkdir()
    environment = prepared(work)
    make_data(work)
    pretrain(work)
    call(environment, "extract_fingerprint", "-d", NUMBER, "-np", "1", "--verify_dataset_integrity")
    call(environment, "plan_experiment", "-d", NUMBER)
    mim3d.export(work / "mim", work / "trainer", to="nnunet", dataset=work / "preprocessed" / NAME)
    few = FEW.format(epochs=asked.epochs, iterations=asked.iterations)
    (work / "trainer" / "few.py").write_text(few)
    call(environment, "preprocess", "-d", NUMBER, "-plans_name", PLANS, "-c", CONFIGURATION, "-np", "1")
    trainer = ("-p", PLANS, "-tr", "nnUNetTrainerMim3dFew", "-device", "cpu")
    call(environment, "train", NUMBER, CONFIGURATION, "0", *trainer)
    places = ("-i", str(work / "unseen"), "-o", str(work / "predicted"))
    how = ("-c", CONFIGURATION, "-f", "0", "--disable_tta", "-npp", "1", "-nps", "1")
    call(environment, "predict", "-d", NUMBER, *places, *how, *trainer)
    return score(work)


def prepared(work: Path) -> dict[str, str]:
    """nnU-Net's environment."""
    environment = dict(os.environ) | {
        "nnUNet_raw": str(work / "raw"),
        "nnUNet_preprocessed": str(work / "preprocessed"),
        "nnUNet_results": str(work / "results"),
        "nnUNet_extTrainer": str(work / "trainer"),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
    }
    if importlib.util.find_spec("timm") is None:
        print("timm is not installed: a stand-in takes its place")
        for name in ("__init__", "layers", "models/__init__", "models/eva"):
            file = work / "stand_in" / "timm" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(STAND_IN)
        path = [str(work / "stand_in"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    return environment


def make_data(work: Path) -> None:
    """Six phantoms in nnU-Net's folders; the last is set aside, as it is and in another orientation."""
    raw = work / "raw" / NAME
    mim3d.phantom(raw, cases=6, shape=(48, 48, 48), spacing=6.0, workers=1)
    for name in ("cases.csv", "phantom.json", "targets.csv"):
        (raw / name).unlink()
    (work / "unseen").mkdir()
    image, truth = raw / "imagesTr" / "phantom_0005_0000.nii.gz", raw / "labelsTr" / "phantom_0005.nii.gz"
    turned = turn(nibabel.load(image), TURNED)
    nibabel.save(turned, work / "unseen" / "turned_0000.nii.gz")
    shutil.move(image, work / "unseen" / "plain_0000.nii.gz")
    shutil.move(truth, work / "truth.nii.gz")
    description = (raw / "dataset.json").read_text()
    (raw / "dataset.json").write_text(description.replace('"numTraining": 6', '"numTraining": 5'))


def turn(image: Any, orientation: str) -> Any:
    """The same image with its voxels stored in another order."""
    wanted = ornt_transform(io_orientation(image.affine), axcodes2ornt(orientation))
    return image.as_reoriented(wanted)


def pretrain(work: Path) -> None:
    """A tiny encoder after a few steps."""
    mim3d.prepare(work / "raw" / NAME, work / "store", spacing=(6.0,), workers=1)
    tiny = pretrain_preset("tiny")
    levels = (Level(masked_ratio=0.6, children=0),)
    nesting = Nesting(extent=(32, 32, 32), crop=(32, 32, 32), patch=(8, 8, 8), levels=levels)
    mim3d.pretrain(work / "store", work / "mim", config=replace(tiny, nesting=nesting), steps=5)


def call(environment: dict[str, str], name: str, *words: str) -> None:
    """A command of nnU-Net's, from the environment that this script runs in."""
    program = Path(sys.executable).parent / f"nnUNetv2_{name}"
    print(f"== {program.name} {' '.join(words)}", flush=True)
    subprocess.run([str(program), *words], env=environment, check=True)  # noqa: S603


def score(work: Path) -> int:
    """Print Dice, and whether both orientations agree; 1 if they do not."""
    truth = np.asarray(nibabel.load(work / "truth.nii.gz").dataobj)
    plain, turned = (nibabel.load(work / "predicted" / f"{name}.nii.gz") for name in ("plain", "turned"))
    assert nibabel.aff2axcodes(turned.affine) == tuple(TURNED)
    labels = np.asarray(plain.dataobj)
    back = np.asarray(turn(turned, "".join(nibabel.aff2axcodes(plain.affine))).dataobj)
    for value in np.unique(truth[truth > 0]):
        print(f"structure {value}: Dice {dice(labels == value, truth == value):.3f}")
    same = float((labels == back).mean())
    print(f"the same scan stored as {TURNED} instead of {''.join(nibabel.aff2axcodes(plain.affine))}: "
          f"{same:.6%} of the voxels agree")  # fmt: skip
    return 0 if same > 0.999 else 1


if __name__ == "__main__":
    sys.exit(main())
