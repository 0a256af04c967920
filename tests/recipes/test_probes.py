"""Probes: one command, any encoder, a table, and a JSON with every case."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.data.store import open_store
from mim3d.downstream.backbone import load_encoder
from mim3d.downstream.frozen import load_frozen
from mim3d.downstream.swin_unetr import SwinUnetr
from mim3d.errors import CheckpointError, ConfigError, DataError, GeometryError, StoreError
from mim3d.inference.decide import decide
from mim3d.inference.probes import Amount, learn_probe, whole_features
from mim3d.metrics.overlap import dice
from mim3d.recipes.export import export
from mim3d.recipes.finetune_segmentation import finetune_segmentation
from mim3d.recipes.pretrain import pretrain
from mim3d.recipes.probe_classification import probe_classification
from mim3d.recipes.probe_segmentation import probe_segmentation
from mim3d.run_files import WEIGHTS
from mim3d.sampling.classified import classified_cases, with_classes
from mim3d.sampling.crops import select_cases
from mim3d.sampling.labelled import read_labelled
from mim3d.train.run_folder import read_json, write_json


@pytest.fixture(scope="module")
def mim(store_path: Path, pretraining: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-trained for six steps, with the checkpoints of steps 4 and 6."""
    return pretrain(store_path, tmp_path_factory.mktemp("encoder") / "mim", config=pretraining)


