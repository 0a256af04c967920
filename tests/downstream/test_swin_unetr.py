"""MONAI's SwinUNETR, and files in the layout of its published self-supervised weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mim3d.downstream.swin_unetr import SwinUnetr, load_swin
from mim3d.errors import CheckpointError


def network(channels: int = 1, feature_size: int = 12) -> SwinUnetr:
    return SwinUnetr(channels, 3, feature_size, drop_path=0.0)


def published(encoder: dict[str, Tensor], prefix: str = "module.") -> dict[str, Any]:
    """As MONAI's file has it: names of a parallel model, other names within MLPs, heads beside them."""
    tensors = {prefix + name.replace(".linear", ".fc"): tensor for name, tensor in encoder.items()}
    heads = {"module.rotation_head.weight": torch.zeros(4, 24), "module.norm.weight": torch.ones(24)}
    return {"state_dict": tensors | heads, "epoch": 7}


@pytest.fixture(scope="module")
def theirs() -> SwinUnetr:
    torch.manual_seed(5)
    return network()


def saved(content: dict[str, Any], folder: Path) -> Path:
    torch.save(content, folder / "model_swinvit.pt")
    return folder / "model_swinvit.pt"


def test_the_second_version_is_refused(theirs: SwinUnetr, tmp_path: Path) -> None:
    tensors = {**theirs.encoder.state_dict(), "layers1c.0.layer.conv1.weight": torch.zeros(12)}
    with pytest.raises(
        CheckpointError, match="weights of SwinUNETR-v2, whose stages begin with a convolution"
    ):
        load_swin(network(), saved(published(tensors), tmp_path), adapt=False)


@pytest.mark.parametrize("prefix", ["module.", "module.swinViT.", "swinViT.", ""])
def test_published_weights_fill_the_whole_encoder(theirs: SwinUnetr, prefix: str, tmp_path: Path) -> None:
    file = saved(published(theirs.encoder.state_dict(), prefix), tmp_path)
    torch.manual_seed(1)
    ours = network()
    report = load_swin(ours, file, adapt=False)
    assert len(report.loaded) == len(ours.encoder.state_dict())
    assert report.missing == ()
    assert set(report.unexpected) == {"rotation_head.weight", "norm.weight"}
    for name, tensor in ours.encoder.state_dict().items():
        assert torch.equal(tensor, theirs.encoder.state_dict()[name]), name


def test_the_same_as_monai_loads_it(theirs: SwinUnetr, tmp_path: Path) -> None:
    content = published(theirs.encoder.state_dict())
    ours, monais = network(), network()
    load_swin(ours, saved(content, tmp_path), adapt=False)
    monais.network.load_from(content)
    for name, tensor in monais.encoder.state_dict().items():
        assert torch.equal(tensor, ours.encoder.state_dict()[name]), name


def test_weights_of_one_channel_are_adapted_to_several(theirs: SwinUnetr, tmp_path: Path) -> None:
    file = saved(published(theirs.encoder.state_dict()), tmp_path)
    ours = network(channels=4)
    message = (
        r"model_swinvit.pt: encoder: \d+ tensors loaded, 1 missing \(patch_embed.proj.weight\), 2 unexpected "
        r".*; of patch_embed.proj.weight the file has \(12, 1, 2, 2, 2\), \(12, 4, 2, 2, 2\) is needed; "
        r"set architecture.channels to 1, or adapt them: --transfer.adapt$"
    )
    with pytest.raises(CheckpointError, match=message):
        load_swin(ours, file, adapt=False)
    load_swin(ours, file, adapt=True)
    volume = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        found = ours.encoder(volume.expand(-1, 4, -1, -1, -1))
        expected = theirs.encoder(volume)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_weights_of_another_size_or_with_gaps_are_refused(theirs: SwinUnetr, tmp_path: Path) -> None:
    tensors = dict(theirs.encoder.state_dict())
    file = saved(published(tensors), tmp_path)
    wider = network(feature_size=24)
    with pytest.raises(CheckpointError, match=r"is needed; take the feature_size of the weights \(48 for"):
        load_swin(wider, file, adapt=True)
    del tensors["layers4.0.blocks.1.mlp.linear2.bias"]
    before = {name: tensor.clone() for name, tensor in wider.encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"1 missing \(layers4.0.blocks.1.mlp.linear2.bias\).*has none"):
        load_swin(network(), saved(published(tensors), tmp_path), adapt=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in wider.encoder.state_dict().items())


def test_a_file_that_could_run_code_is_refused(tmp_path: Path) -> None:
    content = {"state_dict": {"module.patch_embed.proj.bias": torch.zeros(12)}, "hook": Path}
    with pytest.raises(CheckpointError, match="could run code when read, so nothing was read"):
        load_swin(network(), saved(content, tmp_path), adapt=False)


def test_layers_hold_the_encoder_stage_by_stage(theirs: SwinUnetr) -> None:
    groups = theirs.layers()
    found = [id(p) for group in groups for module in group for p in module.parameters()]
    assert sorted(found) == sorted(id(p) for p in theirs.encoder.parameters())
    assert len(groups) == 4
