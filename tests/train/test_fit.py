from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mim3d.config import Optimisation, Runtime
from mim3d.errors import ConfigError
from mim3d.train.chunk import Chunk, Group, Logged
from mim3d.train.fit import Job, fit, launch
from mim3d.train.run_folder import read_metrics


@dataclass(frozen=True)
class Numbers:
    values: Tensor

    def to(self, device: torch.device) -> "Numbers":
        return Numbers(self.values.to(device))


def squares(model: nn.Module, batch: Numbers) -> Iterator[Group]:
    def score(model: nn.Module) -> tuple[Tensor, Logged]:
        return model(batch.values).square().mean(), {}

    yield [Chunk(score, last=True)]


def batches(steps: int, first_step: int, rank: int, num_ranks: int) -> Iterator[Numbers]:
    assert (rank, num_ranks) == (0, 1)
    for step in range(first_step, steps):
        yield Numbers(torch.full((1, 2), float(step)))


def job_in(run: Path, runtime: Runtime, steps: int = 5) -> Job[Numbers]:
    run.mkdir(exist_ok=True)
    torch.manual_seed(0)
    return Job(
        run=run,
        model=nn.Linear(2, 1),
        optimisation=Optimisation(steps=steps, batch_size=1, warmup_steps=0),
        runtime=runtime,
        objective=squares,
        batches=partial(batches, steps),
        columns=["loss", "lr", "score"],
        crops_per_step=1,
    )


def test_every_step_is_logged_and_the_newest_checkpoints_stay(tmp_path: Path, runtime: Runtime) -> None:
    job = replace(
        job_in(tmp_path, runtime), validate=lambda step: {"score": step / 10} if step % 2 == 0 else {}
    )
    state = fit(job, launch(runtime, 1))
    assert state.step == 5
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [(row["step"], row["score"]) for row in rows] == [
        ("1", ""),
        ("2", "0.2"),
        ("3", ""),
        ("4", "0.4"),
        ("5", ""),
    ]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-4", "step-5"]


def test_what_is_logged_may_be_derived_and_left_out_of_the_progress(
    tmp_path: Path, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    job = replace(
        job_in(tmp_path, runtime),
        derived=lambda logged: {"loss": logged["loss"], "score": -logged["loss"], "lr": logged["lr"]},
        progress_without=frozenset({"score"}),
    )
    fit(job, launch(runtime, 1))
    for row in read_metrics(tmp_path / "metrics.csv"):
        assert float(row["score"]) == -float(row["loss"])
    said = capsys.readouterr().err
    assert "loss" in said
    assert "score" not in said


def test_a_job_goes_on_from_its_checkpoint(tmp_path: Path, runtime: Runtime) -> None:
    whole = fit(job_in(tmp_path / "whole", runtime), launch(runtime, 1))
    first = job_in(tmp_path / "parts", runtime)
    checkpoint = tmp_path / "whole" / "checkpoints" / "step-4"
    state = fit(replace(first, checkpoint=checkpoint), launch(runtime, 1))
    assert all(
        torch.equal(tensor, whole.model.state_dict()[name])
        for name, tensor in state.model.state_dict().items()
    )
    (row,) = read_metrics(tmp_path / "parts" / "metrics.csv")
    assert row == read_metrics(tmp_path / "whole" / "metrics.csv")[-1]


def in_parts(_: nn.Module, batch: Numbers) -> Iterator[Group]:
    def score(part: Tensor, model: nn.Module) -> tuple[Tensor, Logged]:
        return model(part).square().mean() / 3, {}

    yield [Chunk(partial(score, batch.values * n), last=n == 3) for n in (1, 2, 3)]


@pytest.mark.usefixtures("two_threads")
def test_threads_side_by_side_train_as_one_does(tmp_path: Path, runtime: Runtime) -> None:
    job = replace(job_in(tmp_path / "one", runtime), objective=in_parts)
    expected = fit(job, launch(runtime, 1)).model.state_dict()
    torch.manual_seed(0)
    (tmp_path / "two").mkdir()
    state = fit(replace(job, run=tmp_path / "two", model=nn.Linear(2, 1), threads=2), launch(runtime, 1))
    assert len(state.apart) == 1
    for models in (state.model, *state.apart):
        found = models.state_dict()
        assert all(torch.allclose(found[name], expected[name], rtol=1e-5) for name in expected)


def test_every_step_is_timed_and_the_waiting_in_it(
    tmp_path: Path, runtime: Runtime, now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def read(first_step: int, rank: int, num_ranks: int) -> Iterator[Numbers]:
        for batch in batches(3, first_step, rank, num_ranks):
            now[0] += 2.0
            yield batch

    def validate(step: int) -> dict[str, float]:
        now[0] += 3.0
        return {"score": step}

    job = replace(job_in(tmp_path, runtime, steps=3), batches=read, validate=validate)
    fit(job, launch(runtime, 1))
    assert (tmp_path / "timings.csv").read_text().split() == [
        "step,seconds,waiting",
        "1,5.0,2.0",
        "2,5.0,2.0",
        "3,5.0,2.0",
    ]
    assert " · waited for data 40.0 % · " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "batch_size", "message"),
    [
        ({"devices": 2}, 3, "batch_size 3 must divide by devices 2; change either of them"),
        (
            {"precision": "16-mixed"},
            2,
            "precision must be one of 32-true, bf16-mixed, bf16-true, 64-true, got '16-mixed'",
        ),
        (
            {"accelerator": "abacus"},
            2,
            "accelerator 'abacus' with 1 devices cannot be used .*abacus.*; `--run",
        ),
    ],
)
def test_what_the_machine_cannot_do_is_refused(
    runtime: Runtime, changed: dict[str, str], batch_size: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        launch(replace(runtime, **changed), batch_size)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
