"""Compiled blocks: which they are, and that nothing else changes."""

import pytest
import torch
from torch import nn

from mim3d.config import Architecture, Level, Nesting
from mim3d.model import compiled
from mim3d.model.blocks import Block
from mim3d.model.compiled import compile_blocks
from mim3d.model.mim import Mim

pytestmark = pytest.mark.filterwarnings(  # raised within PyTorch's compiler
    "ignore::DeprecationWarning", "ignore::UserWarning"
)

NESTING = Nesting(extent=(32, 32, 32), crop=(32, 32, 32), levels=(Level(masked_ratio=0.5, children=0),))
SMALL = Architecture(
    dims=(6, 6, 6, 12), depths=(1, 1, 1, 2), num_heads=2, decoder_dim=12, decoder_depth=1, decoder_heads=2
)


def built() -> Mim:
    torch.manual_seed(0)
    return Mim(NESTING, SMALL)


def compiled_modules(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if module._compiled_call_impl is not None]


def test_transformer_blocks_alone_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "which", lambda _: "/usr/bin/c++")
    model = built()
    names = list(model.state_dict())
    assert compile_blocks(model)
    found = compiled_modules(model)
    assert len(found) == 3
    assert all(isinstance(module, Block) for module in found)
    assert list(model.state_dict()) == names


def test_without_a_compiler_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "which", lambda _: None)
    model = built()
    assert not compile_blocks(model)
    assert not compiled_modules(model)


def test_values_and_gradients_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by PyTorch's compiler but run step by step: a compiler of C++ takes most of a minute."""
    crops, visible = torch.rand(2, 1, 32, 32, 32), torch.tensor([[0, 3, 5, 6], [7, 1, 2, 4]])
    hidden = torch.tensor([[1, 2, 4, 7], [0, 3, 5, 6]])
    plain, other = built(), built()
    monkeypatch.setattr(nn.Module, "compile", compile_step_by_step)
    monkeypatch.setattr(compiled, "which", lambda _: "/usr/bin/c++")
    compile_blocks(other)
    outputs = [model(crops, visible, hidden).predicted for model in (plain, other)]
    torch.testing.assert_close(outputs[1], outputs[0])
    gradients = [
        torch.autograd.grad(output.square().sum(), list(model.parameters()), allow_unused=True)
        for output, model in zip(outputs, (plain, other), strict=True)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def compile_step_by_step(module: nn.Module, **options: bool) -> None:
    module._compiled_call_impl = torch.compile(
        module._call_impl, backend="aot_eager", dynamic=options["dynamic"]
    )
