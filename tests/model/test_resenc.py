import pytest
import torch

from mim3d.geometry import Triple
from mim3d.model.resenc import ResencUnet, strides_of


@pytest.mark.parametrize(
    ("crop", "strides"),
    [
        ((128, 128, 128), [(1, 1, 1), *[(2, 2, 2)] * 5]),  # six stages, 4 voxels are left
        ((96, 96, 96), [(1, 1, 1), *[(2, 2, 2)] * 4]),
        ((192, 192, 32), [(1, 1, 1), *[(2, 2, 2)] * 3, (2, 2, 1), (2, 2, 1)]),
        ((20, 16, 7), [(1, 1, 1), (2, 2, 1), (2, 2, 1)]),  # 20 to 10 to 5, which is odd
        ((4, 4, 4), [(1, 1, 1)]),
    ],
)
def test_axes_are_halved_while_they_are_long(crop: Triple, strides: list[Triple]) -> None:
    assert strides_of(crop, 6) == strides


def test_there_are_no_more_stages_than_asked_for() -> None:
    assert len(strides_of((128, 128, 128), 3)) == 3


@pytest.mark.parametrize(("crop", "channels"), [((16, 16, 16), 1), ((32, 16, 6), 2)])
def test_logits_come_on_the_grid_of_the_volume_and_gradients_reach_all(crop: Triple, channels: int) -> None:
    torch.manual_seed(0)
    network = ResencUnet(channels, 3, 4, (1, 2, 1, 1), crop)
    logits = network(torch.rand(2, channels, *crop))
    assert logits.shape == (2, 3, *crop)
    torch.autograd.backward((logits * torch.randn_like(logits)).sum())
    unreached = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


def test_the_encoder_has_the_blocks_and_channels_of_nnunet() -> None:
    with torch.device("meta"):
        network = ResencUnet(1, 2, 32, (1, 3, 4, 6, 6, 6), (128, 128, 128))
    assert [len(list(stage.children())) for stage in network.stages] == [1, 3, 4, 6, 6, 6]
    last = [list(stage.parameters())[-1].shape[0] for stage in network.stages]
    assert last == [32, 64, 128, 256, 320, 320]
    assert len(network.ups) == 5


def test_layers_hold_the_encoder_stage_by_stage() -> None:
    network = ResencUnet(1, 2, 4, (1, 1, 1), (16, 16, 16))
    found = [id(p) for group in network.layers() for module in group for p in module.parameters()]
    encoder = [id(p) for part in (network.stem, network.stages) for p in part.parameters()]
    assert sorted(found) == sorted(encoder)
    assert len(network.layers()) == 3
