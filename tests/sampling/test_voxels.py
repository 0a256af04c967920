import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mim3d.sampling.labelled import IGNORED
from mim3d.sampling.voxels import draw_voxels

LABELS = arrays.arrays(np.uint8, (4, 3, 5), elements=st.sampled_from([0, 1, 2, IGNORED]))


@given(labels=LABELS, count=st.integers(1, 80), seed=st.integers(0, 9))
def test_drawn_voxels_stand_for_all_that_is_known(
    labels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]], count: int, seed: int
) -> None:
    drawn = draw_voxels(labels, count, np.random.default_rng(seed))
    assert labels[tuple(drawn.voxels.T)].tolist() == drawn.labels.tolist()
    assert len({tuple(voxel) for voxel in drawn.voxels.tolist()}) == len(drawn.voxels)
    present = set(np.unique(labels).tolist()) - {IGNORED}
    assert set(drawn.labels.tolist()) == present
    for value in present:
        standing = drawn.counts[drawn.labels == value]
        assert np.isclose(standing.sum(), (labels == value).sum())
        assert len(standing) <= max(1, count // len(present))
    again = draw_voxels(labels, count, np.random.default_rng(seed))
    assert again.voxels.tolist() == drawn.voxels.tolist()
