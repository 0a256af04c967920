import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mim3d.errors import CheckpointError
from mim3d.model.released_file import read_released

TENSORS = {"norm.weight": torch.arange(3.0), "norm.bias": torch.ones(3)}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.path),)


def checkpoint(**more: Any) -> dict[str, Any]:
    """What the release writes beside the tensors."""
    return {
        "model": TENSORS,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"betas": (0.9, 0.95)}]},
        "epoch": 7,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(lr=1e-4, output_dir="out", distributed=False),
        **more,
    }


def assert_read(path: Path) -> None:
    read = read_released(path)
    assert read.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        checkpoint(),
        checkpoint(model={f"module.{name}": tensor for name, tensor in TENSORS.items()}),
        {"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}, "epoch": 3},
        TENSORS,
        {**TENSORS, "epoch": 3, "model": "hybrid"},
    ],
    ids=["released", "parallel", "monai", "bare", "bare with more"],
)
def test_a_checkpoint_is_read(content: dict[str, Any], zipped: bool, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "released.pth", _use_new_zipfile_serialization=zipped)
    assert_read(tmp_path / "released.pth")
    assert read_released(tmp_path / "released.pth").heads == {}
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("prefix", ["", "model.", "model.module."])
def test_safetensors_are_read(prefix: str, tmp_path: Path) -> None:
    more = {"latent": torch.zeros(2)} if prefix else {}
    named = {prefix + name: tensor for name, tensor in TENSORS.items()}
    config = json.dumps({"num_heads": 12, "decoder_heads": "16", "depths": [2]})
    save_file(named | more, tmp_path / "released.safetensors", {"config": config})
    assert_read(tmp_path / "released.safetensors")
    assert read_released(tmp_path / "released.safetensors").heads == {"num_heads": 12}


@pytest.mark.parametrize("metadata", [None, {"config": "{"}, {"config": "[3]"}])
def test_safetensors_that_tell_no_heads(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "released.safetensors", metadata)
    assert read_released(tmp_path / "released.safetensors").heads == {}


@pytest.mark.parametrize("place", ["model", "args", "alone", "attribute"])
def test_code_in_a_file_is_not_run(place: str, tmp_path: Path) -> None:
    file, trap = tmp_path / "released.pth", Trap(tmp_path / "made")
    in_attribute = checkpoint(args=argparse.Namespace(lr=trap))
    torch.save({"alone": trap, "attribute": in_attribute}.get(place, checkpoint(**{place: trap})), file)
    with pytest.raises(CheckpointError) as refused:
        read_released(file)
    assert str(refused.value) == (
        f"{file}: holds os.makedirs, which could run code when read, so nothing was read; save its state "
        "dictionary alone where you trust it"
    )
    assert not trap.path.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_plain_pickle_is_not_run(protocol: int, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "made")
    (tmp_path / "released.pth").write_bytes(pickle.dumps({"model": trap}, protocol))
    with pytest.raises(
        CheckpointError, match=r"^\S+: (holds os.makedirs, which|damaged, or no checkpoint) [^\n]*$"
    ):
        read_released(tmp_path / "released.pth")
    assert not trap.path.exists()
    pickle.loads((tmp_path / "released.pth").read_bytes())  # the trap is one
    assert trap.path.exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "a.pth", tmp_path / "a.safetensors"):
        with pytest.raises(CheckpointError, match=r": no such file; name a checkpoint$"):
            read_released(path)


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 600, -1, -30])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_short_is_told_in_one_line(kept: int, zipped: bool, tmp_path: Path) -> None:
    file = tmp_path / "released.pth"
    torch.save(checkpoint(), file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        CheckpointError, match=r": damaged, or no checkpoint written by torch.save; copy it"
    ) as told:
        read_released(file)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x80\x02}q\x00.", bytes(range(256)), b"PK\x03\x04" + bytes(90)]
)
def test_other_files_are_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    for name, message in (
        ("a.pth", r"damaged|no tensors by name"),
        ("a.safetensors", r": damaged \(.*\); copy it"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as told:
            read_released(tmp_path / name)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "content", [{}, {"model": {}}, {"epoch": 3}, [torch.ones(2)], torch.ones(2), {1: torch.ones(2)}]
)
def test_a_file_without_named_tensors_is_told(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a.pt: holds no tensors by name; name a checkpoint$"):
        read_released(tmp_path / "a.pt")


def test_what_the_system_refuses_stays_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    torch.save(TENSORS, tmp_path / "a.pt")
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(PermissionError, match="not yours"):
        read_released(tmp_path / "a.pt")


def test_a_folder_is_refused_by_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r": is a folder; name the checkpoint in it$"):
        read_released(tmp_path)
    (tmp_path / "config.json").touch()
    with pytest.raises(CheckpointError, match=r": is a run folder of mim3d already; use it as it is"):
        read_released(tmp_path)
