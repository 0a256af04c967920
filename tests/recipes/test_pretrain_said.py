"""What pre-training tells on standard error."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mim3d.config import PretrainConfig
from mim3d.recipes.pretrain import pretrain
from mim3d.train.run_folder import read_metrics


def test_progress_shows_the_loss_and_its_terms_only(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain(store_path, tmp_path / "run", config=pretraining, steps=1)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("step 1/1"))
    kinds = [part.split()[0] for part in line.split(" · ")]
    assert kinds[1:6] == ["loss", "reconstruct", "align", "found", "lr"]


def test_the_last_line_says_how_long_it_took(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = pretrain(store_path, tmp_path / "run", config=pretraining, steps=2)
    end = r"run: done, 2 steps in \d+ s; \d+\.\d % of the time was spent waiting for data\n$"
    assert re.search(end, capsys.readouterr().err)
    for row in read_metrics(run / "timings.csv"):
        assert 0 < float(row["waiting"]) < float(row["seconds"])


def test_small_volumes_are_padded_and_that_is_said_once(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nesting = replace(pretraining.nesting, extent=(24, 24, 27))
    pretrain(store_path, tmp_path / "small", config=replace(pretraining, nesting=nesting), steps=2)
    said = capsys.readouterr().err
    sentence = "3 of 3 volumes are smaller than the region of (24, 24, 27) voxels: padded with air\n"
    assert said.count(sentence) == said.count("voxels") == 1


def test_volumes_that_are_large_enough_are_not_mentioned(
    store_path: Path, pretraining: PretrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain(store_path, tmp_path / "run", config=pretraining, steps=1)
    assert "with air" not in capsys.readouterr().err
