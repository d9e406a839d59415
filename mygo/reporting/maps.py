"""A map of dreams, and of held-out inputs where there are some, as a picture."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from mygo.events import Mapped
from mygo.reporting.labels import labels_for
from mygo.reporting.style import BLUE, GREEN, INK, ORANGE, PURPLE, RED, SKY, SOFT, png, tidy

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, SOFT)
"""Of the classes, in turn."""
SIDES = (8.6, 6.0)
"""Inches."""
BOARD_DPI = 90
"""Dots per inch where a screen shows many pictures at once."""
DREAM, HELD_OUT = "o", "x"


def map_png(shown: Mapped) -> bytes:
    """Return a map as a PNG file for a screen."""
    labels = labels_for(shown.class_names, "class")
    with matplotlib.rc_context({"font.family": labels.families}):
        return png(draw_map(shown, labels.texts), BOARD_DPI)


def colours_of(labels: Tensor) -> list[str]:
    """Return the colour of each example with ``labels`` [N]."""
    return [COLOURS[label % len(COLOURS)] for label in labels.tolist()]


def draw_map(shown: Mapped, labels: Sequence[str]) -> Figure:
    """Draw a map with ``labels`` at the means of its classes."""
    figure = Figure(figsize=SIDES, layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    dreams, real = shown.dreams.T, shown.held_out.T
    axes.scatter(dreams[0], dreams[1], s=7, c=colours_of(shown.dream_labels), marker=DREAM, alpha=0.5, linewidths=0)
    axes.scatter(real[0], real[1], s=16, c=colours_of(shown.held_out_labels), marker=HELD_OUT, linewidths=0.9)
    edge = [withStroke(linewidth=2.5, foreground="white")]
    for label, (x, y) in zip(labels, shown.means.tolist(), strict=True):
        axes.text(x, y, label, ha="center", va="center", fontsize=9, color=INK, path_effects=edge, zorder=5)
    marks = [(DREAM, "dream"), (HELD_OUT, "held-out example")][: 2 if len(shown.held_out) else 1]
    handles = [Line2D([], [], marker=mark, color=SOFT, linestyle="", markersize=4, label=name) for mark, name in marks]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    axes.set_xlabel("first discriminant", color=SOFT)
    axes.set_ylabel("second discriminant", color=SOFT)
    axes.set_aspect("equal", "datalim")
    return figure
