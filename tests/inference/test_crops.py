import pytest
import torch
from torch import Tensor

from mim3d.inference.crops import infer, mirrored


def crops_of(count: int) -> list[Tensor]:
    return list(torch.rand((count, 1, 4, 4, 4), generator=torch.Generator().manual_seed(0)))


def doubled(crops: Tensor) -> Tensor:
    return torch.cat([crops, 2 * crops], dim=1)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("batch", [1, 2])
def test_each_thread_takes_crops_of_its_own(batch: int) -> None:
    seen: list[tuple[int, int]] = []

    def network(crops: Tensor) -> Tensor:
        seen.append((len(crops), torch.get_num_threads()))
        return doubled(crops)

    predict, crops = infer(network, batch, "cpu"), crops_of(2 * batch)
    assert predict.at_once == 2 * batch
    for found, crop in zip(predict(crops), crops, strict=True):
        assert torch.equal(found, torch.cat([crop, 2 * crop]))
    assert seen == [(batch, 1)] * 2


def test_a_crop_that_is_the_same_everywhere_is_computed_once() -> None:
    computed: list[Tensor] = []

    def network(crops: Tensor) -> Tensor:
        computed.extend(crops)
        return doubled(crops)

    predict = infer(network, 1, "cpu")
    air, other, (varied,) = torch.zeros(1, 4, 4, 4), torch.ones(1, 4, 4, 4), crops_of(1)
    for crop in (air, varied, air, varied, other, other, air):
        (found,) = predict([crop])
        assert torch.equal(found, torch.cat([crop, 2 * crop]))
    assert len(computed) == 5  # of the last kind only what came of it is kept


def test_channels_that_are_the_same_everywhere_may_differ_from_one_another() -> None:
    predict = infer(doubled, 1, "cpu")
    for values in ((0.0, 1.0), (1.0, 0.0)):
        crop = torch.tensor(values).reshape(2, 1, 1, 1).expand(2, 4, 4, 4)
        assert torch.equal(predict([crop])[0], torch.cat([crop, 2 * crop]))


def test_mirror_images_are_turned_back() -> None:
    crops = torch.stack(crops_of(2))
    torch.testing.assert_close(mirrored(doubled, (0, 2))(crops), doubled(crops))
    assert mirrored(doubled, ()) is doubled


def test_the_mean_is_over_all_combinations_of_axes() -> None:
    ramp = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 4, 4)
    seen: list[Tensor] = []

    def network(crops: Tensor) -> Tensor:
        seen.append(crops)
        return crops + ramp  # knows where it is

    found = mirrored(network, (0, 1))(torch.zeros(1, 1, 4, 4, 4))
    assert len(seen) == 4
    assert torch.equal(found, torch.full_like(found, 1.5))
