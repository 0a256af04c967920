import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mim3d
from mim3d import cli
from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.config_file import write_config
from mim3d.errors import DataError, Interruption
from mim3d.train.run_folder import read_metrics

Line = list[str | Path | int]


def interface(function: Callable[..., Any], *, without: set[str]) -> list[tuple[str, str, object]]:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind.name, p.default) for p in parameters if p.name not in without]


NO_COMMANDS = {"__version__", "import_released", "load_encoder"}
"""Public names for Python alone."""
IN_SETTINGS = {"settings", "preset", "config", "seed", "labels", "structures", "target", "classes"}
"""On the command line these are fields of the settings, or laid under them."""


@pytest.mark.parametrize(
    "name",
    sorted(set(mim3d.__all__) - NO_COMMANDS),
)
def test_flags_and_defaults_are_those_of_the_function(name: str) -> None:
    leave_out = IN_SETTINGS if name.startswith(("pretrain", "finetune", "crossval")) else set()
    command, function = getattr(cli, name), getattr(mim3d, name)
    assert interface(command, without=leave_out) == interface(function, without=leave_out)
    assert {p for p, *_ in interface(function, without=set())} <= {
        p for p, *_ in interface(command, without=set())
    } | {field.name for kind in (PretrainConfig, FinetuneConfig, ClassifyConfig) for field in fields(kind)}


def test_every_command_has_a_function() -> None:
    functions = {name.replace(" ", "_").replace("-", "_") for name in cli.COMMANDS}
    assert functions == set(mim3d.__all__) - NO_COMMANDS


