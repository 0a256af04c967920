"""What a phantom is made of: structures and their labels, tissues and their HU, the plan of a case."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from mim3d.data.phantom_canvas import Tissue, Tissues

PHASES = ("native", "arterial", "portal venous")
"""When the scan was taken after the injection of contrast."""
DISEASES = ("healthy", "liver", "lung", "kidney")
"""Where the burden of lesions lies."""
STRUCTURES = {
    "lungs": 1,
    "spine": 2,
    "liver": 3,
    "spleen": 4,
    "right_kidney": 5,
    "left_kidney": 6,
    "aorta": 7,
    "stomach": 8,
    "bowel": 9,
    "lesion": 10,
}
"""Labels as drawn; `phantom.structures` says how they are written."""

_TISSUES: dict[str, tuple[float, float, float, float, float]] = {
    # native, arterial, portal venous, half range between patients, texture: HU
    "skin": (10, 15, 20, 10, 5),
    "fat": (-105, -104, -102, 8, 6),
    "muscle": (52, 58, 64, 8, 9),
    "cortex": (520, 520, 520, 120, 30),
    "marrow": (170, 175, 180, 70, 40),
    "disc": (80, 80, 82, 12, 6),
    "cartilage": (110, 110, 115, 20, 15),
    "canal": (22, 25, 28, 6, 5),
    "lung": (-845, -840, -838, 40, 16),
    "bronchus": (-980, -980, -980, 10, 5),
    "lung vessel": (38, 190, 120, 25, 10),
    "blood": (42, 270, 145, 25, 5),
    "myocardium": (45, 105, 112, 15, 6),
    "aorta": (42, 300, 150, 30, 5),
    "vein": (40, 85, 145, 22, 5),
    "liver": (56, 74, 110, 20, 6),
    "liver vessel": (40, 95, 165, 18, 5),
    "gallbladder": (8, 8, 10, 8, 4),
    "spleen": (48, 118, 118, 18, 5),
    "renal cortex": (36, 165, 160, 28, 8),
    "medulla": (32, 85, 150, 22, 8),
    "renal pelvis": (6, 8, 20, 6, 4),
    "pancreas": (38, 105, 92, 14, 18),
    "stomach wall": (40, 82, 92, 15, 8),
    "stomach content": (28, 28, 28, 26, 16),
    "bowel wall": (40, 98, 104, 18, 8),
    "bowel fluid": (22, 24, 26, 16, 8),
    "stool": (10, 12, 14, 40, 75),
    "gas": (-960, -960, -960, 25, 4),
    "cyst": (8, 8, 9, 6, 3),
    "liver lesion": (38, 60, 62, 16, 10),
    "lung lesion": (34, 62, 58, 20, 12),
    "kidney lesion": (34, 100, 92, 22, 16),
    "table": (-120, -120, -120, 40, 4),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided about a case before anything is drawn."""

    phase: str
    """One of PHASES."""
    disease: str
    """One of DISEASES."""


def stream(seed: int, index: int, part: str) -> Generator:
    """The random numbers of one part of one case: no other case and no other part moves them."""
    return np.random.default_rng([seed, index, *part.encode()])


def plan_case(seed: int, index: int, *, lesions: bool) -> Plan:
    """Phase and disease of case `index`: each 3 cases hold all phases, each 4 all diseases, shuffled."""
    phase = _shuffled(PHASES, seed, index, "phase")
    return Plan(phase, _shuffled(DISEASES, seed, index, "disease") if lesions else DISEASES[0])


def _shuffled(values: tuple[str, ...], seed: int, index: int, part: str) -> str:
    """Value number `index` of endless repetitions of `values`, each shuffled on its own."""
    block, place = divmod(index, len(values))
    return values[int(stream(seed, block, part).permutation(len(values))[place])]


def sample_tissues(rng: Generator, phase: str) -> Tissues:
    """The tissues of one patient in `phase`, by name."""
    column = PHASES.index(phase)
    tissues = {}
    for name, values in _TISSUES.items():
        hu = values[column] + values[3] * rng.uniform(-1, 1)
        tissues[name] = Tissue(hu, values[4] * rng.uniform(0.7, 1.4))
    return tissues
