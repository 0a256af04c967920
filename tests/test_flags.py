"""Numbers joined by commas, and a help that explains the settings of a level once."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mim3d import cli
from mim3d.cli import COMMANDS
from mim3d.flags import apart


def keywords(*words: str) -> dict[str, Any]:
    """What a line comes to."""
    call = cli.parse(words)
    assert isinstance(call, partial)
    return call.keywords


@pytest.mark.parametrize("words", [["1.5", "1.5", "2"], ["1.5,1.5,2"]])
def test_a_spacing_is_three_words_or_one(words: list[str]) -> None:
    assert keywords("prepare", "raw", "store", "--spacing", *words)["spacing"] == (1.5, 1.5, 2.0)
    joined = "--spacing=" + ",".join(words)
    assert keywords("prepare", joined, "--workers", "1", "raw", "store")["spacing"] == (1.5, 1.5, 2.0)


@pytest.mark.parametrize(("given", "expected"), [("3", (3.0,)), ("native", "native")])
def test_other_spacings_stay(given: str, expected: object) -> None:
    assert keywords("prepare", "raw", "store", "--spacing", given)["spacing"] == expected


def test_sizes_at_any_depth_may_be_joined() -> None:
    line = ["pretrain", "STORE", "RUN", "--preset", "tiny", "--nesting.levels.0.cell", "2,2,1"]
    line += [
        "--nesting.extent=128,128,64",
        "--architecture.depths",
        "1,2,1,3",
        "--optimisation.betas",
        "0.8,0.9",
    ]
    settings = keywords(*line)["settings"]
    assert settings.nesting.levels[0].cell == (2, 2, 1)
    assert settings.nesting.extent == (128, 128, 64)
    assert settings.architecture.depths == (1, 2, 1, 3)
    assert settings.optimisation.betas == (0.8, 0.9)


@pytest.mark.parametrize(
    "line",
    [
        ["pretrain", "s", "run", "--steps", "1,000"],
        ["pretrain", "s", "1,2", "--resume", "3,4"],
        ["phantom", "out", "--spacing", "1,1,2"],
        ["finetune", "segmentation", "s", "run", "--init", "none", "--structures", "1,2"],
        ["report", "run", "--note=1,2,3"],
        ["report", "run", "--note=a=--b", "--out", ""],
        ["dance", "--spacing", "1,2"],
        ["1,2"],
        [],
    ],
)
def test_other_words_stay_as_they_are(line: list[str]) -> None:
    assert apart(line, COMMANDS) == line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["phantom", "out", "--shape", "96,96,64"], ["phantom", "out", "--shape", "96", "96", "64"]),
        (["prepare", "--spacing=1,-2.,3"], ["prepare", "--spacing", "1", "-2.", "3"]),
        (
            ["finetune", "segmentation", "s", "r", "--crop", "64,64,32"],
            ["finetune", "segmentation", "s", "r", "--crop", "64", "64", "32"],
        ),
    ],
)
def test_joined_numbers_become_words(line: list[str], words: list[str]) -> None:
    assert apart(line, COMMANDS) == words


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.replace("\u2502", " ").split())


def test_help_explains_the_settings_of_a_level_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "pretrain", "--help")
    assert text.count(".masked-ratio ") == text.count(".target.kind ") == 1
    assert "The outermost level; the same flags exist of `--nesting.levels.1`, `--nesting.levels.2`." in text
    assert text.count("--optimisation.lr ") == 1


def test_help_of_one_level_names_no_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"kind": "pretrain", "nesting": {"levels": [{"children": 0}]}}')
    text = said(capsys, "pretrain", "--config", file, "--help")
    assert "--nesting.levels.0.masked-ratio " in text
    assert "the same flags" not in text


def test_the_settings_that_help_does_not_repeat_can_be_set() -> None:
    line = ["pretrain", "STORE", "RUN", "--preset", "tiny", "--nesting.levels.1.target.kind", "raw"]
    levels = keywords(*line, "--nesting.levels.2.target.low-pass", "4")["settings"].nesting.levels
    assert [level.target.kind for level in levels] == ["normalised", "raw", "normalised"]
    assert [level.target.low_pass for level in levels] == [1, 1, 4]
