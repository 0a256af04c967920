"""The learning rate at every step: warm-up, then one of the schedules."""

import math

from mim3d.config import Optimisation

POWER = 0.9
"""Of the polynomial, as in nnU-Net (Isensee et al. 2021, Nature Methods 18)."""


def lr_at(step: int, optimisation: Optimisation) -> float:
    """Learning rate of a step, for the whole batch.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts (`cosine`); Chen et al.
    2017, arXiv:1606.00915, sec. 4.1 (`poly`); Wald et al. 2024, arXiv:2410.23132: two rises, of which only
    the second moves the pre-trained encoder (`sawtooth`).
    """
    begin = second_tooth(optimisation)
    if step < begin:
        return optimisation.lr * (step + 1) / begin
    warmup = min(optimisation.warmup_steps, optimisation.steps - 1 - begin)
    if step < begin + warmup:
        return optimisation.lr * (step - begin + 1) / warmup
    share = (step - begin - warmup) / (optimisation.steps - begin - warmup)
    return optimisation.lr * _shape(min(share, 1.0), optimisation)


def second_tooth(optimisation: Optimisation) -> int:
    """Step from which a sawtooth moves the whole network; 0 for other schedules."""
    if optimisation.schedule != "sawtooth":
        return 0
    return min(optimisation.first_tooth or optimisation.warmup_steps, optimisation.steps - 1)


def _shape(share: float, optimisation: Optimisation) -> float:
    """Rate over its peak, at a share of the steps after warm-up, 0 to 1."""
    if optimisation.schedule == "constant":
        return 1.0
    if optimisation.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    return float((1 - share) ** POWER)
