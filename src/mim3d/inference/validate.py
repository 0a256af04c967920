"""A network against the labelled cases of a store, on their working grid.

Shapes: X Y Z space.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple
from mim3d.inference.window import Network, Windows, sweep
from mim3d.metrics.evaluation import Evaluation, summarise
from mim3d.metrics.overlap import dice
from mim3d.metrics.rules import Rules
from mim3d.metrics.scoring import evaluate_case
from mim3d.sampling.crops import IGNORED, read_label_ids
from mim3d.sampling.intensities import read_scaled


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """One case, segmented."""

    case: Case
    predicted: NDArray[np.uint8]
    """(X, Y, Z), ids of the structures asked for."""
    truth: NDArray[np.uint8]
    """(X, Y, Z), the same ids; 255 is ignored."""


def segment_case(
    network: Network, store: Store, case: Case, config: FinetuneConfig, device: str
) -> Segmented:
    """Predict a case of the store, window by window, and read its truth."""
    windows = Windows(shape=case.shape, crop=config.crop, overlap=config.overlap)
    predicted = np.zeros(case.shape, dtype=np.uint8)
    planes = np.moveaxis(predicted, windows.axis, 0)
    read = partial(_read, store, case, config)
    for place, logits in sweep(network, read, windows, device=device):
        planes[place] = logits.argmax(dim=0).numpy()
    truth = read_label_ids(store, case, _box((0, 0, 0), case.shape), config)
    scored: NDArray[np.uint8] = np.where(truth == IGNORED, np.uint8(0), predicted)
    return Segmented(case, scored, truth)


def mean_dice(segmented: list[Segmented], config: FinetuneConfig) -> float:
    """Mean Dice of the structures, each over the cases whose truth or prediction holds it; 0 without any."""
    means = []
    for value in range(1, 1 + len(config.structures)):
        pairs = [(s.predicted == value, s.truth == value) for s in segmented]
        scores = [dice(predicted, truth) for predicted, truth in pairs if predicted.any() or truth.any()]
        if scores:
            means.append(sum(scores) / len(scores))
    return sum(means) / len(means) if means else 0.0


def evaluate_all(
    segmented: Iterable[Segmented],
    config: FinetuneConfig,
    split: str,
    rules: Rules = Rules(),  # noqa: B008  frozen
) -> Evaluation:
    """Dice, HD95 and NSD of every structure, on the working grid."""
    ids = {name: value for value, name in enumerate(config.structures, start=1)}
    scores = [
        replace(
            evaluate_case(s.predicted, s.truth, s.case.spacing, ids, rules, case=s.case.case),
            patient=s.case.patient,
            truth=s.case.hash,
        )
        for s in segmented
    ]
    labels = {name: f"{config.labels}: {name}" for name in ids}
    return summarise(scores, ids, split, grid="working", labels=labels)


def read_image(store: Store, case: Case, config: FinetuneConfig) -> NDArray[np.float32]:
    """The whole volume of a case (X, Y, Z), intensities in [0, 1]; of several channels the first."""
    image: NDArray[np.float32] = read_scaled(store, case, _box((0, 0, 0), case.shape), case.shape, config)[0]
    return image


def _read(store: Store, case: Case, config: FinetuneConfig, start: Triple, size: Triple) -> Tensor:
    return torch.from_numpy(read_scaled(store, case, _box(start, size), size, config))


def _box(start: Triple, size: Triple) -> Box:
    x, y, z = map(float, start)
    return Box((x, y, z), (float(size[0]), float(size[1]), float(size[2])))