def test_a_table_of_encoders_by_step(
    store_path: Path, mim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "probe.json"
    found = probe_segmentation(
        store_path,
        mim,
        out,
        "none",
        structures="liver,lungs",
        crops=4,
        voxels=500,
        overlap=0.0,
        every_checkpoint=True,
    )
    written = json.loads(out.read_text())
    assert written["encoders"] == json.loads(json.dumps(found["encoders"]))
    assert [(row["encoder"], row["step"]) for row in written["encoders"]] == [
        ("mim", 4),
        ("mim", 6),
        ("random weights", 0),
    ]
    for row in written["encoders"]:
        assert [case["case"] for case in row["cases"]] == ["phantom_0000"]
        assert [one["name"] for one in row["structures"]] == ["liver", "lungs"]
    assert written["task"] == "probe segmentation"
    shown = capsys.readouterr()
    assert [line.split("│")[1].strip() for line in shown.out.splitlines() if line.startswith("│")] == [
        "mim",
        "mim",
        "random weights",
    ]
    assert f"{out}: 3 encoders\n" in shown.err


def test_the_same_again_is_the_same(store_path: Path, mim: Path, tmp_path: Path) -> None:
    first, second = (
        probe_segmentation(
            store_path, mim, tmp_path / name, structures="lungs", crops=2, voxels=200, overlap=0.0
        )
        for name in ("p.json", "again.json")
    )
    for row in (*first["encoders"], *second["encoders"]):
        row.pop("seconds")
    assert first == second


@pytest.mark.parametrize("structures", [("liver", "lungs"), ("both=liver+lungs", "lungs")])
def test_a_probe_finds_what_it_was_shown(
    store_path: Path, mim: Path, finetuning: FinetuneConfig, structures: tuple[str, ...]
) -> None:
    """Lungs are dark: a linear layer finds them in a crop that it learnt from."""
    store, config = open_store(store_path), replace(finetuning, structures=structures)
    cases, told = select_cases(store, "train"), list[tuple[int, int]]()
    probe = learn_probe(
        load_encoder(mim), store, cases, config, Amount(3, 2000), on_crop=lambda *done: told.append(done)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    sample = read_labelled(store, cases, config, 0)
    with torch.no_grad():
        (logits,) = probe(torch.from_numpy(sample.crop)[None])
    assert logits.shape == (config.num_outputs, *config.crop)
    found, true = decide(logits, config.overlapping) == 2, sample.labels == 2
    assert true.any()
    assert dice(found, true) > 0.6


def test_classes_by_frozen_features(
    classified_path: Path, mim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "probe.json"
    probe_classification(classified_path, "none", out, mim, target="kind", crop=(16, 16, 8))
    written = json.loads(out.read_text())
    assert (written["task"], written["training_cases"]) == ("probe classification", 3)
    assert [(row["encoder"], row["step"]) for row in written["encoders"]] == [
        ("random weights", 0),
        ("mim", 6),
    ]
    for row in written["encoders"]:
        for kind, setting in (("logistic", "l2"), ("knn", "neighbours")):
            assert row[kind][setting] > 0
            assert row[kind]["target"] == "kind"
            (case,) = row[kind]["cases"]
            assert sum(case["probabilities"].values()) == pytest.approx(1.0)
    assert "3 cases to learn from, 1 scored" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def swin_file(tmp_path: Path) -> Path:
    """Weights in the layout of MONAI's published encoder of SwinUNETR."""
    encoder = SwinUnetr(1, 2, 12, 0.0).encoder.state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in encoder.items()}, tmp_path / "swin.pt")
    return tmp_path / "swin.pt"


def test_networks_to_compare_with_are_probed_too(
    classified_path: Path, finetuning: FinetuneConfig, swin_file: Path, tmp_path: Path
) -> None:
    config = replace(finetuning, network="resenc_unet", resenc_blocks=(1, 1, 1), feature_size=4)
    run = finetune_segmentation(classified_path, tmp_path / "resenc", init=None, config=config, steps=1)
    more: list[str | Path] = [run / "checkpoints" / "step-1", "none"]
    found = probe_segmentation(
        classified_path, run, tmp_path / "a.json", *more, structures="liver", crops=1, voxels=50, overlap=0.0
    )
    named = [(row["encoder"], row["step"]) for row in found["encoders"]]
    assert named == [("resenc", 1), ("resenc", 1), ("random weights", 0)]
    for place in (run, *more[:1]):
        tensors = load_frozen(str(place), config).encoder.state_dict()
        assert all(torch.equal(tensors[name], one) for name, one in load_file(run / WEIGHTS).items())
    out, crop = tmp_path / "b.json", (32, 32, 32)
    found = probe_classification(classified_path, swin_file, out, run, target="kind", crop=crop)
    assert [
        tuple(row[name] for name in ("encoder", "step", "network", "crop")) for row in found["encoders"]
    ] == [
        ("swin.pt", None, "swin_unetr", [32, 32, 32]),
        ("resenc", 1, "resenc_unet", [32, 32, 32]),
    ]


def test_a_file_does_not_say_what_it_learnt_from(
    classified_path: Path, swin_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, crop = tmp_path / "a.json", (16, 16, 16)
    with pytest.raises(GeometryError, match=r"crop of swin_unetr \(16, 16, 16\) must be a positive mult"):
        probe_classification(classified_path, swin_file, out, target="kind", crop=crop)
    probe_classification(classified_path, swin_file, out, target="kind", crop=(32, 32, 32), split="test")
    said = "does not say which scans its weights learnt from; compare window and spacing"
    warned = capsys.readouterr().err
    assert f"warning: swin.pt: {said}\n" in warned
    assert "warning: swin.pt is a file: that this looks at the split test is not kept anywhere" in warned
    assert read_json(out)["encoders"][0]["differences"] == [said]
    with pytest.raises(ConfigError, match=r"crop of swin_unetr must be multiples of 32"):
        probe_segmentation(classified_path, swin_file, tmp_path / "b.json", structures="liver", crop=crop)
    torch.save({"weight": torch.zeros(1)}, swin_file)
    with pytest.raises(CheckpointError, match=r"swin.pt: holds no patch_embed.proj.weight, so it is not in"):
        probe_segmentation(classified_path, swin_file, tmp_path / "b.json", structures="liver")


def test_features_are_means_of_tokens(classified_path: Path, mim: Path, classifying: ClassifyConfig) -> None:
    store = open_store(classified_path)
    config = with_classes(store, classifying)
    cases, encoder = classified_cases(store, config, "train"), load_encoder(mim)
    features = whole_features(encoder, store, cases, config)
    assert features.shape == (3, encoder.dim)
    alone = whole_features(encoder, store, cases[1:2], config)
    assert torch.equal(features[1:2], alone)


def test_other_preprocessing_stays_on_record(classified_path: Path, mim: Path, tmp_path: Path) -> None:
    run = shutil.copytree(mim, tmp_path / "mim")
    write_json(
        run / "preprocessing.json", {**read_json(run / "preprocessing.json"), "spacing": [1.5, 1.5, 3.0]}
    )
    probe_classification(classified_path, run, tmp_path / "p.json", mim, target="kind", crop=(16, 16, 16))
    said = [row["differences"] for row in read_json(tmp_path / "p.json")["encoders"]]
    assert said == [["weights learnt from spacing 1.5 x 1.5 x 3 mm, here it is 10 x 10 x 10 mm"], []]


def test_a_look_at_the_test_split_is_kept_with_the_run(
    classified_path: Path, mim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, crop = shutil.copytree(mim, tmp_path / "mim"), (16, 16, 16)
    exported = export(run, tmp_path / "exported", to="safetensors")
    encoders: list[Path | str] = [run, "none", exported]
    for number, encoder in enumerate(encoders):
        out = tmp_path / f"{number}.json"
        probe_classification(classified_path, encoder, out, target="kind", crop=crop, split="test")
    (look,) = read_json(run / "looks.json")["looks"]
    assert look["split"] == "test"
    said = capsys.readouterr().err
    assert "mim: the first look at the split test with this run (looks.json)" in said
    assert "exported holds weights alone: that this looks at the split test is not kept there" in said
    assert not (tmp_path / "exported" / "looks.json").exists()
    with pytest.raises(ConfigError, match="split must be val or test, got 'train'; a probe learns from"):
        probe_classification(classified_path, run, tmp_path / "p.json", target="kind", split="train")
    (tested,) = select_cases(open_store(classified_path), "test")
    write_json(run / "cases.json", {"train": {"another": tested.patient}})
    with pytest.raises(DataError, match="1 of 1 cases are of patients who taught mim"):
        probe_classification(
            classified_path, run, tmp_path / "p.json", target="kind", crop=crop, split="test"
        )


def test_mistakes_are_told_before_anything_is_computed(
    classified_path: Path, mim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.json"
    with pytest.raises(CheckpointError, match="nope: no such folder; name the folder of a run"):
        probe_classification(classified_path, mim, out, "nope", target="kind", crop=(16, 16, 16))
    with pytest.raises(ConfigError, match="mim: named twice; name each encoder once"):
        probe_classification(classified_path, mim, out, mim, target="kind", crop=(16, 16, 16))
    out.write_text("{}")
    with pytest.raises(ConfigError, match=r"p\.json: is there already; name a new file, or delete it"):
        probe_classification(classified_path, mim, out, target="kind", crop=(16, 16, 16))
    assert capsys.readouterr().err == ""


def test_what_cannot_be_probed(store_path: Path, mim: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"out: the result is a JSON file; end its name in .json, e.g. out.json$"
    ):
        probe_segmentation(store_path, mim, tmp_path / "out", structures="liver")
    with pytest.raises(ConfigError, match="crops and voxels must be at least 1, got 0 and 4096"):
        probe_segmentation(store_path, mim, tmp_path / "out.json", structures="liver", crops=0)
    with pytest.raises(StoreError, match="no label set 'organs'"):
        probe_segmentation(store_path, mim, tmp_path / "out.json", structures="liver", labels="organs")
    with pytest.raises(
        ConfigError, match="no target 'age'; name one with --target, it has: disease, phase, site"
    ):
        probe_classification(store_path, mim, tmp_path / "out.json", target="age")
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_of_a_hub(
    classified_path: Path, mim: Path, publish: Callable[[str, Path], object], tmp_path: Path
) -> None:
    publish("team/mim-ct", export(mim, tmp_path / "exported", to="safetensors"))
    probed = [
        probe_classification(classified_path, place, tmp_path / name, target="kind", crop=(16, 16, 8))
        for name, place in (("ours.json", mim), ("fetched.json", "team/mim-ct"))
    ]
    ours, fetched = (one["encoders"][0] for one in probed)
    assert fetched["encoder"].startswith("team/mim-ct@")
    assert fetched["logistic"] == ours["logistic"]
