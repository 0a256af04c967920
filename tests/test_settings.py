"""Preset, file, resumed run, weights: which of them a run's settings come from."""

from dataclasses import replace
from pathlib import Path

import pytest

from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig, Window
from mim3d.config_file import write_config
from mim3d.errors import CheckpointError, ConfigError
from mim3d.presets import classify_preset, finetune_preset, pretrain_preset
from mim3d.settings import classify_settings, finetune_settings, pretrain_settings

PRETRAINED = replace(pretrain_preset("tiny"), seed=5, window=Window(low=-500, high=500))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An empty run folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def init(tmp_path: Path) -> Path:
    """A pre-trained run."""
    folder = tmp_path / "init"
    folder.mkdir()
    write_config(PRETRAINED, folder / "config.json")
    return folder


def test_without_a_word_it_is_base(run: Path) -> None:
    assert pretrain_settings(run, None, None, resume=False) == pretrain_preset("base")
    assert finetune_settings(run, None, None, None, resume=False) == finetune_preset("base")


def test_a_preset_is_named(run: Path) -> None:
    assert pretrain_settings(run, "tiny", None, resume=False) == pretrain_preset("tiny")
    assert finetune_settings(run, None, "tiny", None, resume=False) == finetune_preset("tiny")


def test_a_configuration_is_given(run: Path, init: Path) -> None:
    assert pretrain_settings(run, None, PRETRAINED, resume=False) is PRETRAINED
    assert pretrain_settings(run, None, init / "config.json", resume=False) == PRETRAINED
    other = FinetuneConfig(seed=2)
    assert finetune_settings(run, init, None, other, resume=False) is other


def test_a_resumed_run_brings_its_own(run: Path, init: Path) -> None:
    assert pretrain_settings(init, None, None, resume=True) == PRETRAINED
    assert pretrain_settings(init, None, None, resume=False) == pretrain_preset("base")
    assert pretrain_settings(init, "tiny", None, resume=True) == pretrain_preset("tiny")
    assert pretrain_settings(run, None, None, resume=True) == pretrain_preset("base")
    own = replace(finetune_preset("tiny"), seed=9)
    write_config(own, run / "config.json")
    assert finetune_settings(run, init, None, None, resume=True) == own


def test_weights_bring_their_sizes(run: Path, init: Path) -> None:
    settings = finetune_settings(run, init, None, None, resume=True)
    assert settings == replace(
        finetune_preset("tiny"),
        architecture=PRETRAINED.architecture,
        window=PRETRAINED.window,
        crop=PRETRAINED.nesting.crop,
        patch=PRETRAINED.nesting.patch,
    )
    theirs = FinetuneConfig(preset="tiny", crop=(32, 32, 16), patch=(8, 8, 8), structures=("liver",))
    write_config(theirs, init / "config.json")
    settings = finetune_settings(run, init, None, None, resume=False)
    assert (settings.crop, settings.patch, settings.structures) == ((32, 32, 16), (8, 8, 8), ())


def test_weights_do_not_overrule_what_is_named(run: Path, init: Path) -> None:
    assert finetune_settings(run, init, "base", None, resume=False) == finetune_preset("base")


def test_preset_and_configuration_together_are_refused(run: Path, init: Path) -> None:
    message = "preset 'tiny' and a configuration were both given; name one of them"
    with pytest.raises(ConfigError, match=message):
        pretrain_settings(run, "tiny", PRETRAINED, resume=False)
    with pytest.raises(ConfigError, match=message):
        finetune_settings(run, init, "tiny", FinetuneConfig(), resume=False)


def test_what_is_unknown_is_refused(run: Path, init: Path) -> None:
    with pytest.raises(ConfigError, match="unknown preset 'huge'; there are tiny, small, base"):
        pretrain_settings(run, "huge", None, resume=False)
    with pytest.raises(CheckpointError, match="run: no run folder"):
        finetune_settings(run, run, None, None, resume=False)
    with pytest.raises(ConfigError, match="of `pretrain`, where one of `finetune segmentation` is needed"):
        finetune_settings(run, None, None, init / "config.json", resume=False)


def test_weights_of_a_preset_of_ones_own_need_a_configuration(run: Path, init: Path) -> None:
    write_config(PretrainConfig(preset="mine"), init / "config.json")
    message = (
        r"init: began with preset 'mine', for which there are no fine-tuning settings "
        r"\(there are: tiny, small, base, released-tiny, .*\); give a configuration$"
    )
    with pytest.raises(ConfigError, match=message):
        finetune_settings(run, init, None, None, resume=False)


def test_weights_bring_a_classifier_all_but_its_crop(run: Path, init: Path) -> None:
    settings = classify_settings(run, init, None, None, resume=False)
    assert settings == replace(
        classify_preset("tiny"), architecture=PRETRAINED.architecture, window=PRETRAINED.window
    )
    assert classify_settings(run, None, None, None, resume=False) == classify_preset("base")
    assert classify_settings(run, init, "small", None, resume=False) == classify_preset("small")
    other = replace(classify_preset("tiny"), seed=3)
    write_config(other, run / "config.json")
    assert classify_settings(run, init, None, None, resume=True) == other


def test_a_classifier_brings_a_segmenter_all_but_its_crop(run: Path, init: Path) -> None:
    theirs = ClassifyConfig(preset="tiny", crop=(32, 32, 16), patch=(8, 8, 8), window=Window(low=0, high=9))
    write_config(theirs, init / "config.json")
    settings = finetune_settings(run, init, None, None, resume=False)
    assert settings == replace(
        finetune_preset("tiny"), architecture=theirs.architecture, window=theirs.window, patch=(8, 8, 8)
    )


def test_a_file_of_published_weights_brings_no_settings(run: Path, tmp_path: Path) -> None:
    (tmp_path / "model_swinvit.pt").write_bytes(b"")
    found = finetune_settings(run, tmp_path / "model_swinvit.pt", None, None, resume=False)
    assert found == finetune_preset("base")
