import json
from pathlib import Path

import pytest

from mim3d.errors import CheckpointError
from mim3d.train.crossval_folder import finished_members, is_crossval, members_of, read_members, write_members


def test_runs_are_all_folds_of_the_first_seed_then_of_the_next(tmp_path: Path) -> None:
    members = members_of(tmp_path, 2, (0, 7))
    assert [one.run.name for one in members] == [
        "fold-0-seed-0",
        "fold-1-seed-0",
        "fold-0-seed-7",
        "fold-1-seed-7",
    ]
    assert not is_crossval(tmp_path)
    write_members(tmp_path, members, task="segmentation")
    assert is_crossval(tmp_path)
    assert read_members(tmp_path) == members


def test_runs_are_finished_when_they_are_scored(tmp_path: Path) -> None:
    members = members_of(tmp_path, 2, (0,))
    write_members(tmp_path, members)
    message = r"2 of 2 runs are not finished \(fold-0-seed-0, fold-1-seed-0\); run the same `mim3d crossval`"
    with pytest.raises(CheckpointError, match=message):
        finished_members(tmp_path)
    for one in members:
        one.run.mkdir()
        (one.run / "validation.json").write_text("{}")
    assert finished_members(tmp_path) == members
    write_members(tmp_path, members)
    rows = json.loads((tmp_path / "crossval.json").read_text())["members"]
    assert [row["finished"] for row in rows] == [True, True]


def test_runs_lie_within_the_folder_whatever_is_said(tmp_path: Path) -> None:
    rows = [{"run": "../../elsewhere/fold-0", "fold": 0, "seed": 0}]
    (tmp_path / "crossval.json").write_text(json.dumps({"members": rows}))
    assert [one.run for one in read_members(tmp_path)] == [tmp_path / "fold-0"]


def test_refuses_what_names_no_runs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no crossval\.json"):
        read_members(tmp_path)
    (tmp_path / "crossval.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"crossval.json: does not name the runs of a cross-validation"):
        read_members(tmp_path)
