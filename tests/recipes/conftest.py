"""Ways in which a run ends before its time."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mim3d.config import PretrainConfig
from mim3d.recipes.pretrain import pretrain


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Has somebody press Ctrl-C while the batch of a step (from 1) is read by `batches`, a module's name."""

    def arrange(batches: str, step: int) -> None:
        module, name = batches.rsplit(".", 1)
        read = getattr(__import__(module, fromlist=[name]), name)

        def interrupted(*arguments: Any, **named: Any) -> Iterator[Any]:
            for number, batch in enumerate(read(*arguments, **named), start=1):
                if number == step:
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

        monkeypatch.setattr(batches, interrupted)

    return arrange


@pytest.fixture(scope="session")
def killed_at() -> Callable[[Path, Path, int], None]:
    """Copies a finished run of six steps as it was when it was ended after the checkpoint of a step."""

    def kill(finished: Path, run: Path, step: int) -> None:
        shutil.copytree(finished, run)
        for name in ("weights.safetensors", "validation.json", "best.json"):
            (run / name).unlink(missing_ok=True)
        shutil.rmtree(run / "pictures")
        newest = run / "checkpoints" / f"step-{step}"
        for checkpoint in (run / "checkpoints").iterdir():
            if checkpoint != newest:
                shutil.rmtree(checkpoint)
        (run / "checkpoints" / ".step-6.partial").mkdir()
        for name in ("metrics.csv", "timings.csv"):
            with (run / name).open("a") as file:
                file.write("7,0.1")

    return kill


@pytest.fixture(scope="session")
def pretrained(
    store_path: Path, pretraining: PretrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A pre-training run of one step."""
    return pretrain(store_path, tmp_path_factory.mktemp("encoder") / "mim", config=pretraining, steps=1)
