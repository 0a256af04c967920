"""Encoders out of run folders: what is loaded, what is refused, what is warned of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mim3d.config import Architecture, FinetuneConfig, PretrainConfig
from mim3d.config_file import write_config
from mim3d.downstream.backbone import (
    LoadReport,
    compare_preprocessing,
    encoder_tensors,
    load_encoder,
    load_into,
    shared_out,
)
from mim3d.errors import CheckpointError
from mim3d.model.encoder import Encoder

PATCH = (16, 16, 8)
MakeRun = Callable[[PretrainConfig | FinetuneConfig], Path]


def edited(run: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """The run with its weights changed."""
    tensors = load_file(run / "weights.safetensors")
    edit(tensors)
    save_file(tensors, run / "weights.safetensors")
    return run


def test_the_encoder_of_a_pretrained_run(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = make_run(pretrained)
    encoder = load_encoder(str(run))
    assert not encoder.training
    stored = load_file(run / "weights.safetensors")
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, stored[f"encoder.{name}"])
    maps = encoder.features(torch.rand(1, 1, 16, 32, 24))
    assert [tuple(features.shape[1:]) for features in maps] == [
        (6, 8, 16, 24), (6, 4, 8, 12), (6, 2, 4, 6), (12, 1, 2, 3)
    ]  # fmt: skip


def test_the_encoder_of_a_finetuned_run(make_run: MakeRun, finetuned: FinetuneConfig) -> None:
    run = make_run(finetuned)
    encoder = load_encoder(run)
    assert encoder.patch == PATCH
    assert set(encoder_tensors(run)) == set(encoder.state_dict())


def test_the_report_tells_what_became_of_every_tensor(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["encoder.norm.bias"]
        tensors["encoder.norm.weight"] = torch.zeros(5)
        tensors["encoder.head.weight"] = torch.zeros(1)

    run = edited(make_run(pretrained), edit)
    encoder = Encoder(PATCH, pretrained.architecture)
    before = encoder.norm.weight.clone()
    report = load_into(encoder, run)
    assert report.missing == ("norm.weight", "norm.bias")
    assert report.unexpected == ("head.weight",)
    assert len(report.loaded) == len(encoder.state_dict()) - 2
    assert torch.equal(encoder.norm.weight, before)
    assert torch.equal(encoder.linear.weight, encoder_tensors(run)["linear.weight"])
    assert str(report) == (
        f"encoder: {len(report.loaded)} tensors loaded, 2 missing (norm.weight, norm.bias), "
        "1 unexpected (head.weight)"
    )


def test_a_long_report_names_three() -> None:
    report = LoadReport(loaded=("a",), missing=(), unexpected=("b", "c", "d", "e"))
    assert str(report) == "encoder: 1 tensors loaded, 0 missing, 4 unexpected (b, c, d, ...)"


def test_weights_of_which_less_than_half_fit_are_refused(
    make_run: MakeRun, pretrained: PretrainConfig
) -> None:
    run = make_run(pretrained)
    wider = Encoder(PATCH, replace(pretrained.architecture, dims=(12, 12, 12, 24)))
    own = len(wider.state_dict())
    message = (
        rf"run: weights are of another architecture: encoder: 0 tensors loaded, {own} missing \(.*, ...\), "
        rf"0 unexpected, of {own} needed; use the preset that the weights were trained with$"
    )
    with pytest.raises(CheckpointError, match=message):
        load_into(wider, run)


def test_an_encoder_is_loaded_whole_or_not_at_all(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = edited(make_run(pretrained), lambda tensors: tensors.__delitem__("encoder.norm.bias"))
    message = r"weights do not fit config.json: .* 1 missing \(norm.bias\), .*; copy both from the same run$"
    with pytest.raises(CheckpointError, match=message):
        load_encoder(run)


def test_a_deeper_encoder_is_refused(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = make_run(pretrained)
    deeper = Architecture(
        dims=(6, 6, 6, 12), depths=(1, 1, 1, 2), num_heads=2, decoder_dim=12, decoder_heads=2
    )
    write_config(replace(pretrained, architecture=deeper), run / "config.json")
    with pytest.raises(CheckpointError, match=r"12 missing \(blocks.1.norm1.weight, .*, ...\), 0 unexpected"):
        load_encoder(run)


def test_a_shallower_encoder_is_refused(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = make_run(pretrained)
    shallower = replace(pretrained.architecture, depths=(1, 1, 1, 0))
    write_config(replace(pretrained, architecture=shallower), run / "config.json")
    with pytest.raises(CheckpointError, match=r"0 missing, 12 unexpected \(blocks.0"):
        load_encoder(run)


def test_a_run_without_weights_is_refused(
    make_run: MakeRun, pretrained: PretrainConfig, tmp_path: Path
) -> None:
    run = make_run(pretrained)
    (run / "weights.safetensors").unlink()
    message = r"run: holds no weights.safetensors; finish the run with --resume$"
    with pytest.raises(CheckpointError, match=message):
        load_encoder(run)
    with pytest.raises(CheckpointError, match="none: no such folder"):
        load_encoder(tmp_path / "none")


def test_damaged_weights_are_refused(make_run: MakeRun, pretrained: PretrainConfig) -> None:
    run = make_run(pretrained)
    weights = run / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=r"weights.safetensors: damaged \(.*\)"):
        load_encoder(run)


@pytest.mark.parametrize(
    ("name", "value"), [("orientation", "LPS"), ("unit", "none"), ("modality", "MR"), ("channels", 4)]
)
def test_preprocessing_that_means_something_else_is_refused(
    make_run: MakeRun, pretrained: PretrainConfig, preprocessing: dict[str, Any], name: str, value: Any
) -> None:
    run = make_run(pretrained)
    remedy = "" if name == "orientation" else ", or adapt them: --transfer.adapt"
    message = (
        rf"run: weights learnt from {name} {preprocessing[name]}, but here it is {value}; "
        rf"use weights of the same kind{remedy}$"
    )
    with pytest.raises(CheckpointError, match=message):
        compare_preprocessing(run, preprocessing | {name: value}, adapt=False)
    with pytest.raises(CheckpointError, match=r"use weights of the same kind$"):  # where none can be adapted
        compare_preprocessing(run, preprocessing | {name: value})


def test_another_unit_modality_or_number_of_channels_is_a_warning_where_weights_are_adapted(
    make_run: MakeRun, pretrained: PretrainConfig, preprocessing: dict[str, Any]
) -> None:
    run = make_run(pretrained)
    ours = preprocessing | {"unit": "none", "modality": "MR", "channels": 4, "spacing": None}
    assert compare_preprocessing(run, ours, adapt=True) == [
        "weights learnt from unit HU, adapted to none",
        "weights learnt from modality CT, adapted to MR",
        "weights learnt from channels 1, adapted to 4",
        "weights learnt from spacing 1.5 x 1.5 x 1.5 mm, here it is each scan's own",
    ]
    with pytest.raises(CheckpointError, match="orientation RAS, but here it is LPS; use weights of the same"):
        compare_preprocessing(run, ours | {"orientation": "LPS"}, adapt=True)


@pytest.mark.parametrize(("theirs", "ours"), [(1, 4), (3, 2), (4, 1), (2, 2)])
def test_what_is_the_same_in_every_channel_has_the_same_features(
    make_run: MakeRun, pretrained: PretrainConfig, theirs: int, ours: int
) -> None:
    architecture = replace(pretrained.architecture, channels=theirs)
    run = make_run(replace(pretrained, architecture=architecture))
    before = load_encoder(run)
    encoder = Encoder(PATCH, replace(architecture, channels=ours)).eval()
    if theirs != ours:
        assert load_into(encoder, run).missing == ("embeds.0.project.weight",)
    report = load_into(encoder, run, adapt=True)
    assert (report.missing, report.unexpected) == ((), ())
    volume = torch.rand(2, 1, 32, 16, 16)
    expected = before.features(volume.expand(-1, theirs, -1, -1, -1))
    found = encoder.features(volume.expand(-1, ours, -1, -1, -1))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


def test_kernels_of_another_cell_are_not_adapted() -> None:
    kernels = torch.rand(3, 10)
    assert shared_out(kernels, 1, torch.empty(3, 16)) is kernels


def test_other_windows_and_spacings_are_warned_of(
    make_run: MakeRun, pretrained: PretrainConfig, preprocessing: dict[str, Any]
) -> None:
    run = make_run(pretrained)
    assert compare_preprocessing(run, preprocessing) == []
    ours = preprocessing | {"window": {"low": 0.0, "high": 80.0}, "spacing": None}
    assert compare_preprocessing(run, ours) == [
        "weights learnt from window -1000 to 1000 HU, here it is 0 to 80 HU",
        "weights learnt from spacing 1.5 x 1.5 x 1.5 mm, here it is each scan's own",
    ]


def test_a_run_that_does_not_say_what_it_learnt_from_is_refused(
    make_run: MakeRun, pretrained: PretrainConfig, preprocessing: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(pretrained)
    (run / "preprocessing.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"run: has no preprocessing.json; copy the run folder as a whole$"
    ):
        compare_preprocessing(run, preprocessing)
    with pytest.raises(CheckpointError, match=r"none: no such folder; name the folder of a run"):
        compare_preprocessing(tmp_path / "none", preprocessing)
