from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mim3d import cli
from mim3d.config import PretrainConfig
from mim3d.config_file import write_config
from mim3d.presets import pretrain_preset

Line = list[str | Path | int]


@pytest.fixture
def begun(tmp_path: Path, pretraining: PretrainConfig) -> Path:
    """A pre-training run that died before its first checkpoint."""
    run = tmp_path / "begun"
    run.mkdir()
    write_config(pretraining, run / "config.json")
    return run


def settings_of(*words: str | Path | int) -> Any:
    """The settings that a line comes to."""
    call = cli.parse([str(word) for word in words])
    assert isinstance(call, partial)
    return call.keywords["settings"]


def test_flags_win_over_a_preset() -> None:
    line: Line = ["pretrain", "STORE", "RUN", "--preset", "tiny", "--seed", 7, "--optimisation.lr", "0.5"]
    tiny = pretrain_preset("tiny")
    assert settings_of(*line) == replace(tiny, seed=7, optimisation=replace(tiny.optimisation, lr=0.5))
    assert settings_of("pretrain", "STORE", "RUN") == pretrain_preset("base")


def test_a_config_wins_over_the_default_preset_and_flags_over_a_config(
    config_file: Path, pretraining: PretrainConfig
) -> None:
    line: Line = ["pretrain", "STORE", "RUN", "--config", config_file]
    assert settings_of(*line) == pretraining
    assert settings_of(*line, "--seed", 9) == replace(pretraining, seed=9)


def test_a_config_of_fewer_levels_gives_flags_for_its_levels(
    config_file: Path, pretraining: PretrainConfig
) -> None:
    fewer = replace(pretraining, nesting=replace(pretraining.nesting, levels=pretraining.nesting.levels[2:]))
    write_config(fewer, config_file)
    line: Line = ["pretrain", "STORE", "RUN", "--config", config_file]
    changed = settings_of(*line, "--nesting.levels.0.masked-ratio", "0.75")
    assert changed.nesting.levels[0].masked_ratio == 0.75
    assert len(changed.nesting.levels) == 1


@pytest.mark.parametrize("flags_first", [False, True])
def test_a_resumed_run_brings_its_settings_wherever_it_is_named(
    begun: Path, pretraining: PretrainConfig, flags_first: bool
) -> None:
    flags: Line = ["--steps", 9, "--resume", "--nesting.extent", 48, 48, 48]
    places: Line = ["STORE", begun]
    words = [*flags, *places] if flags_first else [*places, *flags]
    expected = replace(pretraining, nesting=replace(pretraining.nesting, extent=(48, 48, 48)))
    assert settings_of("pretrain", *words) == expected


def test_weights_bring_their_sizes(begun: Path, pretraining: PretrainConfig) -> None:
    line: Line = ["finetune", "segmentation", "STORE", "RUN", "--init", begun, "--structures", "a,b"]
    settings = settings_of(*line)
    assert settings.architecture == pretraining.architecture
    assert (settings.crop, settings.patch) == (pretraining.nesting.crop, pretraining.nesting.patch)
    call = cli.parse([str(word) for word in line])
    assert isinstance(call, partial)
    assert call.keywords["init"] == str(begun)


