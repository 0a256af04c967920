import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mim3d
from mim3d import cli
from mim3d.config import Alignment, FinetuneConfig, Level, Nesting, PretrainConfig
from mim3d.config_file import read_config
from mim3d.data.store import Store
from mim3d.errors import CheckpointError
from mim3d.model.blocks import sincos_3d
from mim3d.model.mim import Mim
from mim3d.model.released_file import read_released
from mim3d.presets import pretrain_preset
from mim3d.recipes.import_weights import import_weights, nearest_preset
from mim3d.recipes.run import preprocessing
from mim3d.settings import finetune_settings
from mim3d.train.checkpoint import read_tensors

GOLDEN = Path(__file__).parents[1] / "model" / "released_hybrid_mae_small.safetensors"
RELEASED = Nesting(
    extent=(192, 192, 192),
    crop=(96, 96, 96),
    levels=(
        Level(cell=(3, 3, 3), masked_ratio=0.5),
        Level(masked_ratio=0.6),
        Level(masked_ratio=0.5, children=0),
    ),
    body_aware=False,
    masks="as_released",
)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_weights(GOLDEN, tmp_path_factory.mktemp("imported") / "released")


def test_the_run_folder_says_what_the_weights_are(imported: Path) -> None:
    assert sorted(path.name for path in imported.iterdir()) == [
        "config.json",
        "preprocessing.json",
        "provenance.json",
        "weights.safetensors",
    ]
    config = read_config(imported / "config.json", PretrainConfig)
    sizes = mim3d.import_released(GOLDEN).sizes
    assert config == replace(
        pretrain_preset("tiny"),
        nesting=RELEASED,
        architecture=sizes.architecture,
        alignment=Alignment(weight=0.0),
    )
    origin = json.loads((imported / "provenance.json").read_text())
    assert origin["mim3d"] == mim3d.__version__
    assert origin["command"] == f"mim3d import-weights {GOLDEN.name} released"
    assert origin["init"] == GOLDEN.name
    assert origin["sha256"] == hashlib.sha256(GOLDEN.read_bytes()).hexdigest()
    assert origin["heads"] == "num_heads told by the file, decoder_heads told by the file"
    assert str(GOLDEN.parent) not in (imported / "provenance.json").read_text()


def test_preprocessing_is_what_a_ct_store_gives_but_for_spacing(imported: Path, store: Store) -> None:
    config = read_config(imported / "config.json", PretrainConfig)
    said = json.loads((imported / "preprocessing.json").read_text())
    assert said == preprocessing(config, store) | {"spacing": None}
    assert said["window"] == {"low": -1000.0, "high": 1000.0}


def test_weights_are_those_of_the_file(imported: Path) -> None:
    model = mim3d.import_released(GOLDEN)
    stored = read_tensors(imported / "weights.safetensors")
    assert stored.keys() == model.state_dict().keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in model.state_dict().items())
    config = read_config(imported / "config.json", PretrainConfig)
    Mim(config.nesting, config.architecture).load_state_dict(stored)
    encoder = mim3d.load_encoder(imported)
    crop = torch.rand(1, 1, 32, 16, 16)
    assert torch.equal(encoder.features(crop)[3], model.encoder.features(crop)[3])


@pytest.mark.parametrize(("dim", "preset"), [(6, "tiny"), (96, "tiny"), (384, "base"), (1536, "base")])
def test_fine_tuning_takes_the_preset_nearest_in_size(dim: int, preset: str) -> None:
    assert nearest_preset(dim) == preset


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The golden tensors as `torch.save` writes them, for crops of 4 x 2 x 3 tokens, and a head."""
    golden = read_released(GOLDEN).tensors
    codes = {
        f"{name}pos_embed": sincos_3d((4, 2, 3), dim)[None] for name, dim in (("", 48), ("decoder_", 24))
    }
    torch.save({"model": golden | codes | {"head.weight": torch.zeros(3, 3)}}, tmp_path / "released.pth")
    return tmp_path / "released.pth"


def test_what_was_found_is_told(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    line = ["import-weights", checkpoint, run, "--num-heads", 3, "--decoder-heads", 2]
    assert cli.main([str(word) for word in line]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "released.pth: 0.25 M parameters of the encoder, 0.11 M of the decoder: encoder of 6/12/24/48 "
        "channels, 1/1/1/1 blocks, 3 heads; decoder of 24 channels, 1 blocks, 2 heads; crops of "
        "64 x 32 x 48 voxels in patches of 16 x 16 x 16; num_heads given, decoder_heads given",
        "released.pth: left out, as neither the encoder's nor the decoder's: 1 tensors, 9 values "
        "(head.weight)",
        f"{run}: done",
    ]
    assert said.out == ""


def test_heads_that_nothing_shows_are_asked_for_in_one_line(
    checkpoint: Path, tmp_path: Path, failing: Callable[..., str]
) -> None:
    line = failing("import-weights", checkpoint, tmp_path / "run", "--num-heads", 3)
    assert line.startswith(
        f"{checkpoint}: no tensor shows decoder_heads (of 24 channels), and a wrong number "
    )
    assert not (tmp_path / "run").exists()


def test_another_grid_is_one_level(checkpoint: Path, tmp_path: Path) -> None:
    run = import_weights(checkpoint, tmp_path / "run", num_heads=3, decoder_heads=2)
    nesting = read_config(run / "config.json", PretrainConfig).nesting
    assert (nesting.extent, nesting.crop, nesting.grid) == ((64, 32, 48), (64, 32, 48), (4, 2, 3))
    assert nesting.levels == (Level(children=0),)


def test_segmentation_begins_with_imported_weights(
    imported: Path,
    tmp_path: Path,
    store_path: Path,
    finetuning: FinetuneConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = finetune_settings(tmp_path / "run", imported, None, None, resume=False)
    assert (settings.preset, settings.crop, settings.patch) == ("tiny", (96, 96, 96), (16, 16, 16))
    settings = replace(
        finetuning, crop=(32, 32, 32), patch=settings.patch, architecture=settings.architecture
    )
    run = mim3d.finetune_segmentation(store_path, tmp_path / "run", init=imported, config=settings, steps=1)
    told = capsys.readouterr().err
    assert "warning: weights learnt from spacing each scan's own, here it is 10 x 10 x 10 mm" in told
    assert " tensors loaded, 0 missing, 0 unexpected" in told
    page = mim3d.report(imported, run, out=tmp_path / "page.html").read_text()
    assert f"<dt>weights from</dt><dd>{GOLDEN.name}</dd>" in page


def test_pre_training_does_not_overwrite_imported_weights(
    imported: Path, store_path: Path, pretraining: PretrainConfig
) -> None:
    with pytest.raises(CheckpointError, match="released: holds imported weights, which no run goes on from"):
        mim3d.pretrain(store_path, imported, config=pretraining, resume=True)
    assert (imported / "weights.safetensors").exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(
            CheckpointError, match=rf"^{out}: exists, and is no empty folder; name a new folder$"
        ):
            import_weights(GOLDEN, out)
    (tmp_path / "empty").mkdir()
    assert import_weights(GOLDEN, tmp_path / "empty") == tmp_path / "empty"


def test_nothing_is_written_for_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "released.pth").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match=r"released\.pth: damaged, or no checkpoint"):
        import_weights(tmp_path / "released.pth", tmp_path / "run")
    assert not (tmp_path / "run").exists()
