"""What the documentation shows works: its commands parse, its Python runs, its links lead somewhere."""

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import mim3d
from mim3d import cli
from mim3d.config_file import write_config
from mim3d.presets import pretrain_preset

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[str]:
    """Every line of all pages' shell blocks that calls a program."""
    lines = [
        line
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if shlex.split(line, comments=True)[:1] == [program]]


@pytest.mark.parametrize("line", commands("mim3d"))
def test_a_command_parses(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mim", "team/mim-ct"):  # a folder of the name comes before a hub
        (tmp_path / name).mkdir(parents=True)
        write_config(pretrain_preset("tiny"), tmp_path / name / "config.json")
    assert callable(cli.parse(shlex.split(line, comments=True)[1:]))


def test_every_command_is_in_the_readme() -> None:
    shown = (ROOT / "README.md").read_text()
    assert [name for name in cli.COMMANDS if f"mim3d {name} " not in shown] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in PAGES if page.parent.name == "docs" and f"({page.name})" not in index] == [
        "README.md"
    ]


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = [word for line in commands("make") for word in shlex.split(line, comments=True)[1:]]
    assert {"demo", "test"} <= set(asked)
    assert set(asked) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_names_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), node.module
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "mim3d"
            ):
                assert node.attr in mim3d.__all__


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other on a busy machine take twice as long as one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown: dict[str, Any] = {}
    for page in PAGES:  # the README first: others read what it makes
        for block in blocks(page, "python"):
            exec(compile(block, page.name, "exec"), shown)
    assert list(shown["volume"].shape) == [1, 1, 64, 64, 64]
    assert (
        "[(1, 12, 32, 32, 32), (1, 24, 16, 16, 16), (1, 48, 8, 8, 8), (1, 96, 4, 4, 4)]"
        in capsys.readouterr().out
    )
    assert (tmp_path / "try" / "predicted.nii.gz").exists()
    assert shown["crop"].shape == (1, 16, 16, 16)
    assert shown["mae"].nesting.num_crops(0) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
