from dataclasses import replace
from pathlib import Path

import pytest

from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.data.case_channels import Channel, channels_as_text
from mim3d.data.catalog import Catalog
from mim3d.data.store import Store
from mim3d.errors import CheckpointError, ConfigError, StoreError
from mim3d.recipes.pretrain import pretrain
from mim3d.recipes.run import (
    begin_run,
    is_finished,
    overridden,
    preprocessing,
    reopen_run,
    require_channels,
    say_padding,
)
from mim3d.sampling.crops import select_cases


def begun(run: Path, store: Store, config: PretrainConfig) -> Path:
    """A run folder with one checkpoint, of step 4."""
    begin_run(run, config, store, None, command="mim3d pretrain")
    (run / "checkpoints" / "step-4").mkdir(parents=True)
    return run


def test_steps_and_seed_win_over_settings(pretraining: PretrainConfig, finetuning: FinetuneConfig) -> None:
    changed = overridden(pretraining, steps=9, seed=3)
    assert changed.optimisation == replace(pretraining.optimisation, steps=9)
    assert changed.seed == 3
    assert overridden(finetuning, steps=None, seed=None) == finetuning


def test_nothing_is_written_before_a_run_begins(
    tmp_path: Path, store: Store, pretraining: PretrainConfig
) -> None:
    run = tmp_path / "run"
    assert reopen_run(run, pretraining, resume=False) is None
    assert not run.exists()
    begin_run(run, pretraining, store, None, command="mim3d pretrain")
    assert sorted(path.name for path in run.iterdir()) == [
        "config.json",
        "preprocessing.json",
        "provenance.json",
    ]
    assert reopen_run(run, pretraining, resume=False) is None


def test_a_run_is_reopened_with_the_settings_it_began_with(
    tmp_path: Path, store: Store, pretraining: PretrainConfig
) -> None:
    run = begun(tmp_path / "run", store, pretraining)
    assert reopen_run(run, pretraining, resume=True) == run / "checkpoints" / "step-4"
    longer = replace(
        overridden(pretraining, steps=90, seed=None), runtime=replace(pretraining.runtime, devices=2)
    )
    assert reopen_run(run, longer, resume=True) == run / "checkpoints" / "step-4"
    changed = replace(pretraining.optimisation, lr=0.1)
    with pytest.raises(ConfigError, match=r"begun with optimisation.lr 0.001, asked for now is 0.1; leave"):
        reopen_run(run, replace(pretraining, optimisation=changed), resume=True)
    first, *others = pretraining.nesting.levels
    nesting = replace(pretraining.nesting, levels=(replace(first, masked_ratio=0.7), *others))
    with pytest.raises(
        ConfigError, match=r"begun with nesting.levels.0.masked-ratio 0.\d+, asked for now is 0.7;"
    ):
        reopen_run(run, replace(pretraining, nesting=nesting), resume=True)
    with pytest.raises(CheckpointError, match="run: holds step-4 of an earlier run"):
        reopen_run(run, pretraining, resume=False)


def test_other_numbers_of_channels_are_refused_before_anything_is_written(
    tmp_path: Path, store: Store, pretraining: PretrainConfig
) -> None:
    two = replace(pretraining, architecture=replace(pretraining.architecture, channels=2))
    message = "architecture.channels is 2, but cases of the store have 1; set --architecture.channels 1"
    with pytest.raises(ConfigError, match=message):
        require_channels(two, store, tuple(store.catalog.cases))
    with pytest.raises(ConfigError, match=message):
        pretrain(store.path, tmp_path / "run", config=two)
    assert not (tmp_path / "run").exists()


def test_cases_of_different_kinds_are_told_apart(
    store: Store, pretraining: PretrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    case = store.catalog.cases[0]
    channel = Channel(name="", modality="MR", slope=1.0, padding=0.0, statistics=case.statistics)
    double = replace(case, channels=channels_as_text([channel, channel]))
    with pytest.raises(StoreError, match=r"different numbers of channels \(1 of 1, 1 of 2\); one number is"):
        require_channels(pretraining, store, (case, double))
    require_channels(pretraining, store, (case, replace(case, modality="MR")))
    assert "warning: cases of different modalities (1 of CT, 1 of MR)" in capsys.readouterr().err


def test_what_was_done_to_mr_is_kept(store: Store, pretraining: PretrainConfig) -> None:
    mr = replace(store, catalog=Catalog((replace(store.catalog.cases[0], modality="MR"),)))
    said = preprocessing(replace(pretraining, scaling="deviations"), mr)
    assert (said["modality"], said["unit"], said["scaling"]) == ("MR", "none", "deviations")


def test_a_fine_tuned_run_is_not_resumed_as_another_kind(
    tmp_path: Path, store: Store, pretraining: PretrainConfig, finetuning: FinetuneConfig
) -> None:
    run = begun(tmp_path / "run", store, pretraining)
    message = "of `pretrain`, where one of `finetune segmentation` is needed"
    with pytest.raises(ConfigError, match=message):
        reopen_run(run, finetuning, resume=True)


def test_finished_is_a_run_with_all_steps_and_its_result(
    tmp_path: Path, pretraining: PretrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "weights.safetensors"
    last, earlier = (tmp_path / "checkpoints" / f"step-{step}" for step in (6, 4))
    assert not is_finished(last, pretraining, result)
    result.touch()
    assert not is_finished(None, pretraining, result)
    assert not is_finished(earlier, pretraining, result)
    assert capsys.readouterr().err == ""
    assert is_finished(last, pretraining, result)
    assert capsys.readouterr().err == f"{tmp_path}: finished, 6 steps done\n"


def test_a_store_of_native_spacing_has_none(store: Store, pretraining: PretrainConfig) -> None:
    assert preprocessing(pretraining, replace(store, spacing=None))["spacing"] is None


def test_padding_is_said_with_what_is_padded(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    cases = select_cases(store, "train")
    say_padding([cases], (32, 29, 26), "crop")
    assert capsys.readouterr().err == ""
    say_padding([[replace(cases[0], shape=(80, 80, 80))], cases[1:]], (32, 29, 27), "crop")
    assert capsys.readouterr().err == (
        "2 of 3 volumes are smaller than the crop of (32, 29, 27) voxels: padded with air\n"
    )
