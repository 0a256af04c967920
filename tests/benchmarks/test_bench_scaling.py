"""The benchmark of scaling: what it varies, how it takes turns, and one part of each kind run as it is."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from mim3d.config import PretrainConfig
from mim3d.model.mim import Mim
from mim3d.presets import PRETRAIN

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("bench_scaling")


@pytest.fixture
def turns(scaling: ModuleType) -> ModuleType:
    return importlib.import_module("turns")


def test_time_against_the_share_visible(
    scaling: ModuleType, pretraining: PretrainConfig, tmp_path: Path
) -> None:
    found = scaling.share(pretraining, 1)
    shares = [row["visible"] for row in found["rows"]]
    assert shares == pytest.approx([*scaling.SHARES, 1.0], abs=0.5 / 64)  # of 64 tokens
    *parts, whole = found["rows"]
    assert whole["step_seconds"] is None
    assert whole["encoder_seconds"] > 0
    assert all(row["step_seconds"] > 0 for row in parts)
    head, *lines = scaling.table(found["rows"]).splitlines()
    assert {len(line) for line in lines} == {len(head)}
    scaling.draw(found, tmp_path / "images" / "share.png")
    assert (tmp_path / "images" / "share.png").read_bytes().startswith(b"\x89PNG")


def test_steps_go_forward_and_backward(turns: ModuleType, pretraining: PretrainConfig) -> None:
    nesting, architecture = pretraining.nesting, pretraining.architecture
    model = Mim(nesting, architecture, pretraining.alignment)
    batch = turns.region_of(nesting)
    step = turns.region_step(model, batch, pretraining, (1, 1, 1))
    step()
    once = {name: gradient_of(parameter) for name, parameter in model.named_parameters()}
    step()
    assert all(gradient.any() for gradient in once.values())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradient_of(parameter), 2 * once[name])
    model.zero_grad()
    turns.encoder_step(model.encoder, batch.levels[0].crops, torch.arange(64)[None])()
    assert all(gradient_of(parameter).norm() > 1e-5 for parameter in model.encoder.parameters())
    assert all(parameter.grad is None for parameter in model.decoder.parameters())


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


def test_a_region_in_a_process_of_its_own(
    scaling: ModuleType, pretraining: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, configure = scaling.SWEEPS["children"]
    monkeypatch.setitem(scaling.SWEEPS, "children", ((3,), configure))
    (row,) = scaling.sweep("children", pretraining, 1)["rows"]
    assert (row["children"], row["crops"], row["tokens"]) == (3, 4, 64)
    assert row["seconds_a_crop"] == row["seconds"] / 4 > 0
    assert row["voxels_gb"] == 4 * 4 * 16**3 / 1e9
    assert 0.05 < row["peak_gb"] < 2.0  # libraries, and next to nothing


@pytest.mark.parametrize(
    ("part", "crops", "tokens"),
    [
        ("crop", [1, 1, 1], [4**3, 6**3, 8**3]),
        ("levels", [1, 3, 7, 15], [6**3] * 4),
        ("children", [2, 3, 5, 9], [6**3] * 4),
    ],
)
def test_what_a_part_varies(scaling: ModuleType, part: str, crops: list[int], tokens: list[int]) -> None:
    values, configure = scaling.SWEEPS[part]
    times = scaling.Times(first=1.0, median=1.0, least=1.0)
    rows = [scaling.sweep_row(configure(PRETRAIN["base"](), value), times, 1.0) for value in values]
    assert [row["crops"] for row in rows] == crops
    assert [row["tokens"] for row in rows] == tokens


def test_the_line_and_what_is_off_it(scaling: ModuleType) -> None:
    rows = [{"visible": x, "seconds": 1.0 + 2.0 * x} for x in (0.0, 0.5, 1.0)]
    line = scaling.line_of([*rows, {"visible": 2.0, "seconds": None}], "seconds")
    assert line == pytest.approx(
        {"intercept": 1.0, "slope": 2.0, "largest_deviation": 0.0, "largest_relative_deviation": 0.0}
    )
    rows[1]["seconds"] += 0.3  # the line goes up by a third of it
    assert scaling.line_of(rows, "seconds") == pytest.approx(
        {"intercept": 1.1, "slope": 2.0, "largest_deviation": 0.2, "largest_relative_deviation": 0.2 / 2.1}
    )


def test_steps_are_taken_in_turns(turns: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter([0, 100, 0, 200, 0, 1, 0, 2, 0, 5, 0, 6, 0, 3, 0, 4])
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(clock))
    taken: list[str] = []
    steps = {name: lambda name=name: taken.append(name) for name in "ab"}
    assert turns.in_turns(steps, 3) == {"a": turns.Times(100, 3, 1), "b": turns.Times(200, 4, 2)}
    assert "".join(taken) == "abababab"


def test_parts_and_options_that_cannot_be(
    scaling: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, needle in (
        (["shares"], "there is no part shares; there are share, crop, levels, children, precision"),
        (["--repeats", "0"], "--repeats must be at least 1, got 0"),
        (["crop", "--picture", "x.png"], "--picture draws the part share"),
    ):
        monkeypatch.setattr("sys.argv", ["bench_scaling.py", *words])
        with pytest.raises(SystemExit):
            scaling.parse()
        assert needle in capsys.readouterr().err
