"""Commands that take trained weights to other programs, and to other people."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from mim3d.commands.places import Out
from mim3d.geometry import Triple

RunOrName = Annotated[str, tyro.conf.arg(metavar="RUN")]
Repository = Annotated[str, tyro.conf.arg(metavar="ORG/NAME")]


def export(  # noqa: PLR0913  one argument a flag
    run: RunOrName,
    out: Out,
    /,
    *,
    to: Literal["safetensors", "onnx", "monai-bundle", "nnunet"],
    with_decoder: bool = False,
    features: bool = False,
    crop: Triple | None = None,
    dataset: Path | None = None,
    planned: bool = False,
    adapt: bool = False,
) -> None:
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
    """
    from mim3d.recipes.export import export

    export(
        run,
        out,
        to=to,
        with_decoder=with_decoder,
        features=features,
        crop=crop,
        dataset=dataset,
        planned=planned,
        adapt=adapt,
    )


def push(
    run: RunOrName,
    repository: Repository,
    /,
    *,
    to_folder: Path | None = None,
    with_decoder: bool = False,
    public: bool = False,
) -> None:
    """Put the encoder of a run into a repository of a Hugging Face hub, with a model card.

    Args:
        run: Folder of a finished run.
        repository: `org/name`; made if it is not there.
        to_folder: Write what would be pushed into this folder, and push nothing.
        with_decoder: Include what is not the encoder's. A decoder may remember training patients.
        public: Make a new repository for everybody to see; by default it is private.
    """
    from mim3d.recipes.push import push

    print(push(run, repository, to_folder=to_folder, with_decoder=with_decoder, public=public))
