"""A whole pre-training network out of a folder of weights: what fits, encoder and more."""

from pathlib import Path

from torch import Tensor

from mim3d.downstream.backbone import load_into
from mim3d.errors import CheckpointError
from mim3d.model.mim import Mim
from mim3d.model.teacher import Teacher
from mim3d.run_files import WEIGHTS
from mim3d.train.checkpoint import read_tensors


def load_all(model: Mim, folder: Path) -> str:
    """Fill a network with all of the folder's tensors that fit; the encoder whole, or not at all.

    Args:
        model: To fill; a teacher begins as a copy of what was loaded.
        folder: Of a run, or exported, with or without its decoder.

    Returns:
        What was loaded, in words.

    Raises:
        CheckpointError: If there are no weights, or a tensor of the encoder is missing, too many or of
            another shape.
    """
    report = load_into(model.encoder, folder)
    if report.missing or report.unexpected:
        raise CheckpointError(f"{folder}: weights do not fit the settings: {report}; name no preset")
    teacher, model.teacher = model.teacher, None
    own = _others(model.state_dict())
    stored = _others(read_tensors(folder / WEIGHTS))
    fitting = {name: t for name, t in stored.items() if name in own and own[name].shape == t.shape}
    model.load_state_dict(fitting, strict=False)
    if teacher is not None:
        model.teacher = Teacher(model.encoder, model.decoder, teacher.momentum)
    rest = "new, as none are in the folder" if not stored else f"{len(fitting)} of {len(own)} loaded"
    return f"{report}; other tensors: {rest}"


def _others(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.")}
