"""The teacher follows by the stated share, and is never trained."""

import copy

import torch

from mim3d.config import Architecture
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.teacher import Teacher

ARCHITECTURE = Architecture(
    dims=(6, 6, 6, 12),
    depths=(1, 1, 1, 1),
    num_heads=2,
    decoder_dim=18,
    decoder_depth=1,
    decoder_heads=3,
    embedded_levels=2,
)


def made() -> tuple[Encoder, Decoder, Teacher]:
    torch.manual_seed(0)
    encoder, decoder = Encoder((8, 8, 4), ARCHITECTURE), Decoder((2, 2, 2), (8, 8, 4), ARCHITECTURE)
    return encoder, decoder, Teacher(encoder, decoder, 0.75)


def test_it_begins_as_the_student_and_stays_while_the_student_does() -> None:
    encoder, decoder, teacher = made()
    teacher.follow(encoder, decoder)
    for ours, theirs in ((teacher.encoder, encoder), (teacher.decoder, decoder)):
        for name, tensor in ours.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[name])
            assert tensor.data_ptr() != theirs.state_dict()[name].data_ptr()


def test_it_moves_every_weight_by_its_share_of_the_way() -> None:
    encoder, decoder, teacher = made()
    before = copy.deepcopy(teacher.state_dict())
    with torch.no_grad():
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            parameter.add_(torch.randn_like(parameter))
    teacher.follow(encoder, decoder)
    students = {
        **{f"encoder.{name}": t for name, t in encoder.state_dict().items()},
        **{f"decoder.{name}": t for name, t in decoder.state_dict().items()},
    }
    assert students.keys() == before.keys()
    for name, tensor in teacher.state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * before[name] + 0.25 * students[name])
        assert not torch.equal(tensor, before[name])


def test_nothing_of_it_is_trained() -> None:
    _, _, teacher = made()
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
