"""The best weights of a task so far: RUN/weights.safetensors, and RUN/best.json with their step and score."""

from pathlib import Path
from typing import Any

from torch import nn

from mim3d.run_files import BEST, WEIGHTS
from mim3d.train.checkpoint import save_weights
from mim3d.train.run_folder import read_json, write_json


def keep_if_best(run: Path, model: nn.Module, step: int, measure: str, score: float) -> dict[str, float]:
    """Write the weights down if none before had such a score; gives what is logged of the step.

    Args:
        run: Run folder.
        model: As it is after `step`.
        step: Optimiser steps done.
        measure: Name of the score, larger is better.
        score: On the validation cases.
    """
    if score > float(read_best(run).get(measure, -1.0)):
        save_weights(model, run / WEIGHTS)
        write_json(run / BEST, {"step": step, measure: score})
    return {measure: score}


def read_best(run: Path) -> dict[str, Any]:
    """Step and score of the best weights; nothing before the first validation."""
    return read_json(run / BEST) if (run / BEST).exists() else {}
