"""A folder in which nnU-Net finds the trainer, with the weights that it begins with beside it."""

from pathlib import Path

TRAINER = '''"""Trainers for nnU-Net that begin with the weights in `encoder/`, found by nnUNet_extTrainer."""

from pathlib import Path

from mim3d.elsewhere.nnunet_trainer import MimTrainer

ENCODER = Path(__file__).parent / "encoder"


class nnUNetTrainerMim3d(MimTrainer):
    """As long as nnU-Net trains; set other numbers in classes of your own, as below."""

    encoder = ENCODER
    epochs = 1000
    iterations = 250
    validation_iterations = 50


class nnUNetTrainerMim3d_250epochs(nnUNetTrainerMim3d):
    epochs = 250


class nnUNetTrainerMim3d_50epochs(nnUNetTrainerMim3d):
    epochs = 50


class nnUNetTrainerMim3dScratch(nnUNetTrainerMim3d):
    """The same from random weights, to compare with."""

    encoder = None
'''


def write_trainer(folder: Path) -> Path:
    """Write nnUNetTrainerMim3d.py; the weights are expected in `encoder/` beside it."""
    path = folder / "nnUNetTrainerMim3d.py"
    path.write_text(TRAINER)
    return path
