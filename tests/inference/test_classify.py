"""A scan from a file is classified as the same scan in a store is, bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mim3d.config import ClassifyConfig
from mim3d.config.classify import Intensity
from mim3d.data.case_channels import read_scan
from mim3d.data.place import Place
from mim3d.data.store import Store
from mim3d.data.volume import Volume
from mim3d.downstream.classifier import Classifier
from mim3d.errors import DataError
from mim3d.inference.classify import classify_cases, classify_volume, seen_of
from mim3d.inference.segment import Preprocessing
from mim3d.sampling.whole import read_whole

CLASSES = ("arterial", "native", "portal venous")


@pytest.fixture(scope="module")
def preprocessing(classifying: ClassifyConfig) -> Preprocessing:
    return Preprocessing(modality="CT", window=classifying.window, spacing=(10.0, 10.0, 10.0))


def scan_of(store_path: Place, case: str) -> tuple[Volume, ...]:
    assert isinstance(store_path, Path)
    return read_scan(store_path.parent / "raw" / "imagesTr" / f"{case}_0000.nii.gz", ("CT",))


@pytest.mark.parametrize("crop", [(16, 16, 8), (32, 32, 32), (48, 16, 8)])
@pytest.mark.parametrize("intensity", ["window", "min_max"])
def test_a_file_looks_as_its_case_does(
    store: Store,
    classifying: ClassifyConfig,
    preprocessing: Preprocessing,
    crop: tuple[int, int, int],
    intensity: Intensity,
) -> None:
    config = replace(classifying, crop=crop, intensity=intensity)
    for case in store.catalog.cases[:2]:
        seen = seen_of(scan_of(store.path, case.case), preprocessing, config)
        np.testing.assert_array_equal(seen, read_whole(store, case, config))


def test_a_box_about_the_body_lies_within_a_voxel(
    store: Store, classifying: ClassifyConfig, preprocessing: Preprocessing
) -> None:
    """A store keeps some of the body's voxels, a scan has all: their means are not quite the same."""
    config = replace(classifying, extent=(160.0, 160.0, 80.0))
    case = store.catalog.cases[0]
    seen = seen_of(scan_of(store.path, case.case), preprocessing, config)
    assert np.abs(seen - read_whole(store, case, config)).mean() < 0.02
    middle = np.corrcoef(seen.ravel(), read_whole(store, case, config).ravel())[0, 1]
    assert middle > 0.97


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_of_a_scan_are_those_of_its_case(
    store: Store, classifying: ClassifyConfig, preprocessing: Preprocessing, multi_label: bool
) -> None:
    torch.manual_seed(0)
    config = replace(classifying, classes=CLASSES, multi_label=multi_label)
    network = Classifier(config).eval()
    torch.nn.init.normal_(network.head.weight)
    cases = store.catalog.cases[:2]
    told: list[tuple[int, int]] = []
    table = classify_cases(
        network, store, cases, config, on_case=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)]
    assert multi_label or table.sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    for case, row in zip(cases, table, strict=True):
        found = classify_volume(network, scan_of(store.path, case.case), preprocessing, config)
        assert found == dict(zip(CLASSES, row.tolist(), strict=True))


def test_another_modality_is_refused(classifying: ClassifyConfig, preprocessing: Preprocessing) -> None:
    scan = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4), "MR")
    config = replace(classifying, classes=CLASSES)
    with pytest.raises(DataError, match="modality is MR, but the run learnt from CT"):
        classify_volume(Classifier(config), [scan], preprocessing, config)
