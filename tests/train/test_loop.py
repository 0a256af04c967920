import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mim3d.train.chunk import Chunk, Group, Logged
from mim3d.train.loop import State, TrainingError, refuse_non_finite, train


@dataclass
class FakeEngine:
    """Notes what the loop asks for, in order; two devices whose values are equal."""

    calls: list[str] = field(default_factory=list)

    def no_backward_sync(self, module: nn.Module, enabled: bool) -> AbstractContextManager[None]:
        return self._silent() if enabled else self._synchronised()

    @contextmanager
    def _silent(self) -> Iterator[None]:
        self.calls.append("silent")
        yield

    @contextmanager
    def _synchronised(self) -> Iterator[None]:
        self.calls.append("synchronised")
        yield

    def backward(self, tensor: Tensor) -> None:
        self.calls.append("backward")
        torch.autograd.backward(tensor)

    def all_reduce(self, data: Logged) -> Logged:
        self.calls.append("reduce")
        return data


@dataclass(frozen=True)
class Numbers:
    values: tuple[float, ...]
    cases: tuple[str, ...] = ("a", "b")


def chunks_of(_: nn.Module, batch: Numbers) -> Iterator[Group]:
    """One group of a chunk a number: its product with the only weight of the model."""

    def score(value: float, model: nn.Module) -> tuple[Tensor, Logged]:
        loss = model(torch.tensor([value])).sum()
        return loss, {"term": 2 * loss}  # not detached: the loop forgets its graph

    end = len(batch.values) - 1
    yield [Chunk(partial(score, value), last=place == end) for place, value in enumerate(batch.values)]


def state_of(lr: float = 1.0) -> State:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    return State(model, torch.optim.SGD(model.parameters(), lr=lr))


def run(
    state: State,
    batches: list[Numbers],
    engine: FakeEngine,
    lr_at: Callable[[int], float] = lambda step: 0.5 / (1 + step),
    max_norm: float = 100.0,
    objective: Callable[[nn.Module, Numbers], Iterator[Group]] = chunks_of,
) -> list[tuple[int, dict[str, float]]]:
    seen: list[tuple[int, dict[str, float]]] = []

    def begin(state: State) -> dict[str, float]:
        for group in state.optimizer.param_groups:
            group["lr"] = lr_at(state.step)
        return {"lr": lr_at(state.step)}

    train(
        state,
        batches,
        objective,
        engine,
        begin_step=begin,
        max_norm=max_norm,
        on_step=lambda state, logged: seen.append((state.step, logged)),
    )
    return seen


def test_gradients_are_synchronised_on_the_last_chunk_only() -> None:
    engine = FakeEngine()
    run(state_of(), [Numbers((1.0, 2.0, 3.0))], engine)
    silent = ["silent", "backward"]
    assert engine.calls == [*silent, *silent, "synchronised", "backward", "reduce"]


def test_chunks_add_up_to_one_step_and_values_of_one_name_are_summed() -> None:
    state = state_of()
    seen = run(state, [Numbers((1.0, 2.0)), Numbers((4.0,))], FakeEngine())
    weight = 3 - 0.5 * (1 + 2)
    assert seen[0] == (1, {"loss": 9.0, "term": 18.0, "lr": 0.5})
    assert seen[1] == (2, {"loss": 4 * weight, "term": 8 * weight, "lr": 0.25})
    assert state.step == 2
    (parameter,) = state.model.parameters()
    assert parameter.item() == weight - 0.25 * 4
    assert parameter.grad is None


def test_the_schedule_goes_on_from_the_step_of_the_state() -> None:
    state = state_of()
    state.step = 4
    seen = run(state, [Numbers((1.0,))], FakeEngine())
    assert seen[0][0] == 5
    assert seen[0][1]["lr"] == 0.1


def test_gradients_are_clipped_to_the_norm() -> None:
    state = state_of()
    run(state, [Numbers((8.0,))], FakeEngine(), lr_at=lambda step: 1.0, max_norm=0.5)
    (parameter,) = state.model.parameters()
    assert parameter.item() == pytest.approx(2.5, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change() -> None:
    state = state_of()
    message = r"step 1: loss, term, gradient norm not finite \(cases: x, y\); the last checkpoint is good"
    with pytest.raises(TrainingError, match=message):
        run(state, [Numbers((2.0,)), Numbers((math.nan,), ("x", "y"))], FakeEngine())
    (parameter,) = state.model.parameters()
    assert parameter.item() == 3 - 0.5 * 2
    assert state.step == 1


def root_of_nothing(_: nn.Module, batch: Numbers) -> Iterator[Group]:
    """A loss of 0 whose gradient is infinite."""
    yield [Chunk(lambda model: ((model(torch.ones(1)).sum() - 3).sqrt(), {}), last=True)]


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    message = r"step 0: gradient norm not finite \(cases: a, b\)"
    with pytest.raises(TrainingError, match=message):
        run(state_of(), [Numbers((2.0,))], FakeEngine(), objective=root_of_nothing)


def test_a_batch_without_names_is_said_to_be_unknown() -> None:
    with pytest.raises(TrainingError, match=r"align/0 not finite \(cases: unknown\)"):
        refuse_non_finite({"loss": torch.tensor(1.0), "align/0": torch.tensor(math.inf)}, 3, object())


def test_what_is_logged_keeps_no_graph() -> None:
    engine, reduced = FakeEngine(), list[Logged]()
    engine.all_reduce = lambda data: reduced.append(data) or data  # type: ignore[method-assign, func-returns-value]
    run(state_of(), [Numbers((1.0, 2.0))], engine)
    assert not any(value.requires_grad for value in reduced[0].values())


def test_the_model_learns_in_training_mode() -> None:
    state = state_of()
    state.model.eval()
    run(state, [Numbers((1.0,))], FakeEngine())
    assert state.model.training
