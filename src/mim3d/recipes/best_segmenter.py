"""Validation while a segmenter learns: the best weights are kept, and at the end scored and pictured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mim3d.config import FinetuneConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.inference.validate import Segmented, evaluate_all, mean_dice, segment_case
from mim3d.recipes.best_weights import keep_if_best, read_best
from mim3d.recipes.messages import say
from mim3d.recipes.pictures import keeping_worst, write_pictures
from mim3d.run_files import SCORES, WEIGHTS
from mim3d.train.checkpoint import load_weights
from mim3d.train.run_folder import write_json

MEASURE = "validation_dice"


@dataclass(frozen=True, slots=True, eq=False)
class BestSegmenter:
    """Validates every so many steps; RUN/weights.safetensors are always the best so far."""

    run: Path
    store: Store
    cases: Sequence[Case]
    config: FinetuneConfig
    model: nn.Module

    @property
    def measure(self) -> str:
        """Column of metrics.csv by which the best step is chosen."""
        return MEASURE

    def after_step(self, step: int) -> dict[str, float]:
        """Mean Dice on the validation cases when it is due, else nothing."""
        if step % self.config.validate_every and step != self.config.optimisation.steps:
            return {}
        return keep_if_best(self.run, self.model, step, MEASURE, mean_dice(self._segment(), self.config))

    def conclude(self) -> None:
        """Score the best weights by all metrics, and picture what they find."""
        load_weights(self.model, self.run / WEIGHTS)
        worst: list[Segmented] = []
        segmented = keeping_worst(self._segment(), self.config, worst)
        evaluation = evaluate_all(segmented, self.config, "val")
        write_pictures(self.run / "pictures" / "segmentation.safetensors", self.store, worst, self.config)
        # last: from now on the run counts as finished
        best = read_best(self.run)
        write_json(self.run / SCORES, evaluation.to_json() | best)
        say(f"{self.run}: best validation Dice {best[MEASURE]:.3f} at step {best['step']}")

    def _segment(self) -> list[Segmented]:
        device = str(next(self.model.parameters()).device)
        self.model.eval()
        segmented = [segment_case(self.model, self.store, c, self.config, device) for c in self.cases]
        self.model.train()
        return segmented
