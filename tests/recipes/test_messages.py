import pytest

from mim3d.recipes.messages import say


def test_a_line_stays_one_line_and_keeps_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]" + "word " * 60)
    captured = capsys.readouterr()
    assert captured.err == "[red]" + "word " * 60 + "\n"
    assert captured.out == ""
