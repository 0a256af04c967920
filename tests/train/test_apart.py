"""Chunks side by side: each once and in order, weights in one memory, gradients in the end, too."""

import time
from collections.abc import Iterator
from functools import partial
from threading import Barrier, Event

import pytest
import torch
from torch import Tensor, nn

from mim3d.train.apart import compute_group, gather_gradients, sharing
from mim3d.train.chunk import Chunk, Logged


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    frozen = nn.Linear(4, 4).requires_grad_(False)
    model = nn.Sequential(frozen, nn.LayerNorm(4), nn.Linear(4, 2))
    model.register_buffer("constant", torch.rand(3))
    return model


def chunks(count: int) -> list[Chunk]:
    def score(number: int, _: nn.Module) -> tuple[Tensor, Logged]:
        return torch.tensor(float(number)), {}

    return [Chunk(partial(score, number), last=number == count - 1) for number in range(count)]


def test_weights_and_buffers_are_shared_gradients_are_not(model: nn.Module) -> None:
    other = sharing(model)
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in model.named_parameters()]
    for own, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert own.data_ptr() == theirs.data_ptr()
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in model.parameters()]
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(2.0)
    assert all(bool((weight == 2).all()) for weight in other.parameters())
    other(torch.rand(3, 4)).sum().backward()
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("count", range(1, 8))
def test_each_chunk_once_and_in_order_by_its_thread(model: nn.Module, count: int) -> None:
    models = [model, sharing(model), sharing(model)]
    found = compute_group(models, chunks(count), lambda own, chunk: (own, float(chunk.compute(own)[0])))
    assert [number for _, number in found] == list(range(count))
    expected = [models[n % 3] if count > 2 else model for n in range(count)]
    assert all(own is other for (own, _), other in zip(found, expected, strict=True))


def test_threads_compute_alone_with_gradient_and_a_single_chunk_has_them_all(model: nn.Module) -> None:
    def state(_: nn.Module, __: Chunk) -> tuple[int, bool]:
        return torch.get_num_threads(), torch.is_grad_enabled()

    models = [model, sharing(model), sharing(model)]
    assert compute_group(models, chunks(3), state) == [(1, True)] * 3
    assert compute_group(models, chunks(2), state) == [(3, True)] * 2
    assert compute_group(models[:1], chunks(3), state) == [(3, True)] * 3


def test_gradients_end_in_the_first_model_alone(model: nn.Module) -> None:
    models = [model, sharing(model), sharing(model)]
    for number, own in enumerate(models):
        for weight in own.parameters():
            if weight.requires_grad and not (number == 0 and weight.ndim == 1):
                weight.grad = torch.full_like(weight, 10.0**number)
    gather_gradients(models)
    for weight in model.parameters():
        if weight.requires_grad:
            assert weight.grad is not None
            assert bool((weight.grad == (110 if weight.ndim == 1 else 111)).all())
        else:
            assert weight.grad is None
    assert all(weight.grad is None for own in models[1:] for weight in own.parameters())


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_of_a_chunk_reaches_the_caller_and_ends_the_others(model: nn.Module, failing: int) -> None:
    failed, together, done = Event(), Barrier(3), list[int]()

    def fail(_: nn.Module, chunk: Chunk) -> None:
        number = int(chunk.compute(model)[0])
        done.append(number)
        if number < 3:
            together.wait(timeout=10)  # all three threads compute at the same time
        if number == failing:
            failed.set()
            raise ValueError(f"of chunk {number}")
        assert failed.wait(timeout=10)
        time.sleep(0.05)  # until it has been told on

    with pytest.raises(ValueError, match=f"of chunk {failing}"):
        compute_group([model, sharing(model), sharing(model)], chunks(30), fail)
    assert sorted(done) == [0, 1, 2]
