from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mim3d.config import PretrainConfig, Target
from mim3d.data.planes import display_plane
from mim3d.data.store import Store
from mim3d.geometry import Box
from mim3d.model.mim import Mim, Output
from mim3d.model.patches import index_of, patchify, take_tokens
from mim3d.objective.reconstruct import hidden_patches, scale_of
from mim3d.reporting.snapshot_writer import (
    brightest_chain,
    reconstruct,
    write_reconstruction,
    write_segmentation,
)
from mim3d.reporting.snapshots import Reconstruction, read_reconstruction, read_segmentation
from mim3d.sampling.crops import LevelCrops, read_region, select_cases


@pytest.fixture
def region(store: Store, pretraining: PretrainConfig) -> tuple[LevelCrops, ...]:
    return read_region(store, select_cases(store, "train"), pretraining, number=0)[1]


@pytest.fixture
def model(pretraining: PretrainConfig) -> Mim:
    torch.manual_seed(0)
    return Mim(pretraining.nesting, pretraining.architecture, pretraining.alignment)


def perfect(model: Mim, config: PretrainConfig) -> None:
    """Have the model predict the standardised truth."""

    def forward(crops: torch.Tensor, visible: torch.Tensor, hidden: torch.Tensor, level: int) -> Output:
        patches = take_tokens(patchify(crops, config.nesting.patch).flatten(2), hidden)
        scale = (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        return Output((patches - patches.mean(dim=-1, keepdim=True)) / scale, patches, None)

    model.forward = forward  # type: ignore[method-assign,assignment]


def written(path: Path, model: Mim, region: tuple[LevelCrops, ...], config: PretrainConfig) -> Reconstruction:
    write_reconstruction(path / "pictures" / "r.safetensors", model, "a", region, config.nesting, (10, 5, 2))
    assert [file.name for file in (path / "pictures").iterdir()] == ["r.safetensors"]
    found = read_reconstruction(path / "pictures" / "r.safetensors")
    assert found is not None
    return found


def test_one_chain_of_crops_is_written(
    tmp_path: Path, model: Mim, region: tuple[LevelCrops, ...], pretraining: PretrainConfig
) -> None:
    found = written(tmp_path, model, region, pretraining)
    assert (found.case, found.patch, len(found.levels)) == ("a", (4, 4, 4), 3)
    chain = brightest_chain(region)
    for number, (picture, level, row) in enumerate(zip(found.levels, region, chain, strict=True)):
        assert np.array_equal(picture.crop, level.crops[row, 0])
        assert np.array_equal(picture.masked.ravel(), level.masked[row])
        extent = pretraining.nesting.extents()[number]
        assert picture.voxel_mm == pytest.approx(np.array(extent) / 16 * (10, 5, 2))


def test_each_crop_of_the_chain_is_the_brightest_child_of_the_one_before(
    region: tuple[LevelCrops, ...],
) -> None:
    chain = brightest_chain(region)
    assert chain[0] == 0
    for level, above, row in zip(region[1:], chain[:-1], chain[1:], strict=True):
        siblings = [i for i, parent in enumerate(level.parent) if parent == above]
        assert row in siblings
        assert level.crops[row].mean() == max(level.crops[i].mean() for i in siblings)


def test_the_child_lies_in_a_hidden_cell_of_the_picture(
    tmp_path: Path, model: Mim, region: tuple[LevelCrops, ...], pretraining: PretrainConfig
) -> None:
    found = written(tmp_path, model, region, pretraining)
    for number, cell in ((0, 8), (1, 4)):  # sides in voxels of the parent's crop
        picture = found.levels[number]
        child = picture.child
        assert child is not None
        assert child.size == pytest.approx((cell, cell, cell))
        assert np.allclose(np.array(child.start) % cell, 0, atol=1e-4)
        tokens = tuple(
            slice(round(a / 4), round(b / 4)) for a, b in zip(child.start, child.stop, strict=True)
        )
        assert picture.masked[tokens].all()
    assert found.levels[2].child is None


def test_what_was_seen_is_shown_as_it_is_and_what_was_hidden_as_predicted(
    model: Mim, region: tuple[LevelCrops, ...], pretraining: PretrainConfig
) -> None:
    level = region[0]
    nesting = pretraining.nesting
    shown = reconstruct(model, level.crops[:1], level.masked[:1], nesting, 0)
    before = patchify(torch.from_numpy(level.crops[:1]), nesting.patch)[0]
    after = patchify(torch.from_numpy(shown)[None, None], nesting.patch)[0]
    hidden = torch.from_numpy(level.masked[0])
    assert torch.equal(after[~hidden], before[~hidden])
    assert not torch.equal(after[hidden], before[hidden])
    crop = torch.from_numpy(level.crops[:1])
    rows = hidden[None]
    predicted = model(crop, index_of(~rows), index_of(rows)).predicted[0].detach()
    patches = before[hidden].flatten(1)
    expected = predicted * (patches.var(dim=1, keepdim=True) + 1e-6).sqrt() + patches.mean(1, keepdim=True)
    torch.testing.assert_close(after[hidden].flatten(1), expected.clamp(0, 1))
    assert np.array_equal(level.crops[:1], crop.numpy())


def test_a_perfect_model_shows_the_crop(
    model: Mim, region: tuple[LevelCrops, ...], pretraining: PretrainConfig
) -> None:
    perfect(model, pretraining)
    for number, level in enumerate(region):
        shown = reconstruct(model, level.crops[:1], level.masked[:1], pretraining.nesting, number)
        np.testing.assert_allclose(shown, level.crops[0, 0], atol=1e-6)


@pytest.mark.parametrize(
    "target", [Target(kind="raw"), Target(low_pass=2), Target(variance_floor=0.1)], ids=str
)
def test_predictions_are_shown_as_intensities_whatever_the_target(
    model: Mim, region: tuple[LevelCrops, ...], pretraining: PretrainConfig, target: Target
) -> None:
    def forward(crops: torch.Tensor, visible: torch.Tensor, hidden: torch.Tensor, level: int) -> Output:
        patches = hidden_patches(crops, hidden, (4, 4, 4), target)
        scale = scale_of(patches, target)
        return Output(((patches - scale.centre) / scale.deviation).flatten(2), patches, None)

    model.forward = forward  # type: ignore[method-assign,assignment]
    levels = tuple(replace(level, target=target) for level in pretraining.nesting.levels)
    nesting = replace(pretraining.nesting, levels=levels)
    crop, side = torch.from_numpy(region[1].crops[:1]), target.low_pass
    smooth = F.interpolate(F.avg_pool3d(crop, side), scale_factor=side)
    masked = torch.from_numpy(region[1].masked[:1])
    expected = torch.where(
        masked.reshape(1, 1, 4, 1, 4, 1, 4, 1).expand(1, 1, 4, 4, 4, 4, 4, 4).reshape(crop.shape),
        smooth,
        crop,
    )
    shown = reconstruct(model, region[1].crops[:1], region[1].masked[:1], nesting, 1)
    np.testing.assert_allclose(shown, expected[0, 0].numpy(), atol=1e-6)


def maps(places: list[tuple[int, tuple[slice, slice, slice]]]) -> dict[str, NDArray[np.generic]]:
    truth = np.zeros((6, 7, 8), np.uint8)
    for value, place in places:
        truth[place] = value
    image = np.random.default_rng(0).random((6, 7, 8), np.float32)
    return {"image": image, "truth": truth, "prediction": np.roll(truth, 1, axis=0)}


def test_planes_go_through_most_structures(tmp_path: Path) -> None:
    one = maps([(1, Box((0, 0, 0), (5, 5, 2)).slices), (1, Box((4, 3, 6), (1, 1, 1)).slices)])
    two = maps(
        [
            (1, Box((0, 0, 0), (6, 7, 2)).slices),
            (1, Box((4, 3, 6), (1, 1, 1)).slices),
            (2, np.s_[4:5, 4:5, 6:7]),
        ]
    )
    none = maps([])
    file = tmp_path / "segmentation.safetensors"
    cases = [("one", 0.5, (1.0, 2.0, 3.0)), ("two", 0.25, (1.0, 1.0, 1.0)), ("none", None, (1.0, 1.0, 1.0))]
    write_segmentation(file, cases, [one, two, none], ("liver", "spleen"), ("#000000", "#ffffff"))
    found = read_segmentation(file, {})
    assert found is not None
    assert found.structures == ("liver", "spleen")
    assert found.colours == ("#000000", "#ffffff")
    by_name = {case.case: case for case in found.cases}
    assert (by_name["one"].dice, by_name["one"].spacing, by_name["none"].dice) == (0.5, (1.0, 2.0, 3.0), None)
    for case, volumes, index in (("one", one, 0), ("two", two, 6), ("none", none, 4)):
        for name, volume in volumes.items():
            shown = by_name[case].planes["axial"][name]
            assert np.array_equal(shown, display_plane(volume, "axial", index))
