from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mim3d.config import Optimisation
from mim3d.errors import CheckpointError
from mim3d.train.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    read_tensors,
    save_checkpoint,
    save_weights,
    step_of,
)
from mim3d.train.loop import State
from mim3d.train.optim import build_optimizer


def network(width: int = 4, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, 1))


def begun(seed: int = 0) -> tuple[State, nn.Sequential]:
    model = network(seed=seed)
    return State(model, build_optimizer(model, Optimisation(weight_decay=0.1))), model


def learn(state: State, steps: int) -> None:
    for _ in range(steps):
        crops = torch.randn(5, 3, generator=torch.Generator().manual_seed(state.step))
        torch.autograd.backward(state.model(crops).square().mean())
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1


def everything(state: State) -> dict[str, Tensor]:
    moments = {
        f"{index}.{key}": value
        for index, values in state.optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    return {**state.model.state_dict(), **moments}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[name]) and tensor.dtype == second[name].dtype
        for name, tensor in first.items()
    )


def test_a_checkpoint_gives_back_every_bit_and_learning_goes_on_from_it(tmp_path: Path) -> None:
    state, model = begun()
    learn(state, 3)
    folder = save_checkpoint(tmp_path, state, model)
    assert folder == tmp_path / "checkpoints" / "step-3"
    other, other_model = begun(seed=1)
    load_checkpoint(folder, other, other_model)
    assert other.step == 3
    assert same(everything(other), everything(state))
    assert {name.split(".")[1] for name in everything(state) if name[0].isdigit() and "_" in name} >= {
        "exp_avg",
        "exp_avg_sq",
    }
    for one in (state, other):
        learn(one, 4)
    assert same(everything(other), everything(state))


def test_the_two_newest_are_kept_by_number_not_by_name(tmp_path: Path) -> None:
    state, model = begun()
    assert latest_checkpoint(tmp_path) is None
    for steps in (8, 1, 1):
        learn(state, steps)
        save_checkpoint(tmp_path, state, model)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-10", "step-9"]
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert step_of(newest) == 10


def test_saving_the_same_step_again_changes_nothing(tmp_path: Path) -> None:
    state, model = begun()
    learn(state, 1)
    folder = save_checkpoint(tmp_path, state, model)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    save_checkpoint(tmp_path, state, model)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_an_ended_process_left_half_written_does_no_harm(tmp_path: Path) -> None:
    state, model = begun()
    learn(state, 2)
    partial = tmp_path / "checkpoints" / ".step-2.partial"
    partial.mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) is None
    folder = save_checkpoint(tmp_path, state, model)
    assert latest_checkpoint(tmp_path) == folder
    assert not partial.exists()
    load_checkpoint(folder, *begun())


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:50]), r"damaged \(.*\); restore it, or delete"),
        (lambda file: file.write_bytes(b""), r"damaged \(.*\); restore it, or delete"),
        (lambda file: file.unlink(), "no such file; restore it, or delete the folder of that checkpoint"),
    ],
)
def test_a_damaged_file_is_named(
    tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    state, model = begun()
    learn(state, 1)
    folder = save_checkpoint(tmp_path, state, model)
    damage(folder / name)
    with pytest.raises(CheckpointError, match=f"step-1/{name}: {message}"):
        load_checkpoint(folder, state, model)


def test_damaged_weights_are_not_said_to_be_a_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"damaged \(.*\); restore it, or copy the run folder again$"):
        read_tensors(tmp_path / "weights.safetensors")


def test_a_folder_that_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-9 copy").mkdir(parents=True)
    assert latest_checkpoint(tmp_path) is None
    state, model = begun()
    for _ in range(3):
        learn(state, 1)
        save_checkpoint(tmp_path, state, model)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save_weights(network(width=5), tmp_path / "weights.safetensors")
    message = (
        r"/weights.safetensors: of another architecture: 5 tensors are missing, unexpected or of another "
        r"shape \(0.weight, 0.bias, 2.weight, ...\), the model has 6; use the configuration that"
    )
    with pytest.raises(CheckpointError, match=message):
        load_weights(network(width=4), tmp_path / "weights.safetensors")


def test_missing_and_unexpected_weights_are_named(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_weights(network(), file)
    tensors = load_file(file)
    tensors["more"] = tensors.pop("3.bias")
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"2 tensors are .* \(3.bias, more\)"):
        load_weights(network(), file)


def test_the_moments_of_another_optimiser_are_refused(tmp_path: Path) -> None:
    state, model = begun()
    learn(state, 1)
    folder = save_checkpoint(tmp_path, state, model)
    file = folder / "optimizer.safetensors"
    save_file({**load_file(file), "17.exp_avg": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"step-1: optimizer.safetensors is of another optimiser"):
        load_checkpoint(folder, *begun())


def test_weights_appear_whole(tmp_path: Path) -> None:
    model = network()
    save_weights(model, tmp_path / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    assert same(read_tensors(tmp_path / "weights.safetensors"), dict(model.state_dict()))
