"""Frozen encoders against the cases of a store: a linear layer on their maps, and features of whole volumes.

Shapes: N cases, V voxels, D features, O outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config.structures import membership, painted
from mim3d.data.catalog import Case
from mim3d.data.store import Store
from mim3d.downstream.frozen import FrozenEncoder
from mim3d.downstream.linear_probe import LinearProbe, features_at, normalised_maps
from mim3d.downstream.logistic import fit_logistic
from mim3d.inference.window import Progress
from mim3d.sampling.labelled import read_labelled
from mim3d.sampling.voxels import draw_voxels
from mim3d.sampling.whole import read_whole

L2 = 1e-4
"""Penalty of the linear layer's weights."""
VOXELS = 3
"""Sets the draw of voxels apart from that of crops."""


class Amount(NamedTuple):
    """How much of the training cases a probe learns from."""

    crops: int
    voxels: int
    """Of each crop, at most."""


def learn_probe(
    encoder: FrozenEncoder,
    store: Store,
    cases: Sequence[Case],
    config: FinetuneConfig,
    amount: Amount,
    *,
    device: str = "cpu",
    on_crop: Progress | None = None,
) -> LinearProbe:
    """The linear layer that fits some voxels of some training crops best, on the encoder's maps.

    Crops are those that fine-tuning with the same configuration would take.

    Args:
        encoder: In evaluation mode.
        store: Prepared, with labels.
        cases: To learn from, in which all structures were annotated.
        config: Of crops and structures.
        amount: Numbers of crops and of voxels.
        device: Where the encoder runs; the layer is fitted on the CPU.
        on_crop: Called after every crop.
    """
    encoder = encoder.to(torch.device(device))
    features, labels, counts = [], [], []
    for number in range(amount.crops):
        sample = read_labelled(store, cases, config, number)
        random = np.random.default_rng([config.seed, number, VOXELS])
        drawn = draw_voxels(sample.labels, amount.voxels, random)
        with torch.inference_mode():
            maps = normalised_maps(encoder, torch.from_numpy(sample.crop)[None].to(device))
            features.append(features_at(maps, torch.from_numpy(drawn.voxels), config.crop).cpu())  # (V, D)
        labels.append(torch.from_numpy(drawn.labels))
        counts.append(torch.from_numpy(drawn.counts))
        if on_crop is not None:
            on_crop(number + 1, amount.crops)
    truth = _outputs(torch.cat(labels), config)
    learnt = fit_logistic(
        torch.cat(features), truth, l2=L2, multi_label=config.overlapping, counts=torch.cat(counts)
    )
    return LinearProbe(encoder, learnt).to(torch.device(device)).eval()


def whole_features(
    encoder: FrozenEncoder,
    store: Store,
    cases: Sequence[Case],
    config: ClassifyConfig,
    *,
    device: str = "cpu",
    on_case: Progress | None = None,
) -> Tensor:
    """Mean of the last stage's features of each case's whole volume, (N, D), float64."""
    encoder = encoder.to(torch.device(device))
    found = []
    for number, case in enumerate(cases, start=1):
        seen = np.ascontiguousarray(read_whole(store, case, config))
        with torch.inference_mode():
            *_, last = encoder.features(torch.from_numpy(seen)[None].to(device))  # (1, D, X', Y', Z')
        found.append(last[0].flatten(1).double().mean(dim=1).cpu().clone())
        if on_case is not None:
            on_case(number, len(cases))
    return torch.stack(found)


def _outputs(labels: Tensor, config: FinetuneConfig) -> Tensor:
    """Outputs (V, O) that voxels have, by the parts (V,) that they belong to."""
    if config.overlapping:
        return torch.tensor(membership(config.structures)).T[labels]
    return F.one_hot(torch.tensor(painted(config.structures))[labels], config.num_outputs)
