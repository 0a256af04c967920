import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mim3d.errors import CheckpointError
from mim3d.train.run_folder import (
    StepTable,
    make_run,
    open_run,
    provenance,
    read_json,
    read_metrics,
    write_json,
)


def test_a_new_folder_begins_and_is_not_made_yet(tmp_path: Path) -> None:
    assert open_run(tmp_path / "run", resume=False) is None
    assert open_run(tmp_path / "run", resume=True) is None
    assert not (tmp_path / "run").exists()
    assert open_run(tmp_path, resume=False) is None


def test_a_run_that_died_before_its_first_checkpoint_begins(tmp_path: Path) -> None:
    (tmp_path / ".config.json.partial").touch()
    assert open_run(tmp_path, resume=False) is None
    (tmp_path / "config.json").touch()
    (tmp_path / "metrics.csv").touch()
    assert open_run(tmp_path, resume=False) is None
    assert open_run(tmp_path, resume=True) is None


def test_a_checkpoint_needs_resume(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    for step in (9, 10):
        (tmp_path / "checkpoints" / f"step-{step}").mkdir(parents=True)
    message = "holds step-10 of an earlier run; add --resume to go on, or name a new folder"
    with pytest.raises(CheckpointError, match=message):
        open_run(tmp_path, resume=False)
    assert open_run(tmp_path, resume=True) == tmp_path / "checkpoints" / "step-10"


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    message = "holds thesis.tex and no config.json, so it is no run folder; name a new or empty folder"
    with pytest.raises(CheckpointError, match=message):
        open_run(tmp_path, resume=True)


def test_imported_weights_are_not_overwritten(tmp_path: Path) -> None:
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(
        CheckpointError, match="holds imported weights, which no run goes on from; name a new"
    ):
        open_run(tmp_path, resume=True)
    (tmp_path / "metrics.csv").touch()  # as a run leaves it that died after it was validated first
    assert open_run(tmp_path, resume=True) is None


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(CheckpointError, match="run: a file, where a run folder is needed; name a new folder"):
        open_run(tmp_path / "run", resume=False)


def test_a_run_that_begins_anew_leaves_no_old_results(tmp_path: Path) -> None:
    results = ("metrics.csv", "timings.csv", "best.json", "weights.safetensors", "validation.json")
    for name in ("config.json", *results):
        (tmp_path / name).touch()
    make_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    make_run(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"run: cannot be made \(Not a directory\); name another"):
        make_run(tmp_path / "file" / "run")


def test_json_appears_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"step": 1})
    write_json(tmp_path / "a.json", {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"step": 2}


def test_json_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"step": 1})
    assert read_json(tmp_path / "a.json") == {"step": 1}
    for text in ("[1", "7", "[1, 2]", "null"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"a.json: damaged, not the JSON of a run; copy the run"):
            read_json(tmp_path / "a.json")
    with pytest.raises(CheckpointError, match=r": has no b.json; copy the run folder as a whole$"):
        read_json(tmp_path / "b.json")


def test_where_a_run_came_from() -> None:
    origin = provenance("mim3d pretrain STORE RUN", 7, "abc")
    assert (origin["command"], origin["seed"], origin["catalog"]) == ("mim3d pretrain STORE RUN", 7, "abc")
    assert origin["threads"] == torch.get_num_threads()
    assert f"{os.cpu_count()} cores" in origin["machine"]
    assert {"mim3d", "torch", "python", "started"} <= origin.keys()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_metrics_get_a_row_a_step(tmp_path: Path) -> None:
    metrics = StepTable(tmp_path / "metrics.csv", ["step", "loss", "dice"], 0)
    metrics.append({"step": 1, "loss": 0.1 + 0.2})
    metrics.append({"dice": 0.5, "step": 2, "loss": 1e-7})
    assert lines(tmp_path / "metrics.csv") == ["step,loss,dice", "1,0.30000000000000004,", "2,1e-07,0.5"]
    assert read_metrics(tmp_path / "metrics.csv")[0] == {
        "step": "1",
        "loss": "0.30000000000000004",
        "dice": "",
    }


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        (lambda text: text, ["1,1.0", "2,2.0"]),
        (lambda text: text[:-3], ["1,1.0", "2,2.0"]),
        (lambda text: text + "4", ["1,1.0", "2,2.0"]),
        (lambda text: text[:18], ["1,1.0"]),
        (lambda text: text[:5], []),
        (lambda text: "", []),
    ],
)
def test_rows_after_the_checkpoint_and_half_rows_are_dropped(
    tmp_path: Path, cut: Callable[[str], str], kept: list[str]
) -> None:
    file = tmp_path / "metrics.csv"
    metrics = StepTable(file, ["step", "loss"], 0)
    for step in (1, 2, 3):
        metrics.append({"step": step, "loss": float(step)})
    file.write_bytes(cut(file.read_bytes().decode()).encode())
    StepTable(file, ["step", "loss"], 2).append({"step": 3, "loss": 30.0})
    assert lines(file) == ["step,loss", *kept, "3,30.0"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
