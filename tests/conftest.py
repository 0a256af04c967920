"""A small store of phantoms, and the smallest configurations that still have every part."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import huggingface_hub
import numpy as np
import pytest
import torch
from hypothesis import settings

from mim3d import cli
from mim3d.config import (
    Architecture,
    ClassifyConfig,
    FinetuneConfig,
    Level,
    Nesting,
    Optimisation,
    PretrainConfig,
    Runtime,
)
from mim3d.config_file import write_config
from mim3d.data.catalog import write_index
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.reclassify import reclassify
from mim3d.data.splits import Shares
from mim3d.data.store import Store, open_store
from mim3d.data.targets import targets_text
from mim3d.metrics.comparison import Side
from mim3d.metrics.evaluation import CaseScore, StructureScore, summarise
from tests.hub import Served, serving
from tests.series import write_ct_series
from tests.web import Web

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")
torch.set_num_threads(1)  # tensors are so small that threads would only wait for one another


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test takes for a terminal can draw, wherever the tests run."""
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def write_series() -> Callable[..., np.ndarray[Any, Any]]:
    """Writes a CT series of a few voxels."""
    return write_ct_series


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Lets PyTorch compute on two threads."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five phantoms, 32 x 29 x 26 voxels of 10 mm: three to train on, one to validate, one to test on."""
    folder = tmp_path_factory.mktemp("phantoms")
    options = PhantomOptions(shape=(40, 36, 32), spacing=8.0)
    make_phantoms(folder / "raw", options, cases=5)
    prepare_store(
        folder / "raw", folder / "store", spacing=(10.0, 10.0, 10.0), shares=Shares(0.2, 0.2), workers=1
    )
    return folder / "store"


@pytest.fixture(scope="session")
def store(store_path: Path) -> Store:
    return open_store(store_path)


@pytest.fixture(scope="session")
def classified_path(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store with a target `kind`: even, odd and even to train on, odd to validate and to test on."""
    path = shutil.copytree(store_path, tmp_path_factory.mktemp("classified") / "store")
    cases = sorted(open_store(path).catalog.cases, key=lambda case: (case.split != "train", case.case))
    kinds = zip(cases, ("even", "odd", "even", "odd", "odd"), strict=True)
    changed = [replace(case, targets=targets_text((("kind", kind),))) for case, kind in kinds]
    write_index(path, reclassify(path, changed).values())
    return path


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    return Architecture(
        dims=(6, 6, 12, 12),
        depths=(1, 1, 1, 1),
        num_heads=2,
        decoder_dim=12,
        decoder_depth=1,
        decoder_heads=2,
    )


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(accelerator="cpu", checkpoint_every=2)


@pytest.fixture(scope="session")
def pretraining(architecture: Architecture, runtime: Runtime) -> PretrainConfig:
    """Three levels of 1, 2 and 4 crops of 16^3 voxels in 4^3 tokens; regions of 24^3 voxels."""
    nesting = Nesting(
        extent=(24, 24, 24),
        crop=(16, 16, 16),
        patch=(4, 4, 4),
        levels=(
            Level(cell=(2, 2, 2), masked_ratio=0.5, children=2),
            Level(masked_ratio=0.6, children=2),
            Level(masked_ratio=0.5, children=0),
        ),
    )
    return PretrainConfig(
        preset="tiny",
        nesting=nesting,
        architecture=architecture,
        optimisation=Optimisation(steps=6, batch_size=2, lr=1e-3, warmup_steps=2),
        runtime=runtime,
    )


@pytest.fixture(scope="session")
def finetuning(architecture: Architecture, runtime: Runtime) -> FinetuneConfig:
    """Crops of 16^3 voxels, two structures, validated every third step."""
    return FinetuneConfig(
        preset="tiny",
        labels="labels",
        structures=("liver", "lungs"),
        crop=(16, 16, 16),
        patch=(4, 4, 4),
        architecture=architecture,
        feature_size=4,
        optimisation=Optimisation(steps=6, batch_size=2, lr=1e-3, warmup_steps=2),
        overlap=0.0,
        validate_every=3,
        runtime=runtime,
    )


@pytest.fixture(scope="session")
def classifying(architecture: Architecture, runtime: Runtime) -> ClassifyConfig:
    """Whole volumes in crops of 16 x 16 x 8 voxels, chosen by accuracy, as there is one case to choose by."""
    return ClassifyConfig(
        preset="tiny",
        target="kind",
        crop=(16, 16, 8),
        patch=(4, 4, 4),
        architecture=architecture,
        optimisation=Optimisation(steps=6, batch_size=2, lr=1e-3, warmup_steps=2),
        chosen_by="accuracy",
        validate_every=3,
        runtime=runtime,
    )


@pytest.fixture
def config_file(tmp_path: Path, pretraining: PretrainConfig) -> Path:
    write_config(pretraining, tmp_path / "pretrain.json")
    return tmp_path / "pretrain.json"


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must end with status 2, one line on standard error and nothing else; gives it."""

    def run(*words: str | Path | int) -> str:
        assert cli.main([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("mim3d: ")
        assert captured.out == ""
        return line.removeprefix("mim3d: ")

    return run


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Web]]:
    """Serves folders on this machine alone."""
    served: list[Web] = []

    def start(folder: Path) -> Web:
        served.append(Web(folder))
        threading.Thread(target=served[-1].serve_forever, args=(0.01,), daemon=True).start()
        return served[-1]

    yield start
    for web in served:
        web.shutdown()
        web.server_close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    """A URL in fsspec's memory, which is emptied afterwards."""
    yield f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").rm("/", recursive=True)


@pytest.fixture(scope="session")
def side() -> Callable[..., Side]:
    """Makes a side from the Dice of each structure in cases 0, 1, ...; None where the truth lacks it."""

    def make(
        name: str,
        dices: Mapping[str, Sequence[float | None]],
        patients: Sequence[str] | None = None,
        runs: int = 1,
    ) -> Side:
        count = len(next(iter(dices.values())))
        cases = []
        for number in range(count):
            scores = tuple(_score(one, values[number]) for one, values in dices.items())
            case = f"case {number // runs}"
            patient = "" if patients is None else patients[number // runs]
            cases.append(CaseScore(case=case, scores=scores, patient=patient, truth=f"truth of {case}"))
        meaning = {one: f"labels: {one}" for one in dices}
        evaluation = summarise(cases, dices, "test", grid="working", labels=meaning)
        return Side(name=name, evaluation=evaluation, runs=runs)

    return make


def _score(name: str, dice: float | None) -> StructureScore:
    return StructureScore(
        name=name,
        outcome="neither" if dice is None else "both",
        dice=dice,
        hd95_mm=None if dice is None else 10 * (1 - dice),
        nsd=dice,
        tolerance_mm=2.0,
        truth_ml=0.0 if dice is None else 10.0,
        predicted_ml=0.0 if dice is None else 9.0,
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """What a hub on this machine serves, nothing yet; the hub's client asks it instead of the real one."""
    served: Served = {}
    with serving(served) as address:
        at_hub(monkeypatch, address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "fetched"))
        yield served


@pytest.fixture
def publish(hub: Served) -> Callable[[str, Path], Served]:
    """Puts the files of a folder into a repository of the hub."""

    def put(name: str, folder: Path) -> Served:
        hub.update({f"{name}/{path.name}": path.read_bytes() for path in folder.iterdir()})
        return hub

    return put


@pytest.fixture
def unreachable(hub: Served, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ends the network."""
    return lambda: at_hub(monkeypatch, "http://127.0.0.1:9")


def at_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
