"""Encoders and segmenters for other programs."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

import mim3d
from mim3d import cli
from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.config.classify import Pooling
from mim3d.config_file import read_config
from mim3d.downstream.classifier import load_classifier
from mim3d.downstream.segmenter import load_segmenter
from mim3d.elsewhere import onnx_file
from mim3d.errors import CheckpointError, ConfigError
from mim3d.model.mim import Mim
from mim3d.recipes.finetune_classification import finetune_classification
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.pretrain import pretrain
from mim3d.train.checkpoint import load_weights, read_tensors
from mim3d.train.run_folder import read_metrics


@pytest.fixture(scope="module")
def pretrained(
    store_path: Path, pretraining: PretrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return pretrain(store_path, tmp_path_factory.mktemp("encoder") / "mim", config=pretraining, steps=2)


@pytest.fixture(scope="module")
def finetuned(store_path: Path, finetuning: FinetuneConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    one = replace(finetuning, validate_every=1)
    run = tmp_path_factory.mktemp("segmenter") / "organs"
    return finetune_segmentation(store_path, run, init=None, config=one, steps=1)


def test_the_encoder_alone_loads_as_its_run_does(pretrained: Path, tmp_path: Path) -> None:
    out = mim3d.export(pretrained, tmp_path / "shared", to="safetensors")
    assert {path.name for path in out.iterdir()} == {
        "README.md", "config.json", "preprocessing.json", "weights.safetensors"
    }  # fmt: skip
    assert all(name.startswith("encoder.") for name in read_tensors(out / "weights.safetensors"))
    ours, theirs = (mim3d.load_encoder(folder).state_dict() for folder in (out, pretrained))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert (out / "preprocessing.json").read_text() == (pretrained / "preprocessing.json").read_text()


def test_the_card_says_what_it_learnt_from_and_names_nobody(pretrained: Path, tmp_path: Path) -> None:
    said = (mim3d.export(pretrained, tmp_path / "shared", to="safetensors") / "README.md").read_text()
    for line in (
        "- cases, by split: 3 train, 1 val, 1 test; learnt from train alone",
        "- modality: CT",
        "- spacing: 10, 10, 10 mm (X, Y, Z)",
        "- intensities: from -1000 to 1000 HU, to 0 and 1",
        "- steps: 2, 2 samples each",
        'encoder = mim3d.load_encoder("shared")',
        "TO BE FILLED IN: of the weights",
    ):
        assert line in said
    assert "mean of the last 2 steps" in said
    assert "Not for clinical" in said
    assert "left out" in said
    assert not any(name in said for name in (str(pretrained), "phantom", "store", "mim3d pretrain"))


def test_finetuning_begins_with_an_exported_encoder(
    pretrained: Path,
    store_path: Path,
    finetuning: FinetuneConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = mim3d.export(pretrained, tmp_path / "shared", to="safetensors")
    run = finetune_segmentation(store_path, tmp_path / "run", init=str(out), config=finetuning, steps=1)
    assert "tensors loaded, 0 missing, 0 unexpected" in capsys.readouterr().err
    assert json.loads((run / "provenance.json").read_text())["init"] == "shared"


def test_the_decoder_comes_along_if_asked_for(
    pretrained: Path, pretraining: PretrainConfig, tmp_path: Path
) -> None:
    out = mim3d.export(pretrained, tmp_path / "whole", to="safetensors", with_decoder=True)
    assert "may remember training patients: share" in (out / "README.md").read_text()
    model = Mim(pretraining.nesting, pretraining.architecture, pretraining.alignment)
    load_weights(model, out / "weights.safetensors")


def test_a_finetuned_encoder_and_network(finetuned: Path, tmp_path: Path) -> None:
    out = mim3d.export(finetuned, tmp_path / "shared", to="safetensors")
    assert "fine-tuned to segment liver, lungs" in (out / "README.md").read_text()
    assert "validation dice" in (out / "README.md").read_text()
    assert mim3d.load_encoder(out).dim == 12
    whole = mim3d.export(finetuned, tmp_path / "whole", to="safetensors", with_decoder=True)
    assert load_segmenter(whole)[1].structures == ("liver", "lungs")


def test_maps_in_onnx(pretrained: Path, tmp_path: Path) -> None:
    mim3d.export(pretrained, tmp_path / "encoder.onnx", to="onnx", crop=(8, 12, 4))
    volume = torch.rand(2, 1, 8, 12, 4)
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [
        f"features_{stage}" for stage in (1, 2, 3, 4)
    ]
    with torch.no_grad():
        expected = mim3d.load_encoder(pretrained).features(volume)
    for ours, theirs in zip(session.run(None, {"volume": volume.numpy()}), expected, strict=True):
        assert torch.allclose(torch.from_numpy(ours), theirs, atol=1e-4)


def test_logits_in_onnx(finetuned: Path, tmp_path: Path) -> None:
    mim3d.export(finetuned, tmp_path / "organs.onnx", to="onnx")
    said = {one.key: one.value for one in onnx.load(tmp_path / "organs.onnx").metadata_props}
    assert json.loads(said["outputs"]) == ["background", "liver", "lungs"]
    assert json.loads(said["preprocessing"])["modality"] == "CT"
    assert "Not for clinical use" in said["notice"]
    assert onnx.load(tmp_path / "organs.onnx").opset_import[0].version == 20
    crops = torch.rand(5, 1, 16, 16, 16)
    session = onnxruntime.InferenceSession(tmp_path / "organs.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"volume": crops.numpy()})
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(logits), load_segmenter(finetuned)[0](crops), atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_logits_of_a_classifier_in_onnx(
    classified_path: Path, classifying: ClassifyConfig, tmp_path: Path, pooling: Pooling
) -> None:
    config = replace(classifying, pooling=pooling)
    run = finetune_classification(classified_path, tmp_path / "run", init=None, config=config, steps=1)
    mim3d.export(run, tmp_path / "kind.onnx", to="onnx")
    said = {one.key: one.value for one in onnx.load(tmp_path / "kind.onnx").metadata_props}
    assert json.loads(said["outputs"]) == ["even", "odd"]
    assert json.loads(said["extent"]) == classifying.extent
    volumes = torch.rand(3, 1, *classifying.crop)
    session = onnxruntime.InferenceSession(tmp_path / "kind.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"volume": volumes.numpy()})
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(logits), load_classifier(run)[0](volumes), atol=1e-4)
    mim3d.export(run, tmp_path / "maps.onnx", to="onnx", features=True)
    maps = onnxruntime.InferenceSession(tmp_path / "maps.onnx", providers=["CPUExecutionProvider"])
    assert [one.name for one in maps.get_outputs()] == [f"features_{stage}" for stage in (1, 2, 3, 4)]
    assert tuple(maps.get_inputs()[0].shape[2:]) == classifying.crop


def test_onnx_that_differs_is_not_left_behind(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "_exported", lambda *_: FakeProgram())
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: float("nan"))
    with pytest.raises(
        CheckpointError, match=r"encoder\.onnx: not written, as onnxruntime differs by nan of the"
    ):
        mim3d.export(pretrained, tmp_path / "encoder.onnx", to="onnx")
    assert list(tmp_path.iterdir()) == []


class FakeProgram:
    class model:  # noqa: N801  as the real one
        metadata_props: dict[str, str] = {}  # noqa: RUF012

    def save(self, path: Path, external_data: bool) -> None:
        path.write_bytes(b"")


def test_onnx_is_optional(pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CheckpointError, match=r"not installed: pip install 'mim3d\[onnx\]'$"):
        mim3d.export(pretrained, tmp_path / "encoder.onnx", to="onnx")


def test_what_cannot_be_exported_is_refused(
    pretrained: Path, tmp_path: Path, failing: Callable[..., str]
) -> None:
    assert failing("export", pretrained, tmp_path / "out", "--to", "safetensors", "--features") == (
        "--features is of `--to onnx`, got `--to safetensors`; leave it out"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="full: is there already; name a new folder"):
        mim3d.export(pretrained, tmp_path / "full", to="safetensors")
    with pytest.raises(CheckpointError, match="none: no such folder"):
        mim3d.export(tmp_path / "none", tmp_path / "out", to="safetensors")
    assert not (tmp_path / "out").exists()


def test_pretraining_goes_on_from_what_was_exported(
    pretrained: Path, store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = mim3d.export(pretrained, tmp_path / "whole", to="safetensors", with_decoder=True)
    alone = mim3d.export(pretrained, tmp_path / "alone", to="safetensors")
    first = read_metrics(pretrained / "metrics.csv")[0]
    cases = ((whole, r"other tensors: (\d+) of \1 loaded"), (alone, "other tensors: new, as none are"))
    for folder, said in cases:
        run = pretrain(store_path, tmp_path / f"on from {folder.name}", init=folder, steps=1)
        assert re.search(said, capsys.readouterr().err)
        assert json.loads((run / "provenance.json").read_text())["init"] == folder.name
        assert read_metrics(run / "metrics.csv")[0]["loss"] != first["loss"]
    words = ["pretrain", store_path, tmp_path / "run", "--init", alone, "--steps", 1]
    assert cli.main(list(map(str, words))) == 0
    other = read_config(pretrained / "config.json", PretrainConfig)
    wider = replace(other, architecture=replace(other.architecture, dims=(6, 6, 12, 24)))
    with pytest.raises(CheckpointError, match=r"weights do not fit the settings: .*; name no preset$"):
        pretrain(store_path, tmp_path / "wider", init=whole, config=wider)
    assert not (tmp_path / "wider").exists()
