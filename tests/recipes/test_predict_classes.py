"""`mim3d predict` of runs that classify: probabilities of one scan or many, alone or together."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mim3d import cli
from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config_file import write_config
from mim3d.data.volume import read_volume, write_nifti
from mim3d.downstream.classifier import Classifier
from mim3d.downstream.segmenter import Segmenter
from mim3d.errors import CheckpointError, ConfigError, DataError
from mim3d.inference.classify import classify_scan
from mim3d.inference.outputs import NOTICE
from mim3d.recipes.predict import predict
from mim3d.train.checkpoint import save_weights
from mim3d.train.crossval_folder import members_of, write_members

MakeRun = Callable[..., Path]
CLASSES = ("even", "odd", "prime")
AFFINE = np.diag([-10.0, 10.0, 12.0, 1.0])


@pytest.fixture
def make_run(classifying: ClassifyConfig, tmp_path: Path) -> MakeRun:
    """Writes a finished run of random weights that tell scans apart."""

    def make(name: str, seed: int = 0, **settings: object) -> Path:
        config = replace(classifying, classes=CLASSES, **settings)  # type: ignore[arg-type]
        torch.manual_seed(seed)
        network = Classifier(config)
        nn.init.normal_(network.head.weight)
        run = tmp_path / name
        run.mkdir(parents=True)
        save_weights(network, run / "weights.safetensors")
        write_config(config, run / "config.json")
        said = {"modality": "CT", "window": {"low": -1000, "high": 1000}, "spacing": [10.0, 10.0, 10.0]}
        (run / "preprocessing.json").write_text(json.dumps(said))
        (run / "validation.json").write_text("{}")
        return run

    return make


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    return make_run("run")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    hu = np.random.default_rng(0).integers(-1000, 1000, (20, 18, 10)).astype(np.int16)
    write_nifti(tmp_path / "scans" / "one.nii.gz", hu, AFFINE)
    return tmp_path / "scans" / "one.nii.gz"


def test_one_scan_becomes_a_file_of_probabilities(
    run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "one.json"
    assert cli.main(["predict", str(run), str(scan), str(out)]) == 0
    said = json.loads(out.read_text())
    expected = classify_scan(run, scan)
    assert list(said) == [
        "notice",
        "target",
        "classes",
        "probabilities",
        "decided",
        "mim3d",
        "made_with",
    ]
    assert said["notice"] == NOTICE
    assert (said["target"], said["classes"]) == ("kind", list(CLASSES))
    assert said["probabilities"] == expected
    assert said["decided"] == [max(expected, key=expected.__getitem__)]
    assert said["made_with"].keys() == {"scan", "weights", "flips"}
    assert list(out.parent.iterdir()) == [out]
    assert f"one.json: even {expected['even']:.3f}, odd {expected['odd']:.3f}" in capsys.readouterr().err


def test_what_is_done_is_left_and_another_scan_refused(run: Path, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.json"
    found = predict(run, scan, out)
    assert found == {"one": classify_scan(run, scan)}
    made = out.stat().st_mtime_ns, out.stat().st_ino
    assert predict(run, scan, out) == found
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == made
    other = tmp_path / "other.nii.gz"
    write_nifti(other, read_volume(scan).array[::-1], AFFINE)
    with pytest.raises(DataError, match=r"one.json: there already, made of another scan"):
        predict(run, other, out)
    assert predict(run, other, out, overwrite=True) == {"other": classify_scan(run, other)}


def test_many_scans_become_a_table_and_a_broken_one_does_not_end_them(
    run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scan.parent / "broken.nii").write_text("no scan")
    out = tmp_path / "out"
    assert cli.main(["predict", str(run), str(scan.parent), str(out)]) == 1
    with (out / "summary.csv").open() as file:
        broken, one = csv.DictReader(file)
    assert list(one) == ["case", "status", *CLASSES, "reason", "notice"]
    assert [one[name] for name in CLASSES] == [f"{p:.4f}" for p in classify_scan(run, scan).values()]
    assert (broken["case"], broken["status"], broken["even"]) == ("broken", "failed", "")
    assert sorted(path.name for path in out.iterdir()) == ["one.json", "summary.csv"]
    capsys.readouterr()
    assert cli.main(["predict", str(run), str(scan.parent), str(out)]) == 1
    assert "scans to predict: 1, done already: 1" in capsys.readouterr().err


def test_several_labels_are_decided_each_for_itself(make_run: MakeRun, scan: Path, tmp_path: Path) -> None:
    run = make_run("several", multi_label=True)
    found = predict(run, scan, tmp_path / "one.json")["one"]
    said = json.loads((tmp_path / "one.json").read_text())
    assert said["decided"] == [name for name in CLASSES if found[name] >= 0.5]
    assert sum(found.values()) != pytest.approx(1.0)


def test_runs_together_take_the_mean(make_run: MakeRun, scan: Path, tmp_path: Path) -> None:
    members = members_of(tmp_path / "folds", 2, (0,))
    runs = [make_run(f"folds/{member.run.name}", seed) for seed, member in enumerate(members)]
    write_members(tmp_path / "folds", members)
    third = make_run("third", 2)
    found = predict(tmp_path / "folds", scan, tmp_path / "one.json", also=(third,))["one"]
    alone = [classify_scan(one, scan) for one in (*runs, third)]
    assert len({one["even"] for one in alone}) == 3
    assert found == pytest.approx({name: np.mean([one[name] for one in alone]) for name in CLASSES})
    assert len(json.loads((tmp_path / "one.json").read_text())["made_with"]["weights"]) == 3


def test_mirror_images_count_alike(run: Path, scan: Path, tmp_path: Path) -> None:
    """The mean over all mirror images is the same for each of them."""
    stored = read_volume(scan).array
    write_nifti(tmp_path / "mirrored.nii.gz", stored[::-1, :, ::-1], AFFINE)
    one = predict(run, scan, tmp_path / "one.json", flips=True)["one"]
    other = predict(run, tmp_path / "mirrored.nii.gz", tmp_path / "other.json", flips=True)["mirrored"]
    assert other == pytest.approx(one, abs=1e-6)
    assert one != pytest.approx(classify_scan(run, scan), abs=1e-6)
    assert json.loads((tmp_path / "one.json").read_text())["made_with"]["flips"] == [0, 1, 2]


def test_mirroring_that_was_not_learnt_is_refused(
    run: Path, make_run: MakeRun, classifying: ClassifyConfig, scan: Path, tmp_path: Path
) -> None:
    plain = make_run("plain", augmentation=replace(classifying.augmentation, flip=0.0))
    for first, other in [(plain, run), (run, plain)]:
        with pytest.raises(ConfigError, match=r"plain: was trained without mirroring"):
            predict(first, scan, tmp_path / "one.json", also=(other,), flips=True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--dicom-seg"], "--dicom-seg is about; leave it out"),
        (["--probabilities", "maps"], "--probabilities is about; leave it out"),
        (["--overlap", "0.5", "--blend", "constant"], "--overlap, --blend are about; leave them out"),
        (["--batch-size", "2"], "--batch-size is about; leave it out"),
    ],
)
def test_what_belongs_to_label_maps_is_refused(
    run: Path, scan: Path, tmp_path: Path, failing: Callable[..., str], options: list[str], named: str
) -> None:
    said = failing("predict", run, scan, tmp_path / "one.json", *options)
    assert said == f"{run}: classifies whole volumes and makes no label map, which {named}"


def test_places_of_another_kind_are_refused(run: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one.nii.gz: classes are written as JSON; end the name"):
        predict(run, scan, tmp_path / "one.nii.gz")
    shutil.copyfile(scan, scan.with_name("two.nii.gz"))
    with pytest.raises(DataError, match=r"all.json: a folder is needed, 2 scans are to be predicted"):
        predict(run, scan.parent, tmp_path / "all.json")


def test_runs_that_do_not_agree_are_refused(make_run: MakeRun, scan: Path, tmp_path: Path) -> None:
    first, other = make_run("first"), make_run("other", crop=(16, 16, 16))
    with pytest.raises(ConfigError, match=r"other: crop is 16, 16, 16, but 16, 16, 8 in .*first"):
        predict(first, scan, tmp_path / "one.json", also=(other,))


def test_tasks_are_not_mixed(
    make_run: MakeRun, finetuning: FinetuneConfig, scan: Path, tmp_path: Path
) -> None:
    run, other = make_run("run"), tmp_path / "organs"
    other.mkdir()
    write_config(finetuning, other / "config.json")
    save_weights(Segmenter(finetuning), other / "weights.safetensors")
    shutil.copyfile(run / "preprocessing.json", other / "preprocessing.json")
    with pytest.raises(CheckpointError, match=r"organs: no run of classification"):
        predict(run, scan, tmp_path / "one.json", also=(other,))
    with pytest.raises(CheckpointError, match=r"run: no run of segmentation"):
        predict(other, scan, tmp_path / "one.nii", also=(run,))


def test_names_the_scan_that_cannot_be_used(run: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.nii").write_text("no scan")
    with pytest.raises(DataError, match=r"broken.nii: not a readable NIfTI file"):
        predict(run, tmp_path / "broken.nii", tmp_path / "one.json")
    assert not (tmp_path / "one.json").exists()
