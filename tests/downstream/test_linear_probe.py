"""The linear probe: convolution then enlargement is what was fitted at single voxels."""

import torch
from torch.nn import functional as F

from mim3d.config import PretrainConfig
from mim3d.downstream.linear_probe import LinearProbe, features_at, normalised_maps
from mim3d.downstream.logistic import Linear
from mim3d.model.encoder import Encoder


def test_maps_of_all_stages_are_normalised_voxel_by_voxel(pretrained: PretrainConfig) -> None:
    torch.manual_seed(0)
    encoder = Encoder(pretrained.nesting.patch, pretrained.architecture).eval()
    volume = torch.rand(2, 1, 32, 32, 16)
    for found, plain in zip(normalised_maps(encoder, volume), encoder.features(volume), strict=True):
        middle, spread = plain.mean(dim=1, keepdim=True), plain.var(dim=1, correction=0, keepdim=True)
        torch.testing.assert_close(found, (plain - middle) / (spread + 1e-5).sqrt())


def test_logits_of_a_voxel_are_those_of_its_features(pretrained: PretrainConfig) -> None:
    torch.manual_seed(0)
    encoder = Encoder(pretrained.nesting.patch, pretrained.architecture).eval()
    learnt = Linear(torch.randn(3, sum(pretrained.architecture.dims)), torch.randn(3))
    probe, volume = LinearProbe(encoder, learnt), torch.rand(1, 1, 32, 32, 16)
    voxels = torch.tensor([[0, 0, 0], [31, 31, 15], [7, 16, 3], [12, 1, 9]])
    with torch.no_grad():
        logits = probe(volume)
        found = learnt.logits(features_at(normalised_maps(encoder, volume), voxels, (32, 32, 16)))
    assert logits.shape == (1, 3, 32, 32, 16)
    torch.testing.assert_close(found, logits[0, :, *voxels.T].T, atol=1e-5, rtol=1e-4)


def test_features_are_interpolated_maps() -> None:
    maps = [torch.rand(1, 2, 4, 4, 2), torch.rand(1, 3, 2, 2, 1)]
    whole = [F.interpolate(one, (8, 8, 4), mode="trilinear", align_corners=False) for one in maps]
    voxels = torch.cartesian_prod(torch.arange(8), torch.arange(8), torch.arange(4))
    expected = torch.cat([one[0, :, *voxels.T].T for one in whole], dim=1)
    torch.testing.assert_close(features_at(maps, voxels, (8, 8, 4)), expected)
