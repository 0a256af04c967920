import numpy as np
import pytest
import surface_distance
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mim3d.errors import DataError, GeometryError
from mim3d.geometry import Vector
from mim3d.metrics.surface import hd95, nsd, surface_distances

SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.5, 2.5, 5.0])] * 3)


def blob(seed: int, shape: tuple[int, int, int], share: float) -> NDArray[np.bool_]:
    noise = gaussian_filter(np.random.default_rng(seed).random(shape), 1.0 if seed % 3 else 0.0)
    blobs: NDArray[np.bool_] = noise >= np.quantile(noise, 1 - share)
    return blobs


# The reference calls scipy by names that are on their way out.
@pytest.mark.filterwarnings("ignore:Please import .* from the .scipy.ndimage. namespace:DeprecationWarning")
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    shares=st.tuples(*[st.floats(0.05, 1.0)] * 2),
    spacing=SPACINGS,
    tolerance=st.floats(0.5, 6.0),
)
def test_agrees_with_the_independent_implementation(
    seed: int,
    shape: tuple[int, int, int],
    shares: tuple[float, float],
    spacing: Vector,
    tolerance: float,
) -> None:
    predicted, truth = blob(seed, shape, shares[0]), blob(seed + 1, shape, shares[1])
    reference = surface_distance.compute_surface_distances(truth, predicted, spacing)
    ours = surface_distances(predicted, truth, spacing)
    for side, name in ((ours.from_truth, "gt_to_pred"), (ours.from_predicted, "pred_to_gt")):
        assert side.distances == pytest.approx(reference[f"distances_{name}"], rel=1e-12)
        assert side.areas.sum() == pytest.approx(reference[f"surfel_areas_{name[: name.index('_')]}"].sum())
    assert hd95(ours) == pytest.approx(surface_distance.compute_robust_hausdorff(reference, 95), rel=1e-12)
    expected = surface_distance.compute_surface_dice_at_tolerance(reference, tolerance)
    assert nsd(ours, tolerance) == pytest.approx(expected, abs=1e-12)


def test_the_same_structure_is_nowhere_apart() -> None:
    structure = blob(1, (6, 7, 8), 0.4)
    distances = surface_distances(structure, structure, (1.0, 1.0, 3.0))
    assert hd95(distances) == 0
    assert nsd(distances, 0.0) == 1


def test_parallel_planes_are_their_distance_apart() -> None:
    truth = np.zeros((20, 20, 20), bool)
    truth[:, :, :8] = True
    predicted = np.zeros_like(truth)
    predicted[:, :, :10] = True
    distances = surface_distances(predicted, truth, (1.0, 1.0, 2.5))
    assert distances.from_predicted.percentile(1.0) == pytest.approx(5.0)
    assert nsd(distances, 5.0) == 1
    assert nsd(distances, 4.9) < 1


def test_the_place_in_the_array_does_not_matter() -> None:
    shift = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), bool)
    for part, whole in zip((blob(2, (5, 5, 5), 0.3), blob(4, (5, 5, 5), 0.3)), shift, strict=True):
        whole[4:9, 2:7, 7:12] = part
    small = surface_distances(blob(2, (5, 5, 5), 0.3), blob(4, (5, 5, 5), 0.3), (1.0, 2.0, 3.0))
    assert hd95(surface_distances(*shift, (1.0, 2.0, 3.0))) == hd95(small)


def test_refuses_two_shapes() -> None:
    with pytest.raises(
        GeometryError, match=r"predicted \(2, 2, 2\) and truth \(2, 2, 3\) must have the same"
    ):
        surface_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), (1.0, 1.0, 1.0))


def test_refuses_an_empty_structure() -> None:
    with pytest.raises(DataError, match="at least one voxel in both structures, one has none"):
        surface_distances(np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1.0, 1.0, 1.0))