def test_scratch_begins_with_a_preset(begun: Path) -> None:
    line: Line = ["finetune", "segmentation", "STORE", "RUN", "--init", "none", "--preset", "tiny"]
    assert settings_of(*line).architecture == pretrain_preset("tiny").architecture


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["prepare", "nowhere", "out"],
            "nowhere: no such file or folder; a folder of scans or a CSV is needed",
        ),
        (
            ["pretrain", "nowhere", "out"],
            "nowhere: no such folder, but a store is needed; make one with `mim3d ",
        ),
        (
            ["finetune", "segmentation", "nowhere", "out", "--init", "none"],
            "nowhere: no such folder, but a store",
        ),
        (["finetune", "segmentation", "s", "out", "--init", "nowhere"], "nowhere: no such folder; "),
        (
            ["predict", "nowhere", "scan.nii", "out.nii"],
            "nowhere: no such folder; name ",
        ),
        (["evaluate", "nowhere", "truth"], "nowhere: no such file or folder; a label map or a folder of "),
        (
            ["report", "nowhere"],
            "nowhere: not a run folder: there is no such folder; name a folder written by ",
        ),
        (
            ["pretrain", "s", "out", "--config", "nowhere.json"],
            "nowhere.json: no such file; a run folder holds ",
        ),
        (["pretrain", "s", "out", "--preset", "huge"], "unknown preset 'huge'; there are tiny, small, base"),
        (
            ["finetune", "segmentation", "s", "out", "--init", "none", "--preset", "huge"],
            "unknown preset 'huge'; there are tiny, small, base",
        ),
        (
            ["pretrain", "s", "out", "--preset", "tiny", "--nesting.crop", "60", "60", "60"],
            "crop (60, 60, 60) must be a positive multiple of (16, 16, 16); the nearest is (64, 64, 64)",
        ),
        (["pretrain", "s", "out", "--seed", "-1"], "seed must be 0 or more, and below 2^63, got -1"),
        (
            ["pretrain", "s", "out", "--preset", "tiny", "--nesting.levels.3.children", "2"],
            "Unrecognized options: --nesting.levels.3.children, 2; did you mean "
            "--nesting.levels.0.children?; for all that it takes, run mim3d pretrain --help; "
            "`--nesting.levels.0` is the outermost of as many levels as ",
        ),
        (
            ["pretrain", "s", "out", "--nesting.levels.0.children", "3", "--steps", "many"],
            "Error parsing --steps: ",
        ),
        (
            ["pretrain", "s", "out", "--colour", "red"],
            "Unrecognized options: --colour, red; for all that it takes, run mim3d pretrain --help",
        ),
        (
            ["prepare", "a", "b", "--sapcing", "3"],
            "Unrecognized options: --sapcing, 3; did you mean --spacing?; for all that it takes, ",
        ),
        (
            ["pretrain", "s", "out", "--step", "3"],
            "Unrecognized options: --step, 3; did you mean --steps?; for all that it takes, ",
        ),
        (
            ["finetune", "segmantation", "s", "out"],
            "no such command: segmantation; Available subcommands: segmentation, classification",
        ),
        (
            ["pretrain", "s", "out", "--steps", "many"],
            "Error parsing --steps: INT is needed, got 'many'; for all that it takes, run mim3d pretrain ",
        ),
        (
            ["phantom", "a", "--cases", "two"],
            "Error parsing --cases: a whole number is needed, got 'two'; for all that it takes, run mim3d ",
        ),
        (
            ["prepare", "a", "b", "--val-share", "x"],
            "Error parsing --val-share: a number is needed, got 'x'; ",
        ),
        (
            ["prepare", "a", "b", "--channel", "x"],
            "Error parsing --channel: INT|{all} is needed, got 'x'; for all that it takes, ",
        ),
        (
            ["phantom", "a", "--shape", "48", "48", "x"],
            "Error parsing --shape: int, int, int are needed, got '48', '48', 'x'; for all that it takes, ",
        ),
        (["prepare", "", "b"], "word 2 after `mim3d` is empty; is a variable not set? "),
        (["pretrain", "s"], "Missing from mim3d pretrain: RUN; for all"),
        (
            ["finetune", "segmentation", "s", "out"],
            "Missing from mim3d finetune segmentation: --init STR; for all",
        ),
        (["pretrain", "s", "out", "--preset"], "Missing value for argument '--preset'"),
        (["dance"], "unknown command 'dance'; there are "),
        (
            [],
            "Expected one of {samples, phantom, datasets, prepare, ",
        ),
    ],
)
def test_what_was_typed_wrong_is_told_in_one_line(
    words: list[str],
    message: str,
    failing: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert failing(*words).startswith(message)
    assert list(tmp_path.iterdir()) == []
