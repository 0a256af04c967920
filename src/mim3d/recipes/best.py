"""Validation while a segmenter learns: the best weights are kept, and at the end scored and pictured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mim3d.config import FinetuneConfig
from mim3d.config.structures import names
from mim3d.data.catalog import Case
from mim3d.data.labels import LabelSet
from mim3d.data.store import Store
from mim3d.inference.validate import Segmented, evaluate_all, mean_dice, read_image, segment_case
from mim3d.recipes.run import say
from mim3d.reporting.snapshot_writer import write_segmentation
from mim3d.sampling.labelled import IGNORED
from mim3d.train.checkpoint import load_weights, save_weights
from mim3d.train.run_folder import read_json, write_json

SCORES = "validation.json"
MOST_PICTURES = 4
"""Cases shown in the report."""


@dataclass(frozen=True, slots=True, eq=False)
class BestWeights:
    """Validates every so many steps; RUN/weights.safetensors are always the best so far."""

    run: Path
    store: Store
    cases: Sequence[Case]
    config: FinetuneConfig
    model: nn.Module

    def after_step(self, step: int) -> dict[str, float]:
        """Mean Dice on the validation cases when it is due, else nothing."""
        if step % self.config.validate_every and step != self.config.optimisation.steps:
            return {}
        score = mean_dice(self._segment(), self.config)
        if score > self._best():
            save_weights(self.model, self.run / "weights.safetensors")
            write_json(self.run / "best.json", {"step": step, "validation_dice": score})
        return {"validation_dice": score}

    def conclude(self) -> None:
        """Score the best weights by all metrics, and picture what they find."""
        load_weights(self.model, self.run / "weights.safetensors")
        segmented = self._segment()
        self._picture(segmented[:MOST_PICTURES])
        evaluation = evaluate_all(segmented, self.config, "val")
        # last: from now on the run counts as finished
        write_json(self.run / SCORES, evaluation.to_json() | self._read_best())
        say(f"{self.run}: best validation Dice {self._best():.3f} at step {self._read_best()['step']}")

    def _segment(self) -> list[Segmented]:
        device = str(next(self.model.parameters()).device)
        self.model.eval()
        segmented = [segment_case(self.model, self.store, c, self.config, device) for c in self.cases]
        self.model.train()
        return segmented

    def _best(self) -> float:
        return float(self._read_best().get("validation_dice", -1.0))

    def _read_best(self) -> dict[str, Any]:
        path = self.run / "best.json"
        return read_json(path) if path.exists() else {}

    def _picture(self, segmented: list[Segmented]) -> None:
        ids = {name: value for value, name in enumerate(names(self.config.structures), start=1)}
        colours = LabelSet("prediction", ids)  # as `predict` writes them: told apart, however alike the set's
        write_segmentation(
            self.run / "pictures" / "segmentation.safetensors",
            [(s.case.case, _mean(s.dices(self.config)), s.case.spacing) for s in segmented],
            [self._volumes(s) for s in segmented],
            tuple(ids),
            tuple(map(colours.colour, ids)),
        )

    def _volumes(self, segmented: Segmented) -> dict[str, NDArray[Any]]:
        truth = np.where(segmented.truth == IGNORED, 0, segmented.truth).astype(np.uint8)
        image = read_image(self.store, segmented.case, self.config)
        return {"image": image, "truth": truth, "prediction": segmented.predicted}


def _mean(dices: dict[str, float]) -> float | None:
    return sum(dices.values()) / len(dices) if dices else None
