"""How a network is trained: intensities, schedule, machine."""

import math
from dataclasses import dataclass
from typing import Literal

from mim3d.config.checks import require, require_choices
from mim3d.errors import ConfigError

Scaling = Literal["percentiles", "deviations"]
"""How intensities without a unit of their own become [0, 1], case by case, channel by channel."""

Schedule = Literal["cosine", "sawtooth", "poly", "constant"]
"""How the learning rate goes on after warm-up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Intensities that the network tells apart: clipped to this range, then scaled to [0, 1]."""

    low: float = -1000.0
    """What becomes 0, HU."""
    high: float = 1000.0
    """What becomes 1, HU."""

    def __post_init__(self) -> None:
        held = -math.inf < self.low < self.high < math.inf
        require(held, "window", f"{self.low} and {self.high}", "low < high, in HU and finite")


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimisation:
    """AdamW with linear warm-up, then a schedule."""

    steps: int = 1000
    """Optimiser steps of the whole run."""
    batch_size: int = 2
    """Samples per step over all devices: regions in pre-training, crops in fine-tuning."""
    lr: float = 1e-3
    """Peak learning rate, for the whole batch."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    schedule: Schedule = "cosine"
    """After warm-up: half a `cosine` down to 0; a `poly`nomial of power 0.9 down to 0; `constant`; or
    `sawtooth`: `first_tooth` steps in which the pre-trained encoder stays as it is and the rate rises to its
    peak, then warm-up from 0 again for the whole network, and a polynomial."""
    first_tooth: int = 0
    """Steps of the first rise of a `sawtooth`; 0: as many as of warm-up."""
    weight_decay: float = 0.05
    """Not applied to biases, norms and embeddings."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW."""
    max_norm: float = 1.0
    """Gradients are clipped to this norm."""

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(0 < self.lr < math.inf, "lr", self.lr, "above 0, and finite")
        require_choices(self)
        require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "0 or more")
        require(self.first_tooth >= 0, "first_tooth", self.first_tooth, "0 or more")
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more, and finite")
        require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "0 or more, and below 1")
        require(self.max_norm > 0, "max_norm", self.max_norm, "above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Where and how often; nothing here changes what is learnt, except `precision` and `damaged_cases`."""

    accelerator: str = "auto"
    """`cpu`, `gpu` or `auto`, as Lightning Fabric names them."""
    devices: int = 1
    """Devices, one process each; `batch_size` must divide by it."""
    precision: str = "32-true"
    """As Lightning Fabric names them, e.g. `bf16-mixed`."""
    num_workers: int = 0
    """Processes that read samples; 0 reads in a thread of the training process, one batch ahead."""
    memory_gb: float = 2.0
    """For what a forward pass keeps, GB: as many crops go forward and backward at once as fit, at least one.
    The sum stays the same. Weights, their gradients and the optimiser's state come on top. On a CPU, in
    `32-true`, it also holds gradients for each further thread; else threads share each operation."""
    compile: bool = False
    """Compile transformer blocks with `torch.compile`, where there is a C++ compiler: the first step takes a
    minute longer; whether the others are quicker depends on the machine."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    damaged_cases: Literal["stop", "substitute"] = "stop"
    """When a sample meets data that are not what was written: `stop`, or take a `substitute`, another case
    that seed and sample number alone decide."""

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.devices >= 1, "devices", self.devices, "at least 1")
        require(self.num_workers >= 0, "num_workers", self.num_workers, "0 or more")
        require(self.memory_gb > 0, "memory_gb", self.memory_gb, "above 0")
        require(self.checkpoint_every >= 1, "checkpoint_every", self.checkpoint_every, "at least 1 step")


def check_schedule(optimisation: Optimisation, runtime: Runtime) -> None:
    """Refuse weights that begin to learn later where several devices wait for every gradient from the first.

    Raises:
        ConfigError: If the schedule is a sawtooth and there are several devices.
    """
    if optimisation.schedule == "sawtooth" and runtime.devices > 1:
        raise ConfigError(
            f"schedule sawtooth works on one device as yet, got devices {runtime.devices}; take one, or "
            "cosine with transfer.layer_decay"
        )
