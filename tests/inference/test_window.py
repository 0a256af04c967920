from collections.abc import Callable
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from torch import Tensor

from mim3d.errors import ConfigError
from mim3d.geometry import Triple
from mim3d.inference import window
from mim3d.inference.window import Plane, Read, Windows, gaussian, sweep

SIZES = st.tuples(*[st.integers(1, 11)] * 3)
CROPS = st.tuples(*[st.sampled_from([4, 5, 8])] * 3)


def reader(volume: Tensor) -> Read:
    def read(start: Triple, size: Triple) -> Tensor:
        assert min(start) >= 0
        assert all(a + b <= n for a, b, n in zip(start, size, volume.shape[1:], strict=True))
        box = tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))
        return volume[(slice(None), *box)]

    return read


def network(seed: int = 0) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn((3, 1, 3, 3, 3), generator=generator)

    def forward(crops: Tensor) -> Tensor:
        return torch.nn.functional.conv3d(crops, kernel, padding=1)

    return forward


def stacked(planes: list[Plane], axis: int) -> Tensor:
    assert [place for place, _ in planes] == list(range(len(planes)))
    return torch.stack([plane for _, plane in planes], dim=axis + 1)


def plain(forward: Callable[[Tensor], Tensor], volume: Tensor, windows: Windows) -> Tensor:
    """The whole volume's logits and weights held at once."""
    missing = [max(c - n, 0) for n, c in zip(windows.shape, windows.crop, strict=True)]
    sides = [side for m in reversed(missing) for side in (m // 2, m - m // 2)]
    padded = torch.nn.functional.pad(volume, sides)
    logits, weights = torch.zeros(3, *padded.shape[1:]), torch.zeros(padded.shape[1:])
    for corner in product(*(windows.starts(axis) for axis in range(3))):
        box = tuple(slice(a, a + c) for a, c in zip(corner, windows.crop, strict=True))
        logits[(slice(None), *box)] += forward(padded[(slice(None), *box)][None])[0] * gaussian(windows.crop)
        weights[box] += gaussian(windows.crop)
    inside = tuple(slice(m // 2, m // 2 + n) for m, n in zip(missing, windows.shape, strict=True))
    return (logits / weights)[(slice(None), *inside)]


@settings(max_examples=25, deadline=None)
@given(shape=SIZES, crop=CROPS, overlap=st.sampled_from([0.0, 0.25, 0.5]), batch=st.integers(1, 3))
def test_agrees_with_holding_everything(shape: Triple, crop: Triple, overlap: float, batch: int) -> None:
    volume = torch.rand((1, *shape), generator=torch.Generator().manual_seed(1))
    windows = Windows(shape=shape, crop=crop, overlap=overlap, batch_size=batch)
    result = stacked(list(sweep(network(), reader(volume), windows)), windows.axis)
    torch.testing.assert_close(result, plain(network(), volume, windows), rtol=1e-4, atol=1e-5)


# Shapes for which evenly spread windows are where MONAI puts them; the last is padded.
@pytest.mark.parametrize("shape", [(16, 8, 24), (20, 12, 8), (24, 16, 12), (5, 8, 7)])
def test_agrees_with_monai(shape: Triple) -> None:
    volume = torch.rand((1, *shape), generator=torch.Generator().manual_seed(2))
    crop = (8, 8, 8)
    expected = sliding_window_inference(
        volume[None],
        crop,
        2,
        network(),
        overlap=0.5,
        mode="gaussian",
        sigma_scale=0.125,
        padding_mode="constant",
    )
    assert isinstance(expected, Tensor)
    windows = Windows(shape=shape, crop=crop, batch_size=3)
    result = stacked(list(sweep(network(), reader(volume), windows)), windows.axis)
    torch.testing.assert_close(result, expected[0], rtol=1e-4, atol=1e-5)


@given(shape=SIZES, crop=CROPS, overlap=st.floats(0, 0.9))
def test_windows_cover_the_volume_with_the_overlap_asked_for(
    shape: Triple, crop: Triple, overlap: float
) -> None:
    windows = Windows(shape=shape, crop=crop, overlap=overlap)
    for axis in range(3):
        starts = windows.starts(axis)
        assert starts[0] == 0
        assert starts[-1] == max(shape[axis] - crop[axis], 0)
        step = max(int(crop[axis] * (1 - overlap)), 1)
        assert all(0 < b - a <= step for a, b in pairwise(starts))


def test_never_holds_more_than_a_crop_of_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def add(sums: object, *rest: object) -> None:
        original(sums, *rest)  # type: ignore[arg-type]
        held.append(len(sums))  # type: ignore[arg-type]

    original = window._add
    monkeypatch.setattr(window, "_add", add)
    windows = Windows(shape=(8, 10, 64), crop=(4, 4, 4))
    volume = torch.rand(1, 8, 10, 64)
    planes = list(sweep(network(), reader(volume), windows))
    assert windows.axis == 2
    assert len(planes) == 64
    assert {tuple(plane.shape) for _, plane in planes} == {(3, 8, 10)}
    assert max(held) == 4


def test_planes_come_before_the_rest_is_read() -> None:
    volume = torch.rand(1, 4, 4, 40)
    deepest: list[int] = []

    def read(start: Triple, size: Triple) -> Tensor:
        deepest.append(start[2] + size[2])
        return reader(volume)(start, size)

    planes = sweep(network(), read, Windows(shape=(4, 4, 40), crop=(4, 4, 4)))
    for place, _ in planes:
        assert deepest[-1] <= place + 4


def test_sweeps_along_the_axis_that_leaves_least_to_hold() -> None:
    assert Windows(shape=(100, 40, 60), crop=(50, 10, 20)).axis == 1


def test_small_volumes_are_padded_with_air_on_both_sides() -> None:
    seen: list[Tensor] = []

    def forward(crops: Tensor) -> Tensor:
        seen.append(crops)
        return crops

    volume = torch.ones(1, 2, 4, 3)
    planes = list(sweep(forward, reader(volume), Windows(shape=(2, 4, 3), crop=(4, 4, 4))))
    expected = torch.zeros(4, 4, 4)
    expected[1:3, :, 0:3] = 1
    assert torch.equal(seen[0][0, 0], expected)
    assert len(planes) == 4


def test_progress_counts_every_window_once() -> None:
    told: list[tuple[int, int]] = []
    windows = Windows(shape=(8, 8, 16), crop=(4, 4, 4), batch_size=2)
    for _ in sweep(network(), reader(torch.rand(1, 8, 8, 16)), windows, on_windows=lambda *n: told.append(n)):
        pass
    assert told[-1] == (3 * 3 * 7, 3 * 3 * 7)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_weights_are_1_in_the_middle_and_never_0() -> None:
    weights = gaussian((5, 9, 33))
    assert float(weights.min()) == pytest.approx(1e-3)
    assert float(weights[2, 4, 16]) == 1
    assert torch.equal(weights, weights.flip(0, 1, 2))


def test_refuses_an_overlap_of_1() -> None:
    with pytest.raises(ConfigError, match=r"overlap must lie in \[0, 1\), got 1"):
        Windows(shape=(8, 8, 8), crop=(4, 4, 4), overlap=1)


def test_refuses_an_empty_batch() -> None:
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        Windows(shape=(8, 8, 8), crop=(4, 4, 4), batch_size=0)


def test_a_last_layer_apart_gives_the_same_plane_by_plane() -> None:
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.randn((5, 3), generator=generator), torch.randn(5, generator=generator)
    windows, volume = Windows(shape=(9, 7, 12), crop=(4, 5, 4)), torch.rand(1, 9, 7, 12)

    def whole(crops: Tensor) -> Tensor:
        return torch.nn.functional.linear(network()(crops).movedim(1, -1), weight, bias).movedim(-1, 1)

    def head(values: Tensor) -> Tensor:
        return torch.nn.functional.linear(values, weight, bias)

    expected = stacked(list(sweep(whole, reader(volume), windows)), windows.axis)
    result = stacked(list(sweep(network(), reader(volume), windows, head=head)), windows.axis)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_constant_blending_is_the_plain_mean_of_the_windows() -> None:
    windows = Windows(shape=(4, 4, 6), crop=(4, 4, 4), overlap=0.5, blend="constant")
    numbers = iter([0.0, 1.0])
    planes = sweep(
        lambda crops: torch.full_like(crops, next(numbers)), reader(torch.rand(1, 4, 4, 6)), windows
    )
    assert [float(plane.mean()) for _, plane in planes] == [0, 0, 0.5, 0.5, 1, 1]


@pytest.mark.usefixtures("two_threads")
def test_threads_change_nothing() -> None:
    windows, volume = Windows(shape=(9, 7, 12), crop=(4, 5, 4)), torch.rand(1, 9, 7, 12)
    two = stacked(list(sweep(network(), reader(volume), windows)), windows.axis)
    torch.set_num_threads(1)
    assert torch.equal(two, stacked(list(sweep(network(), reader(volume), windows)), windows.axis))
