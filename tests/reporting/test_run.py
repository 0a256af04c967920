import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mim3d.errors import CheckpointError
from mim3d.geometry import Box
from mim3d.metrics.comparison import Side
from mim3d.reporting.run import read_run
from mim3d.reporting.summary import decisive, run_facts


def test_a_pretrained_run_is_read_whole(pretrained: Path) -> None:
    run = read_run(pretrained)
    assert (run.name, run.kind) == ("pretrain", "pretrain")
    assert run.metrics["step"].tolist() == list(range(1, 61))  # without the row cut short
    assert run.timings["seconds"].tolist() == [1.25] * 60
    assert run.reconstruction is not None
    outer, inner = run.reconstruction.levels
    assert outer.child == Box((0, 0, 0), (4, 4, 4))
    assert inner.child is None
    assert outer.masked.shape == (2, 2, 2)
    assert outer.voxel_mm == (3, 3, 3)
    assert run.segmentation is None


def test_a_finetuned_run_is_read_whole_worst_case_first(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    assert [one.evaluation.split for one in run.evaluations] == ["val", "test"]
    liver, spleen = run.evaluations[1].evaluation.structures
    assert (liver.dice, liver.missed, spleen.dice, spleen.cases) == (0.8, 1, None, 0)
    assert run.segmentation is not None
    assert [case.case for case in run.segmentation.cases] == ["bad", "good"]
    assert run.segmentation.cases[0].spacing == (1.0, 1.0, 2.0)
    assert np.isnan(run.metrics["validation_dice"]).sum() == 8


def test_only_the_configuration_is_needed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "pretrain"}')
    run = read_run(tmp_path)
    assert (run.metrics, run.timings, run.evaluations, run.reconstruction) == ({}, {}, (), None)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"not a run folder: has no config\.json; name a folder written by"
    ):
        read_run(tmp_path)
    with pytest.raises(CheckpointError, match="missing: not a run folder: there is no such folder"):
        read_run(tmp_path / "missing")


def test_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "dance"}')
    with pytest.raises(CheckpointError, match="kind is 'dance', must be one of pretrain, finetune, classify"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("provenance.json", "[1]"),
        ("metrics.csv", "step,loss\n1,much"),
        ("timings.csv", "step,seconds,waiting\n1,long,0"),
        ("validation.json", '{"structures": [{"dice": 1}]}'),
        ("evaluation_b.json", "{}"),
        ("pictures/reconstruction.safetensors", "nothing"),
        ("pictures/segmentation.safetensors", "nothing"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(pretrained: Path, file: str, content: str) -> None:
    (pretrained / file).write_text(content)
    with pytest.raises(CheckpointError, match=rf"{file}: cannot be read \(.*delete it to do without"):
        read_run(pretrained)


def test_looks_at_the_test_split_are_counted(finetuned: Callable[..., Path]) -> None:
    folder = finetuned("run")
    assert read_run(folder).looks == 0
    looks = [{"split": "test"}, {"split": "val"}, {"split": "test"}]
    (folder / "looks.json").write_text(json.dumps({"looks": looks}))
    run = read_run(folder)
    assert run.looks == 2
    assert ("looks at test", "2") in list(run_facts(run))


def test_pictures_of_the_test_split_come_before_those_of_the_validation(
    finetuned: Callable[..., Path],
) -> None:
    folder = finetuned("run")
    pictures = folder / "pictures"
    other = finetuned("other", shape=(10, 12)) / "pictures" / "segmentation.safetensors"
    shutil.copy(other, pictures / "segmentation-test.safetensors")
    shown = read_run(folder).segmentation
    assert shown is not None
    assert shown.cases[0].planes["axial"]["truth"].shape == (10, 12)


def test_what_runs_found_together_counts_before_what_each_found(finetuned: Callable[..., Path]) -> None:
    folder = finetuned("run", split="val")
    content = json.loads((folder / "evaluation.json").read_text()) | {"split": "test"}
    for name in ("evaluation-test-each.json", "evaluation-test.json"):
        (folder / name).write_text(json.dumps(content | {"labels": {"liver": name}}))
    counts = decisive(read_run(folder))
    assert counts is not None
    assert counts.labels == {"liver": "evaluation-test.json"}


def test_rows_of_every_case_are_read(finetuned: Callable[..., Path], side: Callable[..., Side]) -> None:
    folder = finetuned("run")
    content = side("run", {"liver": [0.5, 0.7]}).evaluation.to_json()
    (folder / "evaluation.json").write_text(json.dumps(content))
    (_, found) = read_run(folder).evaluations
    assert found.evaluation.dice == pytest.approx(0.6)
    assert [case.case for case in found.evaluation.cases] == ["case 0", "case 1"]
    content["cases"][0]["scores"][0]["outcome"] = "perhaps"
    (folder / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"evaluation.json: cannot be read \(ConfigError: .*outcome"):
        read_run(folder)
