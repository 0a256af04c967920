from collections.abc import Callable
from pathlib import Path

import pytest

from mim3d.config import PretrainConfig
from mim3d.objective.monitor import columns
from mim3d.reporting.history import charts_of, curve_label
from mim3d.reporting.run import read_run


def test_one_chart_a_group_of_columns_with_the_learning_rate_last(pretrained: Path) -> None:
    titles = [chart.title for chart in charts_of(read_run(pretrained))]
    assert titles == [
        "Loss",
        "Reconstruction",
        "Alignment",
        "Reconstruction: R²",
        "Learning rate",
    ]


def test_a_column_that_is_not_known_gets_a_chart_of_its_own(finetuned: Callable[..., Path]) -> None:
    run = finetuned("tuned")
    (run / "metrics.csv").write_text("step,loss,crops_per_second,empty\n1,2,3,\n")
    assert [chart.title for chart in charts_of(read_run(run))] == ["Loss", "crops per second"]


def test_every_column_of_fine_tuning_is_in_a_chart_that_explains_itself(
    finetuned: Callable[..., Path],
) -> None:
    run = finetuned("tuned")
    names = ["loss", "dice_loss", "focal_loss", "cross_entropy", "lr", "lr/encoder", "validation_dice"]
    (run / "metrics.csv").write_text(",".join(["step", *names]) + "\n" + "1," * len(names) + "1\n")
    charts = list(charts_of(read_run(run)))
    assert [chart.title for chart in charts] == ["Loss", "Validation Dice", "Learning rate"]
    assert all(chart.caption for chart in charts)
    assert curve_label("lr/encoder") == "encoder"


def test_every_column_of_pre_training_is_in_a_chart_that_explains_itself(pretrained: Path) -> None:
    names = columns(PretrainConfig())
    (pretrained / "metrics.csv").write_text(
        ",".join(["step", *names, "lr"]) + "\n" + "1," * len(names) + "1,1\n"
    )
    charts = list(charts_of(read_run(pretrained)))
    assert [chart.title for chart in charts] == [
        "Loss",
        "Reconstruction",
        "Alignment",
        "Alignment: found",
        "Alignment: collapse",
        "Reconstruction: R²",
        "Learning rate",
    ]
    assert all(chart.caption for chart in charts)


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("reconstruct/2", "level 2"),
        ("align/0", "levels 0 and 1"),
        ("found_blind/1", "levels 1 and 2, blind"),
        ("align_spread/0", "levels 0 and 1, spread"),
        ("r2_interpolation/2", "level 2, over interpolation"),
        ("dice_loss", "dice loss"),
        ("r2/all", "all"),
    ],
)
def test_labels(column: str, label: str) -> None:
    assert curve_label(column) == label
