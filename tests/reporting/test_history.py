from collections.abc import Callable
from pathlib import Path

import pytest

from mim3d.reporting.history import charts_of, curve_label
from mim3d.reporting.run import read_run


def test_one_chart_a_group_of_columns_with_the_learning_rate_last(pretrained: Path) -> None:
    titles = [chart.title for chart in charts_of(read_run(pretrained))]
    assert titles == ["Loss", "Reconstruction", "Alignment", "Learning rate"]


def test_a_column_that_is_not_known_gets_a_chart_of_its_own(finetuned: Callable[..., Path]) -> None:
    run = finetuned("tuned")
    (run / "metrics.csv").write_text("step,loss,crops_per_second,empty\n1,2,3,\n")
    assert [chart.title for chart in charts_of(read_run(run))] == ["Loss", "crops per second"]


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("reconstruct/2", "level 2"),
        ("align/0", "levels 0 and 1"),
        ("dice_loss", "dice loss"),
        ("r2/all", "all"),
    ],
)
def test_labels(column: str, label: str) -> None:
    assert curve_label(column) == label
