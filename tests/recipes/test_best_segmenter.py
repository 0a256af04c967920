import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mim3d.config import FinetuneConfig
from mim3d.data.store import Store
from mim3d.recipes.best_segmenter import BestSegmenter
from mim3d.sampling.crops import select_cases


class Threshold(nn.Module):
    """Structure 1 above a learnt intensity, structure 2 below -1000 HU, which is nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def forward(self, crops: Tensor) -> Tensor:
        return torch.cat([self.level.expand_as(crops), crops, -torch.ones_like(crops)], dim=1)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What validation is to find, in turn."""
    found: list[float] = []
    upcoming: Iterator[float] = iter(found)
    monkeypatch.setattr("mim3d.recipes.best_segmenter.mean_dice", lambda segmented, config: next(upcoming))
    return found


@pytest.fixture
def best(tmp_path: Path, store: Store, finetuning: FinetuneConfig) -> BestSegmenter:
    return BestSegmenter(tmp_path, store, select_cases(store, "val"), finetuning, Threshold())


def level(best: BestSegmenter) -> float:
    return float(load_file(best.run / "weights.safetensors")["level"])


def teach(best: BestSegmenter, value: float) -> None:
    assert isinstance(best.model, Threshold)
    nn.init.constant_(best.model.level, value)


def test_the_best_weights_are_kept_and_of_equals_the_first(best: BestSegmenter, scores: list[float]) -> None:
    scores += [0.2, 0.5, 0.5]
    for step, value in ((3, 0.3), (4, 0.4), (6, 0.6)):
        teach(best, value)
        assert best.after_step(step) == ({} if step == 4 else {"validation_dice": 0.2 if step == 3 else 0.5})
        best.model.train()
    assert level(best) == pytest.approx(0.6)
    assert json.loads((best.run / "best.json").read_text()) == {"step": 6, "validation_dice": 0.5}
    teach(best, 0.9)
    best.after_step(9)
    assert level(best) == pytest.approx(0.6)


def test_the_last_step_is_always_validated(
    best: BestSegmenter, scores: list[float], finetuning: FinetuneConfig
) -> None:
    scores.append(0.0)
    rare = replace(best, config=replace(finetuning, validate_every=100))
    assert rare.after_step(5) == {}
    assert rare.after_step(6) == {"validation_dice": 0.0}
    assert (best.run / "weights.safetensors").exists()  # also where nothing was found yet


def test_the_model_goes_on_learning_after_validation(best: BestSegmenter) -> None:
    best.model.train()
    best.after_step(3)
    assert best.model.training


def test_the_report_is_about_the_best_weights_not_the_last(
    best: BestSegmenter, capsys: pytest.CaptureFixture[str]
) -> None:
    teach(best, 0.5)
    kept = best.after_step(3)["validation_dice"]
    teach(best, 2.0)  # predicts nothing
    assert best.after_step(6)["validation_dice"] == 0 < kept
    best.conclude()
    validation = json.loads((best.run / "validation.json").read_text())
    assert (validation["step"], validation["validation_dice"]) == (3, kept)
    rows = {row["name"]: row["dice"] for row in validation["structures"]}
    assert sum(rows.values()) / 2 == pytest.approx(kept)
    assert capsys.readouterr().err == f"{best.run}: best validation Dice {kept:.3f} at step 3\n"
    assert (best.run / "pictures" / "segmentation.safetensors").exists()
