import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import Window
from mim3d.data.volume import Volume
from mim3d.errors import CheckpointError, ConfigError, DataError
from mim3d.geometry import Vector
from mim3d.inference.crops import Network
from mim3d.inference.segment import Model, Preprocessing, Sweep, read_preprocessing, segment

CROP = (4, 4, 4)


def above_zero(crops: Tensor) -> Tensor:
    """Two classes: structure 1 is what lies above 0 HU in a window of -1000 to 1000."""
    return torch.cat([torch.full_like(crops, 0.5), crops], dim=1)


def preprocessing(spacing: Vector | None, modality: str = "CT") -> Preprocessing:
    return Preprocessing(modality=modality, window=Window(), spacing=spacing)


def model(spacing: Vector | None, *networks: Network) -> Model:
    return Model(networks=networks or (above_zero,), preprocessing=preprocessing(spacing), crop=CROP)


def affine_of(order: tuple[int, ...], signs: tuple[int, ...], spacing: Vector) -> NDArray[np.float64]:
    """Array axis i runs along world axis order[i], in the direction of signs[i]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * spacing[axis]
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return affine


@settings(deadline=None, max_examples=30)
@given(
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    seed=st.integers(0, 100),
)
def test_the_label_map_lies_on_the_scan_as_stored(
    order: list[int], signs: tuple[int, ...], shape: tuple[int, int, int], seed: int
) -> None:
    hu = np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)
    hu[0, 0, 0], hu[-1, -1, -1] = 500, -500
    stored = Volume(hu, affine_of(tuple(order), signs, (0.7, 1.1, 2.5)))
    labels = segment(model(None), stored, Sweep(overlap=0.5))
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, hu > 0)


def test_a_structure_keeps_its_place_on_a_coarser_working_grid() -> None:
    hu = np.full((24, 24, 24), -500, np.int16)
    hu[8:16, 4:12, 12:20] = 500
    stored = Volume(hu, affine_of((1, 0, 2), (-1, 1, -1), (0.5, 0.5, 0.5)))
    labels = segment(model((1.0, 1.0, 1.0)), stored, Sweep(overlap=0.25))
    differs = labels != (hu > 0)
    assert labels.shape == hu.shape
    assert not differs[9:15, 5:11, 13:19].any()
    assert differs.mean() < 0.02


def test_refuses_another_modality() -> None:
    stored = Volume(np.zeros((4, 4, 4), np.int16), np.eye(4), "MR")
    message = "modality is MR, but the run learnt from CT; give a CT scan, or a run fine-tuned on MR"
    with pytest.raises(DataError, match=message):
        segment(model(None), stored, Sweep(overlap=0.5))


def test_reads_what_a_run_says(tmp_path: Path) -> None:
    said = {
        "modality": "CT",
        "window": {"low": -175.0, "high": 250.0},
        "spacing": [1.5, 1.5, 2.0],
        "channels": 1,
    }
    (tmp_path / "preprocessing.json").write_text(json.dumps(said))
    read = read_preprocessing(tmp_path)
    assert (read.modality, read.window, read.spacing) == ("CT", Window(low=-175, high=250), (1.5, 1.5, 2.0))
    (tmp_path / "preprocessing.json").write_text(json.dumps({**said, "spacing": None}))
    assert read_preprocessing(tmp_path).spacing is None


@pytest.mark.parametrize("text", [None, "{", '{"modality": "CT"}', '{"modality": "CT", "window": 1}'])
def test_refuses_a_run_that_does_not_say(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "preprocessing.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"preprocessing.json: not readable \(.*copy it again"):
        read_preprocessing(tmp_path)


def test_several_networks_are_one_on_their_mean_probability() -> None:
    hu = np.random.default_rng(0).integers(-900, 900, (6, 5, 7)).astype(np.int16)
    stored = Volume(hu, np.diag([-0.7, 1.1, 2.5, 1.0]))
    told: list[tuple[int, int]] = []

    def sure(crops: Tensor) -> Tensor:
        """Structure 1 wherever intensities exceed 0.9, and very sure of it."""
        return 50 * torch.cat([torch.full_like(crops, 0.9), crops], dim=1)

    seen = np.zeros(hu.shape, np.float32)

    def on_slice(axis: int, number: int, probabilities: Tensor) -> None:
        np.moveaxis(seen, axis, 0)[number] = probabilities[1].numpy()

    labels = segment(
        model(None, above_zero, sure),
        stored,
        Sweep(overlap=0.0),
        on_windows=lambda *n: told.append(n),
        on_slice=on_slice,
    )
    intensity = torch.from_numpy(((hu.astype(np.float32) + 1000) / 2000)[::-1].copy())  # canonical
    mean = ((intensity - 0.5).sigmoid() + (50 * (intensity - 0.9)).sigmoid()) / 2
    np.testing.assert_allclose(seen, mean.numpy(), atol=1e-5)
    assert np.array_equal(labels, (mean.numpy() > 0.5)[::-1])
    assert [done for done, _ in told] == list(range(1, 1 + told[0][1]))


def test_settings_are_checked_before_a_scan_is_read() -> None:
    with pytest.raises(ConfigError, match=r"overlap must lie in \[0, 1\), got 1"):
        Sweep(overlap=1)
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        Sweep(batch_size=0)
