"""Steps of pre-training timed in turns, so that whatever else the machine does falls on all of them alike.

.venv/bin/python benchmarks/turns.py CONFIG takes a step of one region, one crop at a time, for every line of
standard input, and answers with the peak memory so far; `bench_scaling.py` starts one of it a configuration.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch
from machine import peak_gb
from region import region_of
from torch import Tensor, nn

from mim3d.config import PretrainConfig
from mim3d.config_file import read_config, write_config
from mim3d.model.encoder import Encoder
from mim3d.model.mim import Mim
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.sampling.batch import RegionBatch

Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class Times:
    """Of one step taken again and again, s."""

    first: float
    """Of the step that warms up, which is not counted in the others."""
    median: float
    least: float


def in_turns(steps: Mapping[Name, Callable[[], object]], repeats: int) -> dict[Name, Times]:
    """Times of every step: each is taken once to warm up, then one after the other, `repeats` rounds."""
    first = {name: seconds_of(step) for name, step in steps.items()}
    rounds = [{name: seconds_of(step) for name, step in steps.items()} for _ in range(repeats)]
    taken = {name: [one[name] for one in rounds] for name in steps}
    return {name: Times(first[name], median(taken[name]), min(taken[name])) for name in steps}


def seconds_of(step: Callable[[], object]) -> float:
    """How long a step takes, s."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def region_step(
    model: nn.Module,
    batch: RegionBatch,
    config: PretrainConfig,
    at_once: tuple[int, ...],
    backward: Callable[[Tensor], None] = torch.autograd.backward,
) -> Callable[[], None]:
    """Forward and backward through a batch, `at_once[level]` crops at a time, without an optimiser.

    Gradients are never set to zero: they are added to those there are, as in all chunks of a step but one.
    """

    def step() -> None:
        for chunk in chain.from_iterable(pretrain_chunks(model, batch, config, at_once)):
            loss, _ = chunk.compute(model)
            backward(loss)

    return step


def encoder_step(encoder: Encoder, crops: Tensor, visible: Tensor) -> Callable[[], None]:
    """The encoder alone, forward and backward, on crops (B, C, X, Y, Z) at token index (B, K).

    Backward goes from a random gradient, as that of a sum is zero behind a layer norm.
    """
    gradient = torch.randn(*visible.shape, encoder.dim)  # (B, K, C)

    def step() -> None:
        torch.autograd.backward(encoder(crops, visible), gradient)

    return step


def in_processes(configs: Mapping[int, PretrainConfig], repeats: int) -> dict[int, tuple[Times, float]]:
    """Times of a region's step, and the peak memory in GB, of a process of its own for every configuration.

    All processes live at once, but one at a time computes.
    """
    peaks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        steps = {}
        for number, config in configs.items():
            write_config(config, path := Path(folder) / f"{number}.json")
            worker = stack.enter_context(started(path))
            steps[number] = partial(ask, worker, peaks, number)
        times = in_turns(steps, repeats)
    return {number: (times[number], peaks[number]) for number in configs}


def started(config: Path) -> subprocess.Popen[str]:
    """A process that takes steps of the configuration in a file when asked."""
    command = [sys.executable, __file__, str(config)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: subprocess.Popen[str], peaks: dict[int, float], number: int) -> None:
    """Have a process take one step, and note its peak memory, GB."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("step\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit(f"the process of configuration {number} ended with status {worker.wait()}")
    peaks[number] = float(answer)


def main(path: Path) -> None:
    """Take a step for every line of standard input."""
    config = read_config(path, PretrainConfig)
    torch.manual_seed(0)
    model = Mim(config.nesting, config.architecture, config.alignment)
    step = region_step(model, region_of(config.nesting), config, (1,) * len(config.nesting.levels))
    for _ in sys.stdin:
        step()
        print(peak_gb(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
