"""The encoder in plain operations against the encoder itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mim3d.config import Architecture
from mim3d.errors import GeometryError
from mim3d.geometry import Triple
from mim3d.model.dense_encoder import DenseEncoder, plain
from mim3d.model.encoder import Encoder

ARCHITECTURE = Architecture(dims=(12, 14, 16, 18), depths=(1, 2, 0, 2), num_heads=2, mlp_ratio=2)


def encoder(patch: Triple, channels: int = 1, levels: int = 0) -> Encoder:
    torch.manual_seed(0)
    made = Encoder(patch, replace(ARCHITECTURE, channels=channels, embedded_levels=levels))
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made.eval()


@pytest.mark.parametrize(
    ("patch", "crop", "channels", "levels"),
    [
        ((16, 16, 16), (32, 16, 48), 1, 0),
        ((8, 4, 2), (8, 12, 4), 3, 0),
        ((2, 1, 16), (4, 3, 32), 1, 2),
    ],
)
def test_features_are_those_of_the_encoder(patch: Triple, crop: Triple, channels: int, levels: int) -> None:
    made = encoder(patch, channels, levels)
    volume = torch.rand(2, channels, *crop)
    with torch.no_grad():
        expected, found = made.features(volume), DenseEncoder(made, crop).features(volume)
    assert len(found) == 4
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


class Task(nn.Module):
    def __init__(self, made: Encoder) -> None:
        super().__init__()
        self.encoder, self.head = made, nn.Conv3d(18, 2, 1)

    def forward(self, volume: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder.features(volume)[-1])
        return out


def test_an_encoder_within_a_network_is_replaced_in_a_copy() -> None:
    task = Task(encoder((16, 16, 16))).train()
    copy = plain(task, (16, 32, 16))
    assert isinstance(task.encoder, Encoder)
    assert isinstance(copy.encoder, DenseEncoder)
    assert not any(module.training for module in copy.modules())
    volume = torch.rand(1, 1, 16, 32, 16)
    with torch.no_grad():
        assert torch.allclose(copy(volume), task(volume), atol=1e-5)


def test_a_crop_that_the_patch_does_not_divide_is_refused() -> None:
    with pytest.raises(GeometryError, match="crop"):
        DenseEncoder(encoder((16, 16, 16)), (24, 16, 16))
