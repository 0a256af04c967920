"""Pictures of what a segmenter finds: its worst cases, as the report shows them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.config import FinetuneConfig
from mim3d.config.structures import names
from mim3d.data.labels import LabelSet
from mim3d.data.store import Store
from mim3d.inference.validate import Segmented, read_image
from mim3d.reporting.snapshot_writer import write_segmentation
from mim3d.sampling.labelled import IGNORED

MOST_PICTURES = 6
"""Cases shown in the report."""


def keeping_worst(
    segmented: Iterable[Segmented], config: FinetuneConfig, kept: list[Segmented]
) -> Iterator[Segmented]:
    """Pass cases on one by one; those with the lowest mean Dice stay in `kept`, the worst first."""
    for one in segmented:
        kept.append(one)
        kept.sort(key=lambda each: _order(mean_of_structures(each, config)))
        del kept[MOST_PICTURES:]
        yield one


def mean_of_structures(segmented: Segmented, config: FinetuneConfig) -> float | None:
    """Mean Dice of a case's structures; None where neither prediction nor truth holds any."""
    dices = segmented.dices(config)
    return fmean(dices.values()) if dices else None


def write_pictures(path: Path, store: Store, segmented: Sequence[Segmented], config: FinetuneConfig) -> None:
    """Write planes of image, truth and prediction of some cases."""
    ids = {name: value for value, name in enumerate(names(config.structures), start=1)}
    colours = LabelSet("prediction", ids)  # as `predict` writes them: told apart, however alike the set's
    write_segmentation(
        path,
        [(s.case.case, mean_of_structures(s, config), s.case.spacing) for s in segmented],
        [_volumes(s, store, config) for s in segmented],
        tuple(ids),
        tuple(map(colours.colour, ids)),
    )


def _order(dice: float | None) -> float:
    return 2.0 if dice is None else dice


def _volumes(segmented: Segmented, store: Store, config: FinetuneConfig) -> dict[str, NDArray[Any]]:
    truth = np.where(segmented.truth == IGNORED, 0, segmented.truth).astype(np.uint8)
    image = read_image(store, segmented.case, config)
    return {"image": image, "truth": truth, "prediction": segmented.predicted}
