"""Configurations go through JSON and come back equal; what is wrong in a file is named."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mim3d.config import Alignment, ClassifyConfig, FinetuneConfig, Level, Nesting, PretrainConfig, Window
from mim3d.config_file import KINDS, RunConfig, build, read_config, read_run_config, write_config
from mim3d.errors import CheckpointError, ConfigError, GeometryError
from mim3d.presets import CLASSIFY, FINETUNE, PRETRAIN

ODD = PretrainConfig(
    seed=7,
    window=Window(low=-175, high=250),
    nesting=Nesting(
        extent=(120, 120, 40),
        crop=(32, 32, 8),
        patch=(16, 8, 4),
        levels=(Level(masked_ratio=0.5, children=0),),
    ),
    alignment=Alignment(loss="cosine", weight=0),
)
EVERY: list[RunConfig] = [
    ODD,
    FinetuneConfig(labels="organs", structures=("liver", "kidney, left"), overlap=0),
    ClassifyConfig(
        target="disease", classes=("no", "yes"), extent=(300.0, 300.0, 250.5), pooling="attention"
    ),
    *(preset() for preset in PRETRAIN.values()),
    *(preset() for preset in FINETUNE.values()),
    *(preset() for preset in CLASSIFY.values()),
]


def written(folder: Path, *path: str, value: Any) -> Path:
    """A file of ODD with one setting replaced."""
    values: dict[str, Any] = {"kind": "pretrain", **json.loads(json.dumps(asdict(ODD)))}
    group = values
    for name in path[:-1]:
        group = group[name]
    group[path[-1]] = value
    file = folder / "config.json"
    file.write_text(json.dumps(values))
    return file


@pytest.mark.parametrize("config", EVERY, ids=lambda config: f"{type(config).__name__}-{config.preset}")
def test_what_was_written_is_read(tmp_path: Path, config: RunConfig) -> None:
    write_config(config, tmp_path / "config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert read_run_config(tmp_path) == config
    read: Any = read_config  # of which kind is not known here
    assert read(tmp_path / "config.json", type(config)) == config


def test_a_setting_that_is_not_written_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind":"finetune","seed":3}')
    assert read_run_config(tmp_path) == FinetuneConfig(seed=3)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("sede",),
            1,
            "config.json has no setting 'sede'; it has alignment, architecture, nesting, optimisation",
        ),
        (("window", "lo"), 1, "config.json: window has no setting 'lo'; it has high, low"),
        (("seed",), "one", "config.json: seed must be of type int, got 'one'"),
        (("seed",), 1.5, "config.json: seed must be of type int, got 1.5"),
        (("seed",), True, "config.json: seed must be of type int, got True"),
        (("window", "low"), "-1000", "config.json: window: low must be of type float, got '-1000'"),
        (("window", "low"), False, "config.json: window: low must be of type float, got False"),
        (("window",), [1, 2], "config.json: window must be a group of settings, got [1, 2]"),
        (("nesting", "crop"), 96, "config.json: nesting: crop must be a list, got 96"),
        (("nesting", "crop"), [96, 96], "config.json: nesting: crop needs 3 values, got 2: [96, 96]"),
        (("nesting", "levels"), [3], "config.json: nesting: levels must be a group of settings, got 3"),
        (
            ("alignment", "loss"),
            "l2",
            "config.json: alignment: loss must be one of info_nce, cosine, got 'l2'",
        ),
        (("alignment", "weight"), -1, "weight of alignment must be 0 or more, and finite, got -1"),
        (("kind",), "finetune", "config.json: of `finetune segmentation`, where one of `pretrain` is needed"),
        (("kind",), None, "config.json: of None, where one of `pretrain` is needed"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, path: tuple[str, ...], value: Any, message: str) -> None:
    file = written(tmp_path, *path, value=value)
    with pytest.raises(ConfigError) as refused:
        read_config(file, PretrainConfig)
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(message)


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "nesting", "crop", value=[40, 32, 8])
    with pytest.raises(
        GeometryError,
        match=r"^crop \(40, 32, 8\) must be .*; the nearest is \(48, 32, 8\), or \(32, 32, 8\)$",
    ):
        read_config(file, PretrainConfig)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.json: no such file; a run folder holds config.json$"):
        read_config(tmp_path / "none.json", PretrainConfig)


@settings(deadline=None)
@given(content=st.one_of(st.sampled_from([b"", b"{}", b"[]", b"[1]", b"3", b'"kind"', b"null"]), st.binary()))
def test_what_is_no_configuration_is_named(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    run = tmp_path_factory.mktemp("run")
    (run / "config.json").write_bytes(content)
    message = r"config.json: not a configuration; give the config.json of a run$"
    with pytest.raises(ConfigError, match=message):
        read_config(run / "config.json", PretrainConfig)
    with pytest.raises(ConfigError, match=message):
        read_run_config(run)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a configuration; give the config.json of a run$"):
        read_config(tmp_path, PretrainConfig)


def test_a_folder_without_configuration_is_no_run(tmp_path: Path) -> None:
    message = r"no run folder \(it has no config.json\); name the folder of a run$"
    with pytest.raises(CheckpointError, match=message):
        read_run_config(tmp_path)


def test_each_kind_has_its_own_name() -> None:
    assert sorted(KINDS.values()) == ["classify", "finetune", "pretrain"]


@dataclass(frozen=True)
class Group:
    needed: int
    choice: Literal["a", "b"] | None = None
    names: dict[str, float] = field(default_factory=dict)
    pair: tuple[int, int] | None = None


def test_what_configurations_do_not_use_is_built_too() -> None:
    built = build(Group, {"needed": 1, "choice": "b", "names": {"x": 2}, "pair": [3, 4]}, "file")
    assert built == Group(1, "b", {"x": 2.0}, (3, 4))
    assert build(Group, {"needed": 1, "pair": None}, "file") == Group(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "^file lacks needed; add it$"),
        ({"needed": 1, "names": [1]}, r"^file: names must be an object of names, got \[1\]$"),
        ({"needed": 1, "names": {"x": "y"}}, "^file: names: x must be of type float, got 'y'$"),
        ({"needed": 1, "choice": "c"}, "^file: choice must be one of a, b, got 'c'$"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Group, values, "file")
