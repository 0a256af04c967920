"""Structures within structures, as the regions of a brain tumour are, from a store to a label map."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mim3d.config import FinetuneConfig
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.splits import Shares
from mim3d.data.volume import read_volume
from mim3d.downstream.segmenter import load_segmenter
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.predict import predict
from mim3d.reporting.run import read_run

ORGANS = "organs=liver+spleen,liver"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms; in the first only the liver was outlined."""
    raw = tmp_path_factory.mktemp("raw") / "raw"
    make_phantoms(raw, PhantomOptions(shape=(40, 36, 32), spacing=8.0), cases=3)
    rows = [
        {
            "case": f"phantom_000{number}",
            "image": f"imagesTr/phantom_000{number}_0000.nii.gz",
            "label": f"labelsTr/phantom_000{number}.nii.gz",
            "labels": "labels",
            "annotated": "liver" if number == 0 else "",
            "split": "val" if number == 2 else "train",
        }
        for number in range(3)
    ]
    with (raw / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    labels = json.loads((raw / "dataset.json").read_text())["labels"]
    structures = {name: value for name, value in labels.items() if value}
    (raw / "label_sets.json").write_text(json.dumps({"labels": {"structures": structures}}))
    return raw


@pytest.fixture(scope="module")
def partly(raw: Path) -> Path:
    """The phantoms, prepared."""
    spacing = (10.0, 10.0, 10.0)
    prepare_store(raw / "cases.csv", raw.parent / "store", spacing=spacing, shares=Shares(0, 0), workers=1)
    return raw.parent / "store"


def test_overlapping_structures_are_learnt_predicted_and_shown(
    raw: Path, partly: Path, finetuning: FinetuneConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steep = replace(finetuning.optimisation, lr=3e-2, warmup_steps=0)
    config = replace(finetuning, structures=(ORGANS,), optimisation=steep)
    run = finetune_segmentation(partly, tmp_path / "run", init=None, config=config)
    said = capsys.readouterr().err
    assert "1 of 3 cases have only some of the structures annotated: the others are neither learnt" in said
    network, kept = load_segmenter(run)
    assert kept.structures == ("organs=liver+spleen", "liver")
    assert network.head.bias.shape == (2,)
    validation = json.loads((run / "validation.json").read_text())
    assert [row["name"] for row in validation["structures"]] == ["organs", "liver"]
    shown = read_run(run).segmentation
    assert shown is not None
    assert shown.structures == ("organs", "liver")

    out = tmp_path / "labels.nii.gz"
    (volumes,) = predict(run, raw / "imagesTr" / "phantom_0002_0000.nii.gz", out).values()
    beside = json.loads((tmp_path / "labels.json").read_text())
    assert beside["structures"] == {"organs": [1, 2], "liver": 2}
    counts = np.bincount(read_volume(out).array.ravel(), minlength=3) * 0.512  # voxels of 8 mm, in ml
    assert volumes == pytest.approx({"organs": counts[1] + counts[2], "liver": counts[2]})
    assert beside["volumes_ml"] == pytest.approx(volumes, abs=1e-4)


def test_structures_that_exclude_one_another_are_learnt_from_partly_annotated_cases_too(
    partly: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    config = replace(finetuning, structures=("liver,spleen",))
    run = finetune_segmentation(partly, tmp_path / "run", init=None, config=config, steps=2)
    assert json.loads((run / "validation.json").read_text())["split"] == "val"
