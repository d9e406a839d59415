"""How all pictures of a report look, and how they become PNG: readable in print and for the colour-blind."""

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 200
WIDTH = 11.4
"""Inches of a picture that is as wide as the page."""
INK, SOFT, LINE, EMPTY = "#1f2328", "#59636e", "#d8dee4", "#f4f6f8"
BLUE, SKY, GREEN, PURPLE, ORANGE, RED = "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#d55e00"
"""Colours that the colour-blind can tell apart (Okabe & Ito 2008)."""


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return ``figure`` as a PNG file of so many dots per inch, cut to what is on it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.06)
    return buffer.getvalue()


def bare(width: float, height: float | None = None) -> tuple[Figure, Axes]:
    """Return a figure and its axes, of ``width`` × ``height`` inches (square by default) without their labels."""
    figure = Figure(figsize=(width, height or width))
    return figure, figure.add_axes((0, 0, 1, 1))


def tidy(axes: Axes, title: str = "") -> None:
    """Give ``axes`` a title and take away what says nothing."""
    axes.set_title(title, fontsize=10, color=INK, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(color=LINE, labelcolor=SOFT)
    axes.set_axisbelow(True)
