"""Curves of a report as SVG text that takes its ink from the page, so that it suits light and dark."""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

INK = "#123456"
"""Stands for the page's text colour while drawing; becomes `currentColor`."""
COLOURS = ("#3b7fc4", "#e07b1f", "#2a9d6f", "#b65fcf", "#c9485b", "#8a8f2a")
"""Of the curves, legible on white and on near-black."""
MOST_POINTS = 400
"""A curve is thinned to at most this many points."""
FEW_POINTS = 40
"""Curves of at most this many points are drawn with their points and not smoothed."""
LEAST_SPAN = 1e-3
"""Of an axis of values, as a share of them."""
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mim3d",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """Values against steps, both (N,); NaN where there is no value."""

    label: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    noisy: bool = True
    """Whether a smoothed line tells more than the values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A drawn chart with its title."""

    title: str
    caption: str
    svg: Markup


def smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The mean of the `width` values around each of (N,), of fewer at the ends."""
    kernel = np.ones(min(width, len(values)))
    total = np.convolve(values, kernel, mode="same")
    mean: NDArray[np.float64] = total / np.convolve(np.ones(len(values)), kernel, mode="same")
    return mean


def thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every n-th of (N,) and the last, so that at most `MOST_POINTS` and one are left."""
    step = -(-len(values) // MOST_POINTS)
    return np.concatenate((values[: -1 : max(step, 1)], values[-1:]))


def draw_curve(axes: Any, curve: Curve, colour: str) -> None:
    """One curve: few values as points, many as a light line under its smoothed self."""
    known = np.isfinite(curve.values) & np.isfinite(curve.steps)
    steps, values = curve.steps[known], curve.values[known]
    if len(values) <= FEW_POINTS:
        axes.plot(steps, values, color=colour, label=curve.label, marker="o", markersize=3, linewidth=1.4)
        return
    smooth = values
    if curve.noisy:
        axes.plot(thinned(steps), thinned(values), color=colour, alpha=0.28, linewidth=0.7)
        smooth = smoothed(values, max(len(values) // 25, 3))
    axes.plot(thinned(steps), thinned(smooth), color=colour, label=curve.label, linewidth=1.6)


def apart_enough(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis, apart enough that rounding does not look like learning."""
    middle, half = (low + high) / 2, LEAST_SPAN * max(abs(low), abs(high)) / 2
    return min(low, middle - half), max(high, middle + half)


def line_chart(title: str, caption: str, curves: Iterable[Curve]) -> Chart:
    """Curves against the step."""
    curves = tuple(curves)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for number, curve in enumerate(curves):
            draw_curve(axes, curve, COLOURS[number % len(COLOURS)])
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=(1, 2, 2.5, 5, 10)))
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4), useOffset=False)
        axes.set_ylim(*apart_enough(*axes.get_ylim()))
        axes.margins(x=0.02)
        if len(curves) > 1:
            axes.legend(loc="best", handlelength=1.2)
        return Chart(title=title, caption=caption, svg=inline_svg(figure, title))


def square_chart(title: str, caption: str, curves: Iterable[Curve], *, across: str, up: str) -> Chart:
    """Curves in the unit square, with its diagonal; the axes are named `across` and `up`."""
    curves = tuple(curves)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot((0, 1), (0, 1), color=INK, alpha=0.3, linewidth=0.8, linestyle="dashed")
        for number, curve in enumerate(curves):
            marker = "o" if len(curve.values) <= FEW_POINTS else None
            colour = COLOURS[number % len(COLOURS)]
            line = {"color": colour, "label": curve.label, "linewidth": 1.6}
            axes.plot(curve.steps, curve.values, marker=marker, markersize=3, **line)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.grid(color=INK, alpha=0.12, linewidth=0.6)
        if any(curve.label for curve in curves):
            axes.legend(loc="lower right", handlelength=1.2)
        return Chart(title=title, caption=caption, svg=inline_svg(figure, title))


def dot_chart(title: str, caption: str, names: tuple[str, ...], columns: dict[str, list[float]]) -> Chart:
    """One row a name with a dot per column between 0 and 1, joined by a line; NaN where there is no value."""
    values = np.array(list(columns.values()))  # (columns, names)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 0.9 + 0.24 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(names))
        known = np.isfinite(values).any(axis=0)
        spans = values[:, known]
        axes.hlines(places[known], np.nanmin(spans, axis=0), np.nanmax(spans, axis=0), color=INK, alpha=0.3)
        for number, (label, row) in enumerate(columns.items()):
            axes.scatter(row, places, color=COLOURS[number % len(COLOURS)], s=26, label=label, zorder=3)
        axes.set_yticks(places, names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both", color=INK, alpha=0.12, linewidth=0.6)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.2)
        return Chart(title=title, caption=caption, svg=inline_svg(figure, title))


def inline_svg(figure: Figure, alt: str) -> Markup:
    """A figure as an SVG element that scales with the page and takes the page's text colour and font."""
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = re.sub(r"<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*;?|(?<=<g) id=\"[^\"]*\"", "", text)
    opening = re.match(r"<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>", text)
    assert opening is not None
    start = f'<svg class="chart" viewBox="{opening[1]}" role="img" aria-label="{escape(alt)}">'
    return Markup(start + text[opening.end() :].replace(INK, "currentColor"))  # noqa: S704 - text in it is escaped by matplotlib
