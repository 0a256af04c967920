"""Small run folders in the format that the recipes write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from mim3d.data.catalog import Case
from mim3d.data.planes import PLANES
from mim3d.metrics.evaluation import CaseScore, Evaluation, StructureSummary
from mim3d.reporting.inspect_findings import Subject
from mim3d.reporting.inspect_measures import Measures, Structure

Shape = tuple[int, int]


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def reconstruction_arrays() -> dict[str, NDArray[Any]]:
    """Two levels of 8 x 8 x 8 voxels in a grid of 2 x 2 x 2; the first token is hidden."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for level in range(2):
        arrays[f"level{level}/crop"] = rng.random((8, 8, 8), np.float32)
        arrays[f"level{level}/masked"] = np.arange(8) == 0
        arrays[f"level{level}/reconstruction"] = rng.random((8, 8, 8), np.float32)
    arrays["level0/child"] = np.array([[0, 0, 0], [4, 4, 4]], np.float32)
    return arrays


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A pre-training run of 60 steps and two levels."""
    run = tmp_path / "pretrain"
    write(
        run, "config.json", {"kind": "pretrain", "preset": "tiny", "seed": 3, "optimisation": {"steps": 60}}
    )
    write(run, "provenance.json", {"version": "0.1.0", "store": "store", "cases": {"train": 4}})
    write(run, "preprocessing.json", {"orientation": "RAS", "spacing": [1.5, 1.5, 1.5]})
    rows = [
        f"{step},{3 / step},{1 / step},{2 / step},{0.1 / step},{1 - 1 / step},{1 - 2 / step},0.001"
        for step in range(1, 61)
    ]
    header = "step,loss,reconstruct/0,reconstruct/1,align/0,r2_mean/0,r2_mean/1,lr"
    (run / "metrics.csv").write_text("\n".join([header, *rows, "61,0.1"]))
    timings = [f"{step},1.25,{0.5 if step == 1 else 0.01}" for step in range(1, 61)]
    (run / "timings.csv").write_text("\n".join(["step,seconds,waiting", *timings, "61,1"]))
    (run / "pictures").mkdir()
    metadata = {"patch": "[4, 4, 4]", "grid": "[2, 2, 2]", "case": "a", "voxel_mm": "[[3,3,3],[1.5,1.5,1.5]]"}
    save_file(reconstruction_arrays(), run / "pictures" / "reconstruction.safetensors", metadata)
    return run


def write_overlays(run: Path, dices: dict[str, float | None], shape: Shape) -> None:
    """One picture file; the truth holds structure 1 in a corner, the prediction is shifted by a pixel."""
    arrays: dict[str, NDArray[Any]] = {}
    for number in range(len(dices)):
        for plane in PLANES:
            truth = np.zeros(shape, np.uint8)
            truth[: shape[0] // 2, : shape[1] // 2] = 1
            arrays[f"{number}/{plane}/image"] = np.linspace(0, 1, truth.size, dtype=np.float32).reshape(shape)
            arrays[f"{number}/{plane}/truth"] = truth
            arrays[f"{number}/{plane}/prediction"] = np.roll(truth, 1, axis=1)
    metadata = {
        "cases": json.dumps([{"case": case, "dice": dice} for case, dice in dices.items()]),
        "structures": json.dumps(["liver", "spleen"]),
        "colours": json.dumps(["#aa3322", "#2255aa"]),
    }
    (run / "pictures").mkdir(exist_ok=True)
    save_file(arrays, run / "pictures" / "segmentation.safetensors", metadata)


def score(name: str, dice: float | None, missed: int = 0) -> StructureSummary:
    absent = dice is None
    return StructureSummary(
        name=name,
        dice=dice,
        hd95_mm=None if absent else 4.0,
        nsd=dice,
        tolerance_mm=3.0,
        cases=0 if absent else 2,
        truth_cases=0 if absent else 2,
        missed=missed,
        invented=0,
        absent=2 if absent else 0,
        not_annotated=0,
        false_positive_ml=0.0,
        volume_difference_ml=None,
    )


@pytest.fixture
def finetuned(tmp_path: Path) -> Callable[..., Path]:
    """Makes a fine-tuned run called `name` whose liver has the given test Dice; the spleen is absent."""

    def make(name: str, dice: float = 0.8, shape: Shape = (6, 8), split: str = "test") -> Path:
        run = tmp_path / name
        write(run, "config.json", {"kind": "finetune", "seed": 0, "structures": ["liver", "spleen"]})
        write(run, "provenance.json", {"init": "runs/pretrain"})
        write(run, "preprocessing.json", {"spacing": [1.0, 1.0, 2.0]})
        rows = [f"{step},{1 / step},{step / 10 if step % 5 == 0 else ''}" for step in range(1, 11)]
        (run / "metrics.csv").write_text("\n".join(["step,loss,validation_dice", *rows]))
        write_overlays(run, {"good": 0.9, "bad": 0.4}, shape)
        cases = tuple(CaseScore(case=case, scores=()) for case in ("good", "bad"))
        validation = Evaluation(split="val", structures=(score("liver", 0.5),), cases=cases)
        write(run, "validation.json", validation.to_json())
        scores = (score("liver", dice, missed=1), score("spleen", None))
        write(run, "evaluation.json", Evaluation(split=split, structures=scores, cases=cases).to_json())
        return run

    return make


@pytest.fixture(scope="session")
def subject() -> Subject:
    """An ordinary CT of a store, with a liver."""
    case = Case(
        case="a",
        patient="b",
        split="train",
        shape=(100, 100, 100),
        spacing=(3.0, 3.0, 3.0),
        source_spacing=(1.0, 1.0, 5.0),
        hash="c",
        statistics={"mean": 20.0, "std": 200.0, "p005": -400.0, "p995": 700.0, "body_share": 0.5},
        labels={"organs": (1, 2)},
    )
    liver = Structure(
        volume=1500.0, centre=(0.0, 0.0, 0.0), voxel=(1, 1, 1), median=60.0, outside=0.02, cut=False
    )
    measures = Measures(
        darkest=-1000.0,
        constant=(0.0, 0.0, 0.0),
        constant_inside=(0, 0, 0),
        body=(50, 50, 50),
        structures={"organs": {"liver": liver}},
    )
    return Subject(case=case, measures=measures)
