"""`mim3d export`: a run in, what another program takes out."""

from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config_file import read_run_config
from mim3d.downstream.backbone import load_encoder
from mim3d.downstream.classifier import Classifier, load_classifier
from mim3d.downstream.hub import weights_folder
from mim3d.downstream.segmenter import load_segmenter
from mim3d.elsewhere.aside import written_aside
from mim3d.elsewhere.bundle import write_bundle
from mim3d.elsewhere.folder import write_folder
from mim3d.elsewhere.nnunet_folder import write_trainer
from mim3d.elsewhere.nnunet_plans import CONFIGURATION, PLANS, learnt, write_plans
from mim3d.elsewhere.onnx_file import OPSET, write_onnx
from mim3d.errors import ConfigError
from mim3d.geometry import Triple
from mim3d.inference.outputs import NOTICE
from mim3d.model.encoder import Encoder
from mim3d.recipes.messages import say
from mim3d.run_files import PREPROCESSING
from mim3d.settings import crop_of
from mim3d.train.run_folder import read_json

Form = Literal["safetensors", "onnx", "monai-bundle", "nnunet"]
ONLY_OF = {
    "with_decoder": "safetensors",
    "features": "onnx",
    "crop": "onnx",
    "dataset": "nnunet",
    "planned": "nnunet",
    "adapt": "nnunet",
}
"""Which form an argument belongs to."""


def export(  # noqa: PLR0913  one argument a flag of the command
    run: Path | str,
    out: Path,
    /,
    *,
    to: Form,
    with_decoder: bool = False,
    features: bool = False,
    crop: Triple | None = None,
    dataset: Path | None = None,
    planned: bool = False,
    adapt: bool = False,
) -> Path:
    """Write a trained encoder or segmenter in a form that other programs take.

    Args:
        run: Folder of a finished run, or `org/name` of a hub.
        out: What to write; new. A file of `onnx`, else a folder.
        to: `safetensors`: the encoder alone with its preprocessing and a model card, for `--init` and
            `load_encoder`; `onnx`: the encoder's four maps, or a fine-tuned run's logits; `monai-bundle`: a
            fine-tuned run that `monai.bundle` runs; `nnunet`: a trainer that begins with the encoder, and
            plans for a data set.
        with_decoder: Of `safetensors`: include what is not the encoder's, so that training can go on. A
            decoder may remember training patients.
        features: Of `onnx`: the encoder's maps of a fine-tuned run too.
        crop: Of `onnx`: voxels X Y Z of the input; by default the run's own crop.
        dataset: Of `nnunet`: folder of the data set within nnUNet_preprocessed; plans are added to it.
        planned: Of `nnunet`: keep the spacing and patch that nnU-Net planned, not those of pre-training.
        adapt: Of `nnunet`: take a data set of another modality or number of channels; kernels of the first
            layer are shared out.

    Returns:
        What was written.

    Raises:
        MimError: If the run cannot be used, what is to be written is there, or an argument does not belong.
    """
    asked = {
        "with_decoder": with_decoder,
        "features": features,
        "crop": crop,
        "dataset": dataset,
        "planned": planned,
        "adapt": adapt,
    }
    for name, form in ONLY_OF.items():
        if asked[name] and form != to:
            raise ConfigError(
                f"--{name.replace('_', '-')} is of `--to {form}`, got `--to {to}`; leave it out"
            )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out}: is there already; name a new {'file' if to == 'onnx' else 'folder'}")
    run = weights_folder(run)
    if to == "safetensors":
        _to_folder(run, out, with_decoder=with_decoder)
    elif to == "onnx":
        _to_onnx(run, out, features=features, crop=crop)
    elif to == "monai-bundle":
        _to_bundle(run, out)
    else:
        _to_nnunet(run, out, dataset, planned=planned, adapt=adapt)
    return out


def _to_folder(run: Path, out: Path, *, with_decoder: bool) -> None:
    with written_aside(out) as folder:
        count = write_folder(run, folder, out.name, with_decoder=with_decoder)
    what = "encoder and decoder" if with_decoder else "encoder"
    say(f"{out}: {what}, {count / 1e6:.2f} M values; fill in the licence in README.md before it is shared")


class _Maps(nn.Module):
    """The encoder's four maps."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, volume: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder.features(volume))


class _ClassLogits(nn.Module):
    """A classifier's logits, by way of the encoder's maps."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.encoder, self.classifier = classifier.encoder, classifier

    def forward(self, volume: Tensor) -> Tensor:
        tokens = self.encoder.features(volume)[-1].flatten(2).transpose(1, 2)  # (B, L, C)
        return self.classifier.of_tokens(tokens)


def _to_onnx(run: Path, out: Path, *, features: bool, crop: Triple | None) -> None:
    config = read_run_config(run)
    said: dict[str, Any] = {"preprocessing": read_json(run / PREPROCESSING), "notice": NOTICE}
    outputs = ["logits"]
    if isinstance(config, FinetuneConfig) and not features:
        network: nn.Module = load_segmenter(run)[0]
        said["outputs"] = list(config.outputs)
    elif isinstance(config, ClassifyConfig) and not features:
        network = _ClassLogits(load_classifier(run)[0])
        said |= {"outputs": list(config.classes), "extent": config.extent, "intensity": config.intensity}
    else:
        network, outputs = _Maps(load_encoder(run)), [f"features_{stage}" for stage in range(1, 5)]
    usual = config.crop if isinstance(config, ClassifyConfig) else crop_of(config)
    crop, channels = crop or usual, config.architecture.channels
    found = write_onnx(network, out, crop=crop, channels=channels, outputs=outputs, said=said)
    size = ", ".join(map(str, crop))
    say(
        f"{out}: {', '.join(outputs)} of volumes (B, {channels}, {size}), opset {OPSET}; "
        f"onnxruntime differs by {found:.1e} of the largest value at most"
    )


def _to_bundle(run: Path, out: Path) -> None:
    config, said = read_run_config(run), read_json(run / PREPROCESSING)
    if not isinstance(config, FinetuneConfig):
        raise ConfigError(
            f"{run}: no run of segmentation, but a bundle segments; fine-tune one from it first"
        )
    with written_aside(out) as folder:
        write_bundle(run, folder, config, said, out.name)
    say(f"{out}: bundle; run it as docs/README.md in it says, and fill in LICENSE before it is shared")


def _to_nnunet(run: Path, out: Path, dataset: Path | None, *, planned: bool, adapt: bool) -> None:
    if dataset is None:
        raise ConfigError("`--to nnunet` needs --dataset, a folder within nnUNet_preprocessed; name it")
    encoder = learnt(read_run_config(run), read_json(run / PREPROCESSING))
    with written_aside(out) as folder:
        (folder / "encoder").mkdir()
        write_folder(run, folder / "encoder", out.name, with_decoder=False)
        trainer = write_trainer(folder)
        plans = write_plans(dataset, encoder, planned=planned, adapt=adapt)
    say(f"{out / trainer.name}: trainer; nnU-Net finds it with nnUNet_extTrainer={out} in its environment")
    number = dataset.name.removeprefix("Dataset").partition("_")[0]
    say(f"{plans}: plans; now nnUNetv2_preprocess -d {number} -plans_name {PLANS} -c {CONFIGURATION}")
    say(f"then nnUNetv2_train {number} {CONFIGURATION} 0 -p {PLANS} -tr {trainer.stem}")
