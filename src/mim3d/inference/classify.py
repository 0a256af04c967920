"""A classifier and a scan, or the cases of a store, in; probabilities of the classes out.

Shapes: N cases, K classes, C channels, X Y Z space.
"""

from collections.abc import Sequence
from itertools import chain, combinations, product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mim3d.config import ClassifyConfig
from mim3d.data.case_channels import quantised, read_scan
from mim3d.data.catalog import Case
from mim3d.data.cells import look
from mim3d.data.intensity import body_of, require_contrast, statistics
from mim3d.data.store import Store
from mim3d.data.volume import Volume, canonical
from mim3d.data.working_grid import OnGrid, on_working_grid
from mim3d.downstream.classifier import load_classifier
from mim3d.geometry import Triple
from mim3d.inference.segment import Preprocessing, read_preprocessing, require_modality
from mim3d.inference.window import Progress
from mim3d.objective.classify import class_probabilities
from mim3d.sampling.intensities import window_for, windowed
from mim3d.sampling.whole import read_whole, seen_box


def classify_scan(run: Path, scan: Path, *, device: str = "cpu") -> dict[str, float]:
    """Probability of each class for a scan, which is prepared as those that the run saw.

    Args:
        run: Run folder of a classifier.
        scan: NIfTI, NRRD or MetaImage file, or a folder with one DICOM series; any spacing and orientation.
            Of a run on several channels: one file with all of them, or files joined by `;`, in their order.
        device: Where the network runs.

    Raises:
        CheckpointError: If the run is none of classification, is unfinished or damaged.
        DataError: If the scan cannot be read, or is of another modality.
    """
    network, config = load_classifier(run, device)
    preprocessing = read_preprocessing(run)
    channels = read_scan(scan, preprocessing.of_channels)
    return classify_volume(network, channels, preprocessing, config, device=device)


def classify_volume(
    network: nn.Module,
    channels: Sequence[Volume],
    preprocessing: Preprocessing,
    config: ClassifyConfig,
    *,
    device: str = "cpu",
) -> dict[str, float]:
    """Probability of each class for the channels of a scan as `read_scan` gives them.

    Raises:
        DataError: If the modality is another one than the run's, or channels do not lie on one grid.
    """
    return classify_together([network], channels, preprocessing, config, device=device)


def classify_together(
    networks: Sequence[nn.Module],
    channels: Sequence[Volume],
    preprocessing: Preprocessing,
    config: ClassifyConfig,
    *,
    flips: Sequence[int] = (),
    device: str = "cpu",
    on_volume: Progress | None = None,
) -> dict[str, float]:
    """Probability of each class for the channels of a scan, the mean over networks and mirror images.

    Args:
        networks: In evaluation mode, on the device; all see the same of a scan.
        channels: As `read_scan` gives them.
        preprocessing: Of all networks.
        config: Of the first; those of the others have the same classes and crop.
        flips: Axes along which the crop is mirrored too, in all combinations.
        device: Where the networks run.
        on_volume: Told how many volumes went through a network, and how many will.

    Raises:
        DataError: If the modality is another one than the runs', or channels do not lie on one grid.
    """
    require_modality(channels, preprocessing)
    seen = seen_of(channels, preprocessing, config)
    images = [np.flip(seen, axes) for axes in _combinations(flips)]
    found = []
    for network, image in product(networks, images):
        found.append(_probabilities(network, image, config, device))
        if on_volume is not None:
            on_volume(len(found), len(networks) * len(images))
    return dict(zip(config.classes, map(float, np.mean(found, axis=0)), strict=True))


def _combinations(flips: Sequence[int]) -> list[tuple[int, ...]]:
    """Axes of (C, X, Y, Z) to mirror along for each mirror image, the first being none."""
    sets = chain.from_iterable(combinations(flips, count) for count in range(len(flips) + 1))
    return [tuple(axis + 1 for axis in each) for each in sets]


def classify_cases(
    network: nn.Module,
    store: Store,
    cases: Sequence[Case],
    config: ClassifyConfig,
    *,
    device: str = "cpu",
    on_case: Progress | None = None,
) -> NDArray[np.float64]:
    """Probabilities (N, K) for cases of a store."""
    found = np.empty((len(cases), len(config.classes)))
    for number, case in enumerate(cases):
        found[number] = _probabilities(network, read_whole(store, case, config), config, device)
        if on_case is not None:
            on_case(number + 1, len(cases))
    return found


def seen_of(
    channels: Sequence[Volume], preprocessing: Preprocessing, config: ClassifyConfig
) -> NDArray[np.float32]:
    """What a classifier sees of a scan, (C, X, Y, Z) in [0, 1]: as `read_whole`, without a store."""
    volumes = [canonical(one) for one in channels]
    kept = quantised(volumes)
    volumes = [Volume(one.array, each.affine, each.modality) for one, each in zip(kept, volumes, strict=True)]
    found = on_working_grid(volumes, kept, preprocessing.spacing)
    windows = []
    for one, volume in zip(found.kept, volumes, strict=True):
        measured = statistics(one, volume.modality)
        require_contrast(volume.modality, measured)
        windows.append(window_for(config, volume.modality, one.padding, measured))
    x, y, z = found.working[0].shape
    shape: Triple = (x, y, z)
    body = None if config.extent is None else _body(found, volumes)
    box = seen_box(shape, preprocessing.spacing or found.straight[0].spacing, config.extent, body)
    return windowed(look(found.kept, box, config.crop), windows)


def _body(found: OnGrid, volumes: Sequence[Volume]) -> NDArray[np.int32]:
    """Voxels (N, 3) of the working grid that are body in any channel."""
    anywhere = np.logical_or.reduce(
        [body_of(one, volume.modality) for one, volume in zip(found.kept, volumes, strict=True)]
    )
    return np.argwhere(anywhere).astype(np.int32)


def _probabilities(
    network: nn.Module, seen: NDArray[np.float32], config: ClassifyConfig, device: str
) -> NDArray[np.float64]:
    """Of one volume (C, X, Y, Z), (K,)."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.ascontiguousarray(seen))[None].to(device))  # (1, K)
        found = class_probabilities(logits.double(), multi_label=config.multi_label)[0]
    return np.asarray(found.cpu().numpy(), np.float64)
