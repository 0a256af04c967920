from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mim3d.data.prepare import prepare_store
from mim3d.data.store import open_store
from mim3d.geometry import Triple, Vector
from mim3d.reporting.inspect_findings import Subject
from mim3d.reporting.inspect_measures import body_mask, coarse_grid, measure


@pytest.mark.parametrize(
    ("shape", "spacing", "scales", "step", "cells"),
    [
        ((320, 320, 400), (1.5, 1.5, 1.5), 3, (4, 4, 4), (80, 80, 100)),
        ((101, 100, 99), (3.0, 3.0, 3.0), 3, (2, 2, 2), (50, 50, 49)),
        ((100, 100, 100), (3.0, 3.0, 3.0), 1, (1, 1, 1), (100, 100, 100)),
        ((60, 60, 60), (8.0, 8.0, 8.0), 2, (1, 1, 1), (60, 60, 60)),
        ((512, 512, 120), (0.7, 0.7, 5.0), 3, (2, 2, 2), (256, 256, 60)),
    ],
)
def test_the_coarsest_scale_that_suffices_is_looked_at(
    subject: Subject, shape: Triple, spacing: Vector, scales: int, step: Triple, cells: Triple
) -> None:
    case = replace(subject.case, shape=shape, spacing=spacing, scales=scales)
    assert coarse_grid(case) == (step, cells)


def test_lungs_are_within_the_body() -> None:
    image = np.full((20, 20, 6), -1000.0, np.float32)
    image[4:16, 4:16] = 40.0
    image[7:10, 7:13] = -850.0
    expected = np.zeros((20, 20, 6), bool)
    expected[3:17, 3:17] = True
    np.testing.assert_array_equal(body_mask(image, "CT"), expected)


def test_padded_and_missing_slices_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 100, (16, 16, 20)).astype(np.int16)
    hu[:, :, :5] = hu[:, :, 10] = -1024
    (tmp_path / "raw").mkdir()
    nibabel.Nifti1Image(hu, np.diag([7.0, 7.0, 7.0, 1.0])).to_filename(tmp_path / "raw" / "scan.nii.gz")
    prepare_store(tmp_path / "raw", tmp_path / "store", spacing="native", workers=1)
    store = open_store(tmp_path / "store")
    measures = measure(store, store.catalog.cases[0], ())
    assert measures.constant == (0.0, 0.0, 0.3)
    assert measures.constant_inside == (0, 0, 1)
    assert measures.darkest == -1024
    assert measures.structures == {}