def test_the_version_is_told_and_the_package_is_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mim3d {mim3d.__version__}\n"
    line = [sys.executable, "-m", "mim3d", "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == f"mim3d {mim3d.__version__}\n"


@pytest.mark.parametrize("command", ["pretrain", "finetune segmentation", "prepare"])
def test_help_names_every_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    flags = (
        {"--val-share"} if command == "prepare" else {"--preset", "--seed", "--steps", "--resume", "--config"}
    )
    assert all(flag in shown for flag in flags)


def test_the_command_does_what_the_function_does(
    store_path: Path, config_file: Path, pretraining: PretrainConfig, tmp_path: Path
) -> None:
    line = ["pretrain", store_path, tmp_path / "a", "--config", config_file, "--steps", 2, "--seed", 4]
    assert cli.main([str(word) for word in line]) == 0
    mim3d.pretrain(store_path, tmp_path / "b", config=pretraining, steps=2, seed=4)
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() == (
        tmp_path / "b" / "weights.safetensors"
    ).read_bytes()
    assert cli.main(["pretrain", str(store_path), str(tmp_path / "a"), "--resume"]) == 0


def test_structures_may_be_joined_by_commas(
    store_path: Path, finetuning: FinetuneConfig, tmp_path: Path
) -> None:
    write_config(finetuning, tmp_path / "f.json")
    run = tmp_path / "run"
    line = ["finetune", "segmentation", store_path, run, "--init", "none", "--config", tmp_path / "f.json"]
    flags = ["--structures", "spine,liver,bowel", "--steps", 1]
    assert cli.main([str(word) for word in (*line, *flags)]) == 0
    assert json.loads((run / "config.json").read_text())["structures"] == ["spine", "liver", "bowel"]
    assert read_metrics(run / "metrics.csv")[0]["validation_dice"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "raw: an empty folder; what can be read is NIfTI (.nii, .nii.gz, "),
        ({"notes.txt": b"x"}, "raw: none of its 1 files is a scan; what can be read is "),
        (
            {"a.nii.gz": b"x"},
            "none of its 1 scans could be used; the first: the scan: its name ends in .gz, but ",
        ),
    ],
)
def test_a_folder_without_a_scan_is_told_in_one_line(
    files: dict[str, bytes], message: str, failing: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    for name, content in files.items():
        (tmp_path / "raw" / name).write_bytes(content)
    assert message in failing("prepare", tmp_path / "raw", tmp_path / "store", "--workers", 1)


def listing(store_path: Path, folder: Path, row: str) -> Path:
    """A CSV of one phantom, the first, with its image and labels beside it."""
    for kind, name in (("imagesTr", "phantom_0000_0000.nii.gz"), ("labelsTr", "phantom_0000.nii.gz")):
        shutil.copy(store_path.parent / "raw" / kind / name, folder / f"{kind}.nii.gz")
    structures = json.loads((store_path / "store.json").read_text())["label_sets"]
    (folder / "label_sets.json").write_text(json.dumps(structures))
    file = folder / "cases.csv"
    file.write_text(f"case,image,label,split\n{row}\n")
    return file


def test_an_image_and_labels_on_different_grids_are_told_in_one_line(
    store_path: Path, failing: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = listing(store_path, tmp_path, "a,imagesTr.nii.gz,other.nii.gz,train")
    other = partial(mim3d.phantom, cases=1, shape=(32, 32, 32), spacing=8.0, workers=1)
    other(tmp_path / "other")
    capsys.readouterr()
    shutil.copy(tmp_path / "other" / "labelsTr" / "phantom_0000.nii.gz", tmp_path / "other.nii.gz")
    line = failing("prepare", file, tmp_path / "store", "--workers", 1)
    assert "none of its 1 scans could be used; the first: " in line
    assert "(40, 36, 32)" in line
    assert "(32, 32, 32)" in line
    line = failing("evaluate", tmp_path / "labelsTr.nii.gz", tmp_path / "other.nii.gz")
    assert line.startswith(
        "labelsTr.nii.gz has (40, 36, 32) voxels, other.nii.gz (32, 32, 32); both must lie on"
    )


def test_nothing_left_to_train_on_is_told_in_one_line(
    store_path: Path,
    config_file: Path,
    failing: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = listing(store_path, tmp_path, "a,imagesTr.nii.gz,labelsTr.nii.gz,test")
    store = tmp_path / "store"
    mim3d.prepare(file, store, spacing=(16.0,), workers=1)
    capsys.readouterr()
    capsys.readouterr()
    line = failing("pretrain", store, tmp_path / "run", "--config", config_file)
    assert "store: nothing left to train on: no case of the split `train`; prepare more scans" in line
    flags = ["--preset", "tiny", "--labels", "labels", "--structures", "liver"]
    line = failing("finetune", "segmentation", store, tmp_path / "run", "--init", "none", *flags)
    assert "store: no case of the split `train` or `val` has liver annotated; prepare more labelled" in line
    assert not (tmp_path / "run").exists()


def test_a_store_of_another_version_is_told_in_one_line(
    store_path: Path, config_file: Path, failing: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    description = json.loads((store_path / "store.json").read_text())
    (tmp_path / "store" / "store.json").write_text(json.dumps({**description, "version": 99}))
    line = failing("pretrain", tmp_path / "store", tmp_path / "run", "--config", config_file)
    assert "store: a store of version 99, but this mim3d reads version 1; prepare it again into" in line


def test_a_checkpoint_of_another_architecture_is_told_in_one_line(
    store_path: Path,
    pretraining: PretrainConfig,
    failing: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = mim3d.pretrain(store_path, tmp_path / "mim", config=pretraining, steps=1)
    capsys.readouterr()
    other: Line = ["--architecture.dims", 12, 24, 48, 96, "--architecture.num-heads", 3]
    flags: Line = ["--init", run, "--labels", "labels", "--structures", "liver", *other]
    line = failing("finetune", "segmentation", store_path, tmp_path / "run", *flags)
    assert "mim: weights are of another architecture: " in line
    line = failing("pretrain", store_path, run, "--resume", *other, "--steps", 2)
    assert "mim: begun with architecture.dims " in line
    smaller = replace(pretraining, architecture=replace(pretraining.architecture, decoder_depth=2))
    write_config(replace(smaller, optimisation=replace(smaller.optimisation, steps=2)), run / "config.json")
    line = failing("pretrain", store_path, run, "--resume")
    assert "step-1/model.safetensors: of another architecture: " in line
    assert not (tmp_path / "run").exists()


def test_every_error_of_the_user_ends_with_status_2(
    failing: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(arguments: object) -> None:
        raise DataError("the scan: broken; copy it again")

    monkeypatch.setattr(cli, "parse", refuse)
    assert failing("report") == "the scan: broken; copy it again"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Interruption("run: saved at step 3"), "mim3d: run: saved at step 3\n"),
        (KeyboardInterrupt(), "mim3d: interrupted; what was finished is kept\n"),
    ],
)
def test_who_interrupts_gets_status_130(
    error: BaseException, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(arguments: object) -> None:
        raise error

    monkeypatch.setattr(cli, "parse", interrupt)
    assert cli.main(["report"]) == 130
    assert capsys.readouterr().err == said


def test_what_the_system_refuses_is_told_in_one_line(
    failing: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "parse", lambda arguments: partial((tmp_path / "a" / "b").mkdir))
    assert failing("report").startswith(f"{tmp_path}/a/b: No such file or directory; make room, mend the ")
    monkeypatch.setattr(cli, "parse", lambda arguments: partial(raise_full))
    assert failing("report").startswith("disk full; make room, mend the permissions, or name another place")


def raise_full() -> None:
    raise OSError("disk full")


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr(cli, "parse", fail)
    with pytest.raises(AssertionError, match="ours"):
        cli.main(["report"])
