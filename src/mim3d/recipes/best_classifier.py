"""Validation while a classifier learns: the best weights are kept, and at the end scored by all measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mim3d.config import ClassifyConfig
from mim3d.data.catalog import Case, column_of
from mim3d.data.store import Store
from mim3d.inference.classify import classify_cases
from mim3d.metrics.classification import TITLES, ClassEvaluation, evaluate_classes, of_patients
from mim3d.recipes.best_weights import keep_if_best, read_best
from mim3d.recipes.messages import say
from mim3d.run_files import SCORES, WEIGHTS
from mim3d.sampling.classified import truth_of
from mim3d.train.checkpoint import load_weights
from mim3d.train.run_folder import write_json


@dataclass(frozen=True, slots=True, eq=False)
class BestClassifier:
    """Validates every so many steps; RUN/weights.safetensors are always the best so far."""

    run: Path
    store: Store
    cases: Sequence[Case]
    config: ClassifyConfig
    model: nn.Module

    @property
    def measure(self) -> str:
        """Column of metrics.csv by which the best step is chosen."""
        return f"validation_{self.config.chosen_by}"

    def after_step(self, step: int) -> dict[str, float]:
        """The score of the validation cases when it is due, else nothing."""
        if step % self.config.validate_every and step != self.config.optimisation.steps:
            return {}
        score = getattr(self._evaluate(), self.config.chosen_by)
        assert score is not None
        return keep_if_best(self.run, self.model, step, self.measure, score)

    def conclude(self) -> None:
        """Score the best weights by all measures."""
        load_weights(self.model, self.run / WEIGHTS)
        best = read_best(self.run)
        # last: from now on the run counts as finished
        write_json(self.run / SCORES, self._evaluate().to_json() | best)
        measure = TITLES[self.config.chosen_by]
        say(f"{self.run}: best validation {measure} {best[self.measure]:.3f} at step {best['step']}")

    def _evaluate(self) -> ClassEvaluation:
        device = str(next(self.model.parameters()).device)
        self.model.eval()
        found = classify_cases(self.model, self.store, self.cases, self.config, device=device)
        self.model.train()
        evaluation = evaluate_classes(
            found,
            truth_of(self.cases, self.config),
            self.config.classes,
            column_of(self.cases, "case"),
            multi_label=self.config.multi_label,
            target=self.config.target,
            split="val",
        )
        return of_patients(evaluation, column_of(self.cases, "patient"))
