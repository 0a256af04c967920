"""Weights of a hub: the real client against a small hub on this machine."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from mim3d.arguments import init_of
from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.downstream.backbone import load_encoder
from mim3d.downstream.hub import client, name_of, weights_folder
from mim3d.errors import CheckpointError

MakeRun = Callable[[PretrainConfig | FinetuneConfig], Path]
Publish = Callable[[str, Path], dict[str, bytes]]


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "team" / "mim").mkdir(parents=True)
    assert weights_folder("team/mim") == Path("team/mim")
    assert weights_folder("none such") == Path("none such")
    assert weights_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert name_of(Path("runs/mim")) == "mim"


def test_weights_of_a_repository_are_fetched_once(
    make_run: MakeRun, pretrained: PretrainConfig, publish: Publish
) -> None:
    run = make_run(pretrained)
    (run / "provenance.json").write_text("{}")
    (run / "pytorch_model.bin").write_bytes(b"a pickle")
    served = publish("team/mim-ct", run)
    encoder = load_encoder("team/mim-ct", modality="CT", channels=1)
    for name, tensor in load_encoder(run).state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor)
    folder = weights_folder("team/mim-ct")
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "preprocessing.json", "weights.safetensors"
    }  # fmt: skip
    assert name_of(folder) == f"team/mim-ct@{folder.name}"
    assert init_of("team/mim-ct") == folder
    assert served["team/mim-ct/weights.safetensors"] == (run / "weights.safetensors").read_bytes()
    assert served["fetched weights.safetensors"] == b"once"


def test_what_was_fetched_is_there_without_network(
    make_run: MakeRun, pretrained: PretrainConfig, publish: Publish, unreachable: Callable[[], None]
) -> None:
    publish("team/mim-ct", make_run(pretrained))
    fetched = weights_folder("team/mim-ct")
    unreachable()
    assert weights_folder("team/mim-ct") == fetched
    with pytest.raises(
        CheckpointError,
        match=r"^team/other: no folder here, the hub cannot be reached, and nothing of it is kept; mend",
    ):
        load_encoder("team/other")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("team/none", "team/none: neither a folder here nor a repository that can be seen; mend the name"),
        ("team/mim-ct@v9", "team/mim-ct@v9: the repository has no revision v9; name a branch, a tag or"),
        ("team/gated", "team/gated: the repository asks for consent first; give it on its page"),
        ("team/broken", "team/broken: no folder here, the hub cannot be reached"),
        ("team/mim..ct", "team/mim..ct: the hub refused: "),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(
    place: str, message: str, make_run: MakeRun, pretrained: PretrainConfig, publish: Publish
) -> None:
    publish("team/mim-ct", make_run(pretrained))
    with pytest.raises(CheckpointError) as caught:
        load_encoder(place)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_repository_without_preprocessing_is_refused(
    make_run: MakeRun, pretrained: PretrainConfig, publish: Publish
) -> None:
    run = make_run(pretrained)
    (run / "preprocessing.json").unlink()
    publish("team/mim-ct", run)
    with pytest.raises(
        CheckpointError,
        match=r"^team/mim-ct: the repository has no preprocessing\.json; it needs config\.json, ",
    ):
        load_encoder("team/mim-ct")


def test_errors_of_the_client_are_loaded_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(huggingface_hub, "errors", raising=False)
    monkeypatch.delitem(sys.modules, "huggingface_hub.errors", raising=False)
    assert issubclass(client("team/mim").errors.RepositoryNotFoundError, Exception)


def test_the_client_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"^team/mim: to reach a hub, .*pip install 'mim3d\[hub\]'$"):
        load_encoder("team/mim")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"modality": "MR"}, "weights learnt from modality CT, but MR is expected; prepare volumes like"),
        ({"channels": 4}, "weights learnt from channels 1, but 4 is expected"),
        ({"orientation": "LPS"}, "weights learnt from orientation RAS, but LPS is expected"),
        ({"unit": "none"}, "weights learnt from unit HU, but none is expected"),
    ],
)
def test_another_kind_of_scan_than_expected_is_refused(
    expected: dict[str, Any], message: str, make_run: MakeRun, pretrained: PretrainConfig
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_encoder(make_run(pretrained), **expected)


def test_another_window_or_spacing_is_warned_of(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = make_run(pretrained)
    load_encoder(run, window=(-1000, 1000), spacing=(1.5, 1.5, 1.5), orientation="RAS", unit="HU")
    with pytest.warns(UserWarning, match="window -1000 to 1000 HU, but 0 to 80 HU is expected"):
        load_encoder(run, window=(0, 80))
    said = json.loads((run / "preprocessing.json").read_text()) | {"spacing": None}
    (run / "preprocessing.json").write_text(json.dumps(said))
    with pytest.warns(UserWarning, match="spacing each scan's own, but 1 x 1 x 3 mm is expected"):
        load_encoder(run, spacing=(1, 1, 3))
