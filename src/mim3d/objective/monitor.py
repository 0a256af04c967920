"""What is logged beside the loss: whether features collapse, and whether reconstruction beats the obvious.

Shapes: N keys, D channels.
"""

import math

from torch import Tensor
from torch.nn import functional as F

from mim3d.config import PretrainConfig

PAIR_COLUMNS = ("align", "found", "found_blind", "align_cosine", "align_spread")
"""Columns of metrics.csv for each pair of adjacent levels."""
YARDSTICKS = {"r2_mean": "error_of_mean", "r2_interpolation": "error_of_interpolation"}
"""Columns for each level, and the errors that reconstruction is held against."""

PROGRESS_WITHOUT = frozenset({*PAIR_COLUMNS[2:], *YARDSTICKS})
"""Kinds of columns that would crowd the line that shows progress."""


def cosine_of(keys: Tensor) -> Tensor:
    """Mean cosine of two different keys of (N, D): 1 if all have collapsed to one direction; 0 of one key."""
    total = F.normalize(keys, dim=-1).double().sum(dim=0)
    return ((total.square().sum() - len(keys)) / max(len(keys) * (len(keys) - 1), 1)).float()


def spread_of(keys: Tensor) -> Tensor:
    """Mean over channels of the standard deviation of normalised keys (N, D), times the root of D.

    About 1 for directions drawn evenly, 0 for keys that have collapsed to one of them.
    Source: Chen and He 2021, arXiv:2011.10566, sec. 4.1.
    """
    deviation = F.normalize(keys, dim=-1).std(dim=0, correction=0)  # (D,)
    return math.sqrt(keys.shape[-1]) * deviation.mean()


def aligns(config: PretrainConfig) -> bool:
    """Whether there is anything to align."""
    return config.alignment.weight > 0 and len(config.nesting.levels) > 1


def columns(config: PretrainConfig) -> list[str]:
    """What `pretrain_chunks` and `derived` give of each step, in the order of metrics.csv."""
    levels = range(len(config.nesting.levels))
    per_level = [f"{name}/{level}" for name in ("reconstruct", *YARDSTICKS) for level in levels]
    per_pair = [f"{name}/{pair}" for name in PAIR_COLUMNS for pair in levels[:-1] if aligns(config)]
    return ["loss", *per_level[: len(levels)], *per_pair, *per_level[len(levels) :]]


def derived(logged: dict[str, float]) -> dict[str, float]:
    """Errors that reconstruction is held against, replaced by the share of them that it takes away.

    That is R^2 = 1 - error / yardstick, over all hidden patches of the batch that count; none where the
    yardstick makes no error.
    """
    kept = {name: value for name, value in logged.items() if name.split("/")[0] not in YARDSTICKS.values()}
    for column, yardstick in YARDSTICKS.items():
        for name, value in logged.items():
            kind, _, level = name.partition("/")
            if kind == yardstick and value > 0:
                kept[f"{column}/{level}"] = 1 - logged[f"reconstruct/{level}"] / value
    return kept
