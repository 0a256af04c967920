import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.planes import PLANES
from mim3d.reporting.page import render, run_names
from mim3d.reporting.run import read_run

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Checker(HTMLParser):
    """Fails on tags that are not closed in order; collects identifiers and references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def test_a_page_of_three_runs_needs_nothing_but_itself(
    pretrained: Path, finetuned: Callable[..., Path]
) -> None:
    runs = tuple(read_run(path) for path in (pretrained, finetuned("mim"), finetuned("scratch")))
    page = render(runs, "First.\n\nSecond <b>.")
    checker = check(page)
    inner = {name for name in checker.references if name.startswith("#")}
    assert inner <= {f"#{name}" for name in checker.ids}
    assert all(name.startswith(("#", "data:image/png;base64,")) for name in checker.references)
    assert not re.search(r"<script|@import|<link|url\((?!#)", page)
    assert "<p>First.</p><p>Second &lt;b&gt;.</p>" in page
    assert page.count("<svg viewBox") == 2 * 9 + 2 * 9  # two levels and two cases of three by three panels


def test_images_are_told_apart(pretrained: Path) -> None:
    run = read_run(pretrained)
    page = render((run, run))
    images = re.findall(r'<image id="([^"]*)"', page)
    assert len(images) == len(set(images)) == 2 * 2 * 3 * 2


def test_a_page_of_one_run_shows_its_own_cases(finetuned: Callable[..., Path]) -> None:
    page = render((read_run(finetuned("tuned")),))
    check(page)
    assert "Side by side" not in page
    assert page.index("bad</h4>") < page.index("good</h4>")
    assert "Radiological convention" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "pretrain", "note": "<script>alert(1)</script>"}')
    page = render((read_run(tmp_path),))
    check(page)
    assert "No step recorded yet." in page
    assert "<script" not in page


def test_better_cases_that_are_left_out_are_counted(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    assert run.segmentation is not None
    many = replace(run.segmentation, cases=run.segmentation.cases * 10)
    assert "8 better ones are left out" in render((replace(run, segmentation=many),))


def test_a_page_stays_small_with_many_large_cases_of_noise(finetuned: Callable[..., Path]) -> None:
    run = read_run(finetuned("tuned"))
    assert run.segmentation is not None
    rng = np.random.default_rng(0)
    image = rng.random((300, 300), np.float32)
    parts: dict[str, NDArray[Any]] = {
        "image": image,
        "truth": (image > 0.9).astype(np.uint8),
        "prediction": (image > 0.95).astype(np.uint8),
    }
    noise = replace(run.segmentation.cases[0], planes=dict.fromkeys(PLANES, parts))
    page = render((replace(run, segmentation=replace(run.segmentation, cases=(noise,) * 20)),))
    assert 2_000_000 < len(page) < 5_000_000
    assert "better ones are left out" in page


def test_runs_of_one_name_are_numbered(pretrained: Path) -> None:
    run = read_run(pretrained)
    assert run_names((run, run, run)) == ("pretrain", "pretrain (2)", "pretrain (3)")
