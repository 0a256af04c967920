"""A network against the labelled cases of a store, on their working grid.

Shapes: X Y Z space.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.config.structures import names, painted, values
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple
from mim3d.inference.decide import decide
from mim3d.inference.window import Network, Windows, sweep
from mim3d.metrics.evaluation import CaseScore, Evaluation, evaluate_case, summarise
from mim3d.metrics.overlap import dice
from mim3d.sampling.annotated import annotated_structures
from mim3d.sampling.intensities import read_scaled
from mim3d.sampling.labelled import IGNORED, read_label_ids


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """One case, segmented."""

    case: Case
    predicted: NDArray[np.uint8]
    """(X, Y, Z), values 1, 2, ... of the structures asked for, later ones painted over earlier ones."""
    truth: NDArray[np.uint8]
    """(X, Y, Z), the same values; 255 is ignored."""
    annotated: tuple[str, ...]
    """Structures that were annotated in this case: the others are not scored."""

    def structures(
        self, config: FinetuneConfig
    ) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Name of each annotated structure, and where it is in prediction and truth, (X, Y, Z)."""
        for name, own in values(config.structures).items():
            if name in self.annotated:
                yield name, _where(self.predicted, own), _where(self.truth, own)

    def dices(self, config: FinetuneConfig) -> dict[str, float]:
        """Dice of each annotated structure that prediction or truth holds."""
        found = self.structures(config)
        return {
            name: dice(predicted, truth) for name, predicted, truth in found if predicted.any() or truth.any()
        }


def segment_case(
    network: Network, store: Store, case: Case, config: FinetuneConfig, device: str
) -> Segmented:
    """Predict a case of the store, window by window, and read its truth."""
    windows = Windows(shape=case.shape, crop=config.crop, overlap=config.overlap)
    predicted = np.zeros(case.shape, dtype=np.uint8)
    planes = np.moveaxis(predicted, windows.axis, 0)
    read = partial(_read, store, case, config)
    for place, logits in sweep(network, read, windows, device=device):
        planes[place] = decide(logits, config.overlapping)
    ids = read_label_ids(store, case, _box((0, 0, 0), case.shape), config)
    truth = _values_of_ids(config)[ids]
    scored: NDArray[np.uint8] = np.where(truth == IGNORED, np.uint8(0), predicted)
    annotated = annotated_structures(store, case, config)
    known = tuple(name for name, seen in zip(names(config.structures), annotated, strict=True) if seen)
    return Segmented(case, scored, truth, known)


def mean_dice(segmented: list[Segmented], config: FinetuneConfig) -> float:
    """Mean Dice of the structures, each over the cases whose truth or prediction holds it; 0 without any."""
    cases = [one.dices(config) for one in segmented]
    scores = [[case[name] for case in cases if name in case] for name in names(config.structures)]
    means = [sum(some) / len(some) for some in scores if some]
    return sum(means) / len(means) if means else 0.0


def evaluate_all(segmented: list[Segmented], config: FinetuneConfig, split: str) -> Evaluation:
    """Dice, HD95 and NSD of every structure, in the cases in which it was annotated."""
    score = _score_apart if config.overlapping else _score_together
    return summarise([score(one, config) for one in segmented], names(config.structures), split)


def _score_together(one: Segmented, config: FinetuneConfig) -> CaseScore:
    ids = {name: value for value, name in enumerate(names(config.structures), start=1)}
    spacing, case = one.case.spacing, one.case.case
    return evaluate_case(one.predicted, one.truth, spacing, ids, annotated=one.annotated, case=case)


def _score_apart(one: Segmented, config: FinetuneConfig) -> CaseScore:
    """Structure by structure, as they may share voxels."""
    scores = [
        evaluate_case(predicted.view(np.uint8), truth.view(np.uint8), one.case.spacing, {name: 1})
        for name, predicted, truth in one.structures(config)
    ]
    return CaseScore(case=one.case.case, scores=tuple(row for case in scores for row in case.scores))


def read_image(store: Store, case: Case, config: FinetuneConfig) -> NDArray[np.float32]:
    """The whole volume of a case (X, Y, Z), intensities in [0, 1]; of several channels the first."""
    image: NDArray[np.float32] = read_scaled(store, case, _box((0, 0, 0), case.shape), case.shape, config)[0]
    return image


def _values_of_ids(config: FinetuneConfig) -> NDArray[np.uint8]:
    """Value in a label map of each id of a part (256,); what is ignored stays so."""
    table = np.full(256, IGNORED, np.uint8)
    shown = painted(config.structures)
    table[: len(shown)] = shown
    return table


def _where(labels: NDArray[np.uint8], own: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where a label map has one of the values."""
    return labels == own[0] if len(own) == 1 else np.isin(labels, own)


def _read(store: Store, case: Case, config: FinetuneConfig, start: Triple, size: Triple) -> Tensor:
    return torch.from_numpy(read_scaled(store, case, _box(start, size), size, config))


def _box(start: Triple, size: Triple) -> Box:
    x, y, z = map(float, start)
    return Box((x, y, z), (float(size[0]), float(size[1]), float(size[2])))
