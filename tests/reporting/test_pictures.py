from collections.abc import Callable
from pathlib import Path

from mim3d.reporting.pictures import LEVEL_COLOURS, affordable, case_block, level_blocks
from mim3d.reporting.run import read_run


def test_each_level_shows_three_planes_of_three_panels(pretrained: Path) -> None:
    reconstruction = read_run(pretrained).reconstruction
    assert reconstruction is not None
    outer, inner = level_blocks(reconstruction, "r0")
    assert outer.facts == ("24 \xd7 24 \xd7 24 mm", "voxels of 3 mm", "12% hidden from the encoder")
    assert [row.plane for row in outer.rows] == ["axial", "coronal", "sagittal"]
    captions = [panel.caption for panel in outer.rows[0].panels]
    assert captions == ["original", "what the encoder saw", "reconstruction"]
    assert (outer.rows[0].bar_mm, outer.rows[0].bar_share) == (5, 5 / 24)
    assert (outer.frame, inner.frame) == ("", LEVEL_COLOURS[0])


def test_the_child_is_outlined_where_its_parent_is_hidden(pretrained: Path) -> None:
    reconstruction = read_run(pretrained).reconstruction
    assert reconstruction is not None
    outer, inner = level_blocks(reconstruction, "r0")
    original, seen, _ = outer.rows[0].panels
    shade, child = seen.shapes
    assert shade.path == "M4 4h4v4h-4z"  # the corner of low x and y: bottom right in this convention
    assert (child.path, child.stroke) == ("M4 4h4v4h-4z", LEVEL_COLOURS[0])
    assert original.shapes == (child,)
    assert inner.rows[0].panels[0].shapes == ()


def test_an_image_is_held_once(pretrained: Path) -> None:
    reconstruction = read_run(pretrained).reconstruction
    assert reconstruction is not None
    original, seen, predicted = level_blocks(reconstruction, "r0")[0].rows[0].panels
    assert original.data.startswith("data:image/png;base64,")
    assert (seen.image, seen.data) == (original.image, "")
    assert predicted.image != original.image


def test_predictions_carry_the_truth_as_a_line(finetuned: Callable[..., Path]) -> None:
    pictures = read_run(finetuned("tuned")).segmentation
    assert pictures is not None
    block = case_block({"prediction": pictures.cases[0]}, pictures.structures, pictures.colours, "c0")
    assert (block.title, block.facts) == ("bad", ("prediction: mean Dice 0.400",))
    truth, prediction = block.rows[1].panels
    assert [shape.fill for shape in truth.shapes] == ["#aa3322", "none"]
    assert truth.shapes[1] == prediction.shapes[1]
    assert truth.shapes[0] != prediction.shapes[0]
    assert prediction.alt == "prediction of bad, coronal plane: liver"
    assert prediction.scale == (2.0, 1.0)


def test_large_planes_are_thinned(finetuned: Callable[..., Path]) -> None:
    pictures = read_run(finetuned("tuned", shape=(401, 642))).segmentation
    assert pictures is not None
    block = case_block({"prediction": pictures.cases[0]}, pictures.structures, pictures.colours, "c0")
    panel = block.rows[0].panels[0]
    assert panel.size == (133, 214)
    assert panel.scale == (3.0, 3.0)


def test_blocks_are_taken_while_there_is_room(pretrained: Path) -> None:
    reconstruction = read_run(pretrained).reconstruction
    assert reconstruction is not None
    blocks = level_blocks(reconstruction, "r0")
    assert list(affordable(blocks, 0)) == [blocks[0]]
    assert list(affordable(blocks, sum(block.characters for block in blocks))) == list(blocks)
