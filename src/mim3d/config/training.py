"""How a network is trained: intensities, schedule, machine."""

from dataclasses import dataclass

from mim3d.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Intensities that the network tells apart: clipped to this range, then scaled to [0, 1]."""

    low: float = -1000.0
    """What becomes 0, HU."""
    high: float = 1000.0
    """What becomes 1, HU."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"window needs low < high, got {self.low} and {self.high} HU")


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimisation:
    """AdamW with linear warm-up and cosine decay to 0."""

    steps: int = 1000
    """Optimiser steps of the whole run."""
    batch_size: int = 2
    """Samples per step over all devices: regions in pre-training, crops in fine-tuning."""
    lr: float = 1e-3
    """Peak learning rate, for the whole batch."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.05
    """Not applied to biases, norms and embeddings."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW."""
    max_norm: float = 1.0
    """Gradients are clipped to this norm."""

    def __post_init__(self) -> None:
        for name, value, least in (("steps", self.steps, 1), ("batch_size", self.batch_size, 1)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        if self.warmup_steps < 0 or not self.lr > 0:
            raise ConfigError(f"warmup_steps must not be negative and lr positive, got {self}")
        if self.weight_decay < 0 or self.max_norm <= 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"weight_decay must be at least 0, max_norm positive and betas in [0, 1), got {self}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Where and how often; nothing here changes what is learnt, except `precision`."""

    accelerator: str = "auto"
    """`cpu`, `gpu` or `auto`, as Lightning Fabric names them."""
    devices: int = 1
    """Devices, one process each; `batch_size` must divide by it."""
    precision: str = "32-true"
    """As Lightning Fabric names them, e.g. `bf16-mixed`."""
    num_workers: int = 0
    """Processes that read samples; 0 reads in the training process."""
    memory_gb: float = 2.0
    """For what a forward pass keeps, GB: as many crops go forward and backward at once as fit, at least one.
    The sum stays the same. Weights, their gradients and the optimiser's state come on top."""
    compile: bool = False
    """Compile the model with `torch.compile`; needs a C++ compiler."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        if min(self.devices, self.checkpoint_every) < 1 or self.num_workers < 0 or self.memory_gb <= 0:
            raise ConfigError(
                "devices and checkpoint_every must be at least 1, num_workers at least 0 and memory_gb "
                f"positive, got {self}"
            )
