"""Encoders into a hub on this machine, and back."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import mim3d
from mim3d import cli
from mim3d.config import PretrainConfig
from mim3d.errors import CheckpointError
from mim3d.recipes.pretrain import pretrain
from tests.hub import Served


@pytest.fixture(scope="module")
def run(store_path: Path, pretraining: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(store_path, tmp_path_factory.mktemp("encoder") / "mim", config=pretraining, steps=1)


def test_what_was_pushed_loads(run: Path, hub: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["push", str(run), "team/mim-ct"]) == 0
    assert capsys.readouterr().out.strip().startswith("https://huggingface.co/team/mim-ct/commit/")
    assert hub["visibility team/mim-ct"] == b"private"
    assert {name.removeprefix("team/mim-ct/") for name in hub if name.startswith("team/mim-ct/")} == {
        "README.md", "config.json", "preprocessing.json", "weights.safetensors"
    }  # fmt: skip
    assert b'load_encoder("team/mim-ct")' in hub["team/mim-ct/README.md"]
    theirs = mim3d.load_encoder(run).state_dict()
    for name, tensor in mim3d.load_encoder("team/mim-ct").state_dict().items():
        assert torch.equal(tensor, theirs[name])


def test_a_public_repository_is_asked_for(run: Path, hub: Served) -> None:
    mim3d.push(run, "team/open", public=True)
    assert hub["visibility team/open"] == b"public"


def test_what_would_be_pushed_can_be_looked_at(run: Path, tmp_path: Path) -> None:
    assert mim3d.push(run, "team/mim-ct", to_folder=tmp_path / "seen") == str(tmp_path / "seen")
    assert 'load_encoder("team/mim-ct")' in (tmp_path / "seen" / "README.md").read_text()
    assert mim3d.load_encoder(tmp_path / "seen").dim == 12


def test_what_cannot_be_pushed_is_told_in_one_line(
    run: Path,
    tmp_path: Path,
    failing: Callable[..., str],
    unreachable: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert failing("push", run, "mim") == "repository must be `org/name`, got 'mim'"
    assert failing("push", tmp_path / "none", "team/mim").startswith(f"{tmp_path / 'none'}: no such folder")
    unreachable()
    assert failing("push", run, "team/mim").startswith("team/mim: not pushed (")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install 'mim3d\[hub\]'"):
        mim3d.push(run, "team/mim")
